"""What a Predict request asks of a model's graph: the tensors to feed and to fetch.

The rules and texts are those of TF Serving's predict_util.cc and of TensorFlow's saved_model/util.cc.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from serving.model_server.signature import DEFAULT, Array, Signature
from serving.status import Code, StatusError

PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


class Plan(NamedTuple):
    """One run of a model. A tuple, since one is made for each request: a frozen dataclass takes 1 us more.

    Attributes:
        signature: that was asked for; its name is the effective one.
        feeds: tensor name -> value.
        fetches: tensor names.
        aliases: the outputs' names, one each fetch.
    """

    signature: Signature
    feeds: Mapping[str, Array]
    fetches: tuple[str, ...]
    aliases: tuple[str, ...]


def plan(
    signatures: Mapping[str, Signature],
    signature_name: str,
    inputs: Mapping[str, Any],
    output_filter: Sequence[str] = (),
    check_method: bool = False,
    parse: Callable[[Any, str], Array] | None = None,
) -> Plan:
    """What to run for a Predict request; everything is checked that can be without the graph.

    Args:
        signatures: of the version, by key.
        signature_name: '' means `serving_default`.
        inputs: alias -> value.
        output_filter: aliases of the outputs wanted; none means all.
        check_method: `--enable_signature_method_name_check`.
        parse: `tensors.from_proto` where the inputs are TensorProtos: they are read after the checks of their names,
            as the C++ server does. None where they are arrays.

    Raises:
        StatusError: FAILED_PRECONDITION: no such signature. INTERNAL: its method is none of the three (with
            check_method). INVALID_ARGUMENT: inputs or outputs that do not fit it.
    """
    name = signature_name or DEFAULT
    signature = signatures.get(name)
    if signature is None:
        raise StatusError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    if check_method and signature.method not in (PREDICT, CLASSIFY, REGRESS):
        raise StatusError(
            Code.INTERNAL,
            f"Expected prediction signature method_name to be one of {{{PREDICT}, {CLASSIFY}, {REGRESS}}}. "
            f"Was: {signature.method}",
        )
    return Plan(signature, _feeds(signature, inputs, parse), *_outputs(signature, output_filter))


def _feeds(
    signature: Signature, inputs: Mapping[str, Any], parse: Callable[[Any, str], Array] | None
) -> dict[str, Array]:
    wanted, defaults = signature.inputs, signature.defaults
    if len(inputs) != len(wanted) and (len(inputs) > len(wanted) or not defaults):
        raise StatusError(
            Code.INVALID_ARGUMENT,
            f"input size does not match signature: {len(inputs)}!={len(wanted)} "
            f"len({_set(inputs)}) != len({_set(wanted)}). Sent extra: {_set(inputs.keys() - wanted.keys())}. "
            f"Missing but required: {_set(wanted.keys() - inputs.keys())}.",
        )
    feeds: dict[str, Array] = {}
    used = 0
    for alias, info in wanted.items():
        if alias in inputs:
            value = inputs[alias]
            feeds[info.tensor] = value if parse is None else parse(value, alias)
            used += 1
        elif alias in defaults:
            feeds[info.tensor] = defaults[alias]
        else:
            raise StatusError(
                Code.INVALID_ARGUMENT,
                f"Signature input alias: {alias}(feed name: {info.tensor}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {_set(inputs)}, or default input alias set: "
                f"{_list(defaults)}",
            )
    if used != len(inputs):
        raise StatusError(
            Code.INVALID_ARGUMENT,
            f"Inputs contains invalid name. Used request inputs: {_list(inputs.keys() & wanted.keys())}, "
            f"request input: {_list(inputs)}",
        )
    return feeds


def _outputs(signature: Signature, output_filter: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(tensor names, aliases)"""
    outputs = signature.outputs
    for position, alias in enumerate(output_filter):
        if alias not in outputs:
            raise StatusError(
                Code.INVALID_ARGUMENT,
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{_set(outputs)}.",
            )
        if alias in output_filter[:position]:
            raise StatusError(Code.INVALID_ARGUMENT, f"duplicate output tensor alias: {alias}")
    aliases = tuple(output_filter) or tuple(outputs)
    return tuple([outputs[alias].tensor for alias in aliases]), aliases


def _list(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def _set(names: Iterable[str]) -> str:
    return "{" + _list(names) + "}"
