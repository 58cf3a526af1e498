"""gRPC requests and answers as the JSON that TF Serving's REST would have had.

Where REST has no form for it: an answer's outputs keep their names also where there is only one, and multi_inference
has `tasks` in the request and one of `classifications`, `regressions` for each in the answer.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.impressions.messages import messages
from serving.impressions.tensor_values import array, dumps, plain, text

_REQUESTS = {
    "predict": "PredictRequest",
    "classify": "ClassificationRequest",
    "regress": "RegressionRequest",
    "multi_inference": "MultiInferenceRequest",
}
_RESPONSES = {
    "predict": "PredictResponse",
    "classify": "ClassificationResponse",
    "regress": "RegressionResponse",
    "multi_inference": "MultiInferenceResponse",
}


def request_json(api: str, content: bytes) -> bytes:
    """The body of the REST request that asks for the same.

    Raises:
        ValueError: it is no such message, or holds what JSON cannot.
    """
    message = _parsed(_REQUESTS, api, content)
    body: dict[str, Any] = {}
    if api == "multi_inference":
        body["tasks"] = [
            {"signature_name": task.model_spec.signature_name, "method_name": task.method_name}
            for task in message.tasks
        ]
    elif message.model_spec.signature_name:
        body["signature_name"] = message.model_spec.signature_name
    if api == "predict":
        body["inputs"] = {alias: plain(array(tensor)) for alias, tensor in message.inputs.items()}
    else:
        body |= _examples(message.input)
    return dumps(body)


def answer_json(api: str, content: bytes) -> bytes:
    """The body of the REST answer.

    Raises:
        ValueError: it is no such message, or holds what JSON cannot.
    """
    message = _parsed(_RESPONSES, api, content)
    if api == "predict":
        outputs = {alias: plain(array(tensor), alias.endswith("_bytes")) for alias, tensor in message.outputs.items()}
        return dumps({"outputs": outputs})
    if api == "classify":
        results: list[Any] = _classes(message.result)
    elif api == "regress":
        results = _values(message.result)
    else:
        results = [_task(one) for one in message.results]
    return dumps({"results": results})


def answer_numbers(api: str, content: bytes, most: int) -> NDArray[np.float64]:
    """(n,) the numbers of an answer, at most so many: of all outputs that are numbers, in the order of their names.

    Raises:
        ValueError: it is no such message, or a tensor in it cannot be read.
    """
    message = _parsed(_RESPONSES, api, content)
    if api == "predict":
        outputs = [array(tensor) for _, tensor in sorted(message.outputs.items())]
        parts = [np.empty(0), *(values.ravel()[:most] for values in outputs if values.dtype.kind in "fiu")]
        return np.concatenate(parts)[:most].astype(np.float64, copy=False)
    if api == "classify":
        found = _scores(message.result)
    elif api == "regress":
        found = [one.value for one in message.result.regressions]
    else:
        found = []
        for one in message.results:
            found += _scores(one.classification_result) + [each.value for each in one.regression_result.regressions]
    return np.array(found[:most], np.float64)


def _parsed(kinds: dict[str, str], api: str, content: bytes) -> Any:
    from google.protobuf.message import DecodeError

    if api not in kinds:
        raise ValueError(f"{api} is not an inference API")
    try:
        return messages()[kinds[api]].FromString(content)
    except DecodeError as error:
        raise ValueError(f"not a {kinds[api]}") from error


def _examples(given: Any) -> dict[str, Any]:
    if given.HasField("example_list_with_context"):
        listed = given.example_list_with_context
        context = {"context": _features(listed.context)} if listed.HasField("context") else {}
        return context | {"examples": [_features(one) for one in listed.examples]}
    return {"examples": [_features(one) for one in given.example_list.examples]}


def _features(example: Any) -> dict[str, Any]:
    return {name: _feature(feature) for name, feature in example.features.feature.items()}


def _feature(feature: Any) -> list[Any]:
    if feature.HasField("bytes_list"):
        return [text(one) for one in feature.bytes_list.value]
    if feature.HasField("float_list"):
        return [np.float32(one) for one in feature.float_list.value]  # else 0.1 would be 0.10000000149
    return list(feature.int64_list.value)


def _classes(result: Any) -> list[Any]:
    return [[[one.label, np.float32(one.score)] for one in row.classes] for row in result.classifications]


def _values(result: Any) -> list[Any]:
    return [np.float32(one.value) for one in result.regressions]


def _task(result: Any) -> dict[str, Any]:
    signature = {"signature_name": result.model_spec.signature_name}
    if result.HasField("classification_result"):
        return signature | {"classifications": _classes(result.classification_result)}
    return signature | {"regressions": _values(result.regression_result)}


def _scores(result: Any) -> list[float]:
    return [one.score for row in result.classifications for one in row.classes]
