"""MultiInference: several classifiers and regressors of one model, fed with the same examples, in one run.

The rules and texts are those of TF Serving's multi_inference.cc.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.model_server import classify
from serving.model_server.predict import CLASSIFY, REGRESS
from serving.model_server.signature import DEFAULT, Array, Signature
from serving.status import Code, StatusError


@dataclass(frozen=True, slots=True)
class Task:
    """One InferenceTask of a request.

    Attributes:
        model, signature_name: of its model_spec; '' as signature means `serving_default`.
        method: `tensorflow/serving/classify` or `tensorflow/serving/regress`.
    """

    model: str
    signature_name: str
    method: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One run for all tasks.

    Attributes:
        feeds: the one input: tensor name -> examples.
        fetches: tensor names, sorted.
        tasks: for each task its effective signature name and {alias: tensor name} of its outputs.
        classifies: for each task, whether it is a classification.
    """

    feeds: Mapping[str, Array]
    fetches: tuple[str, ...]
    tasks: tuple[tuple[str, Mapping[str, str]], ...]
    classifies: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to one task: one of the two lists, an entry for each example (see classify.py)."""

    signature_name: str
    classifications: list[list[tuple[str, float]]] | None
    regressions: list[float] | None


def plan(
    signatures: Mapping[str, Signature], tasks: Sequence[Task], serialized: Array, check_method: bool = False
) -> Plan:
    """What to run for a MultiInference request.

    Args:
        serialized: tf.Examples, object [n] of bytes.

    Raises:
        StatusError: INVALID_ARGUMENT or UNIMPLEMENTED: see section 3 of the contract.
    """
    feeds: dict[str, Array] | None = None
    planned: dict[str, Mapping[str, str]] = {}
    for task in tasks:
        name = _checked_name(task, tasks[0].model, planned, signatures)
        signature = signatures[name]
        if task.method == CLASSIFY:
            tensors, aliases = classify.classifier_outputs(signature, check_method)
        elif task.method == REGRESS:
            tensors, aliases = classify.regressor_outputs(signature, check_method)
        else:
            raise StatusError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method}")
        needed = {signature.inputs[classify.INPUTS].tensor: serialized}
        if feeds is not None and feeds.keys() != needed.keys():
            raise _refusal("Input tensor must be the same for all Signatures.")
        feeds = needed
        planned[name] = dict(zip(aliases, tensors, strict=True))
    classify.check_not_empty(serialized)
    fetches = {tensor for outputs in planned.values() for tensor in outputs.values()}
    methods = tuple([task.method == CLASSIFY for task in tasks])
    return Plan(feeds or {}, tuple(sorted(fetches)), tuple(planned.items()), methods)


def tasks_of(request: Any) -> list[Task]:
    """The tasks of a MultiInferenceRequest."""
    return [Task(task.model_spec.name, task.model_spec.signature_name, task.method_name) for task in request.tasks]


def results(plan: Plan, outputs: Sequence[Array]) -> list[Result]:
    """The answer to each task, in the order of the request.

    Raises:
        StatusError: INVALID_ARGUMENT: an output has not the shape or dtype that its method wants.
    """
    values = dict(zip(plan.fetches, outputs, strict=True))
    examples = len(next(iter(plan.feeds.values()), ()))
    answers = []
    for (name, tensors), classifies in zip(plan.tasks, plan.classifies, strict=True):
        found = {alias: values[tensor] for alias, tensor in tensors.items()}
        if classifies:
            rows = classify.classified(found.get(classify.CLASSES), found.get(classify.SCORES), examples)
            answers.append(Result(name, rows, None))
        else:
            answers.append(Result(name, None, classify.regressed(found[classify.OUTPUTS], examples)))
    return answers


def _checked_name(task: Task, model: str, planned: Mapping[str, object], signatures: Mapping[str, Signature]) -> str:
    """The task's effective signature name, which exists and has not come before."""
    if not task.model:
        raise _refusal("Found ModelSpec with an empty model name.")
    if task.model != model:
        raise _refusal("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
    name = task.signature_name or DEFAULT
    if name in planned:
        raise _refusal(f"Duplicate evaluation of signature: {name}")
    if name not in signatures:
        raise _refusal(f"Requested signature not found in model graph: {name}")
    return name


def _refusal(message: str) -> StatusError:
    return StatusError(Code.INVALID_ARGUMENT, message)
