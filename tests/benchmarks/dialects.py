"""How the servers want to be asked: TF Serving's REST and gRPC, and the V2 protocol's."""

import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt

from tests.benchmarks import wire
from tests.benchmarks.wire import Array

PATIENCE_S = 10.0
Answer = npt.NDArray[np.float32]


class WrongAnswerError(Exception):
    """No answer, an error, or other numbers than the model gives."""


@dataclass(frozen=True)
class Dialect:
    """One way to ask.

    Attributes:
        name: `REST` or `gRPC`.
        path: of the POST with {model} in it, or /package.Service/Method.
        body: model name and inputs -> request.
        answer: response -> the output's numbers, flat.
    """

    name: str
    path: str
    body: Callable[[str, Mapping[str, Array]], bytes]
    answer: Callable[[bytes], Answer]

    @property
    def grpc(self) -> bool:
        """Else REST."""
        return self.name == "gRPC"


def rows_body(_: str, inputs: Mapping[str, Array]) -> bytes:
    """TF Serving's row format: an object a row, or the bare value where there is one input."""
    columns = {name: _plain(value) for name, value in inputs.items()}
    if len(columns) == 1:
        (instances,) = columns.values()
    else:
        instances = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return json.dumps({"instances": instances}).encode()


def rows_answer(response: bytes) -> Answer:
    """`{"predictions": ...}`, or the list alone as BentoML's batching has it."""
    said = json.loads(response)
    return np.ravel(np.asarray(said["predictions"] if isinstance(said, dict) else said, np.float32))


def v2_body(_: str, inputs: Mapping[str, Array]) -> bytes:
    """The V2 protocol's JSON: each input's values flat, beside their shape."""
    described = [
        {
            "name": name,
            "shape": list(value.shape),
            "datatype": {"f": "FP32", "i": "INT64", "O": "BYTES"}[value.dtype.kind],
            "data": _plain(value.ravel()),
        }
        for name, value in inputs.items()
    ]
    return json.dumps({"inputs": described}).encode()


def v2_answer(response: bytes) -> Answer:
    """The first output's values."""
    return np.asarray(json.loads(response)["outputs"][0]["data"], np.float32)


TF_REST = Dialect("REST", "/v1/models/{model}:predict", rows_body, rows_answer)
V2_REST = Dialect("REST", "/v2/models/{model}/infer", v2_body, v2_answer)
TF_GRPC = Dialect("gRPC", "/tensorflow.serving.PredictionService/Predict", wire.predict_request, wire.predict_answer)
V2_GRPC = Dialect("gRPC", "/inference.GRPCInferenceService/ModelInfer", wire.infer_request, wire.infer_answer)


def ask(dialect: Dialect, port: int, model: str, body: bytes) -> bytes:
    """One request by an ordinary client.

    Raises:
        WrongAnswerError: no answer, or an error.
    """
    try:
        if dialect.grpc:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                answer: bytes = channel.unary_unary(dialect.path)(body, timeout=PATIENCE_S)
            return answer
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        try:
            connection.request("POST", dialect.path.format(model=model), body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            said = response.read()
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, grpc.RpcError) as error:
        raise WrongAnswerError(f"{dialect.name}: {error}") from error
    if response.status != 200:
        raise WrongAnswerError(f"{dialect.name}: HTTP {response.status}: {said[:500].decode(errors='replace')}")
    return said


def check(dialect: Dialect, response: bytes, expected: Answer) -> None:
    """Compares an answer with the bare model's; REST prints six digits.

    Raises:
        WrongAnswerError: they differ.
    """
    try:
        got = dialect.answer(response)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise WrongAnswerError(f"{dialect.name}: {error!r} in {response[:300]!r}") from error
    if got.shape != expected.shape or not np.allclose(got, expected, rtol=1e-4, atol=1e-5):
        raise WrongAnswerError(f"{dialect.name}: expected {expected[:4]}, got {got[:4]}")


def _plain(value: Array) -> Any:
    texts = value.dtype.kind == "O"
    return _decoded(value.tolist()) if texts else value.tolist()


def _decoded(value: Any) -> Any:
    return [_decoded(one) for one in value] if isinstance(value, list) else value.decode()
