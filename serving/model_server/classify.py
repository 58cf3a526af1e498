"""Classify and Regress: which tensors to run, and what their values mean.

The rules and texts are those of TF Serving's classifier.cc and regressor.cc.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from serving.model_server.predict import CLASSIFY, REGRESS, Plan
from serving.model_server.signature import DEFAULT, Array, Signature
from serving.model_server.tensors import dtype_name, dtype_of
from serving.status import Code, StatusError

INPUTS = "inputs"
CLASSES = "classes"
SCORES = "scores"
OUTPUTS = "outputs"


def plan_classify(
    signatures: Mapping[str, Signature], signature_name: str, serialized: Array, check_method: bool = False
) -> Plan:
    """What to run for a Classify request.

    Args:
        signature_name: '' means `serving_default`.
        serialized: tf.Examples, object [n] of bytes (examples.serialized_examples).
        check_method: `--enable_signature_method_name_check`.

    Raises:
        StatusError: INVALID_ARGUMENT: no such signature, it is not one of a classifier, or n is 0.
    """
    signature = _find(signatures, signature_name)
    fetches, aliases = classifier_outputs(signature, check_method)
    check_not_empty(serialized)
    return Plan(signature, {signature.inputs[INPUTS].tensor: serialized}, fetches, aliases)


def plan_regress(
    signatures: Mapping[str, Signature], signature_name: str, serialized: Array, check_method: bool = False
) -> Plan:
    """What to run for a Regress request; as plan_classify."""
    signature = _find(signatures, signature_name)
    fetches, aliases = regressor_outputs(signature, check_method)
    check_not_empty(serialized)
    return Plan(signature, {signature.inputs[INPUTS].tensor: serialized}, fetches, aliases)


def classifications(plan: Plan, outputs: Sequence[Array]) -> list[list[tuple[str, float]]]:
    """For each example its (label, score)s; '' where the model has no labels, 0.0 where it has no scores.

    Scores are float32 values; bytes of a label that are no UTF-8 become U+FFFD.

    Raises:
        StatusError: INVALID_ARGUMENT: the outputs are not [examples, classes], or not strings and floats.
    """
    found = dict(zip(plan.aliases, outputs, strict=True))
    return classified(found.get(CLASSES), found.get(SCORES), _examples(plan))


def regressions(plan: Plan, outputs: Sequence[Array]) -> list[float]:
    """For each example its value, a float32.

    Raises:
        StatusError: INVALID_ARGUMENT: the output is not [examples] or [examples, 1], or not float.
    """
    return regressed(outputs[0], _examples(plan))


def classifier_outputs(signature: Signature, check_method: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(tensor names, aliases) of a classifier's outputs. Raises as plan_classify."""
    if check_method and signature.method != CLASSIFY:
        raise _refusal(f"Expected classification signature method_name to be {CLASSIFY}. Was: {signature.method}")
    if len(signature.inputs) != 1:
        raise _refusal("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise _refusal(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if INPUTS not in signature.inputs:
        raise _refusal(f"No classification inputs found in SignatureDef: {_text(signature)}")
    aliases = tuple([alias for alias in (CLASSES, SCORES) if alias in signature.outputs])
    if not aliases:
        raise _refusal(
            f'Expected classification signature outputs to contain at least one of "{CLASSES}" or "{SCORES}". '
            f"Signature was: {_text(signature)}"
        )
    return tuple([signature.outputs[alias].tensor for alias in aliases]), aliases


def regressor_outputs(signature: Signature, check_method: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(tensor names, aliases) of a regressor's output. Raises as plan_regress."""
    if check_method and signature.method != REGRESS:
        raise _refusal(f"Expected regression signature method_name to be {REGRESS}. Was: {signature.method}")
    if len(signature.inputs) != 1:
        raise _refusal("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise _refusal("Expected one output Tensor.")
    if INPUTS not in signature.inputs:
        raise _refusal(f"No regression inputs found in SignatureDef: {_text(signature)}")
    if OUTPUTS not in signature.outputs:
        raise _refusal(f"No regression outputs found in SignatureDef: {_text(signature)}")
    return (signature.outputs[OUTPUTS].tensor,), (OUTPUTS,)


def check_not_empty(serialized: Array) -> None:
    """Raises StatusError, INVALID_ARGUMENT, where there are no examples."""
    if not len(serialized):
        raise _refusal("Input is empty.")


def classified(classes: Array | None, scores: Array | None, examples: int) -> list[list[tuple[str, float]]]:
    """As classifications; one of the two outputs may be missing."""
    for output, name, dtype in ((classes, CLASSES, np.object_), (scores, SCORES, np.float32)):
        if output is not None:
            _check_classes(output, name, dtype, examples)
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise _refusal(
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    if classes is None:
        assert scores is not None
        return [[("", score) for score in row] for row in scores.tolist()]
    labels = [[label.decode("utf-8", "replace") for label in row] for row in classes.tolist()]
    if scores is None:
        return [[(label, 0.0) for label in row] for row in labels]
    return [list(zip(*row, strict=True)) for row in zip(labels, scores.tolist(), strict=True)]


def regressed(output: Array, examples: int) -> list[float]:
    """As regressions."""
    if not (output.ndim == 1 or (output.ndim == 2 and output.shape[1] == 1)):
        raise _refusal(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {shape_text(output)}"
        )
    if output.shape[0] != examples:
        raise _refusal(f"Input batch size did not match output batch size: {examples} vs. {output.shape[0]}")
    if output.dtype != np.float32:
        raise _refusal(f"Expected output Tensor of DT_FLOAT.  Got: {dtype_name(dtype_of(output))}")
    values: list[float] = output.ravel().tolist()
    return values


def shape_text(array: Array) -> str:
    """`[2,3]`, as TensorFlow prints a shape."""
    return "[" + ",".join(map(str, array.shape)) + "]"


def _check_classes(output: Array, name: str, dtype: type[np.generic], examples: int) -> None:
    if output.ndim != 2:
        raise _refusal(f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(output)}")
    if output.dtype != dtype:
        wanted = "DT_STRING" if name == CLASSES else "DT_FLOAT"
        raise _refusal(f"Expected {name} Tensor of {wanted}. Got: {dtype_name(dtype_of(output))}")
    if output.shape[0] != examples:
        raise _refusal(f"Expected {name} output batch size of {examples}. Got: {output.shape[0]}")


def _find(signatures: Mapping[str, Signature], signature_name: str) -> Signature:
    signature = signatures.get(signature_name or DEFAULT)
    if signature is None:
        raise _refusal(f"No signature was found with the name: {signature_name or DEFAULT}")
    return signature


def _examples(plan: Plan) -> int:
    (serialized,) = plan.feeds.values()
    return len(serialized)


def _text(signature: Signature) -> str:
    """The SignatureDef in protobuf text format, as C++ prints it."""
    from google.protobuf import text_format

    if signature.definition is None:
        return ""
    text: str = text_format.MessageToString(signature.definition)
    return text


def _refusal(message: str) -> StatusError:
    return StatusError(Code.INVALID_ARGUMENT, message)
