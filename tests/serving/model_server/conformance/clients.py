"""A REST client that sends what it is told byte for byte, and a gRPC client whose requests are text protobufs."""

import http.client
import json
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

LIMIT_S = 30.0
LARGEST_BYTES = 2**31 - 1
OF_MODELS = ("GetModelStatus", "HandleReloadConfigRequest")  # the methods of ModelService

Text = str | re.Pattern[str]


def holding(*parts: str) -> re.Pattern[str]:
    """A text that has these parts, in this order."""
    return re.compile(".*".join(map(re.escape, parts)), re.DOTALL)


def fits(text: str, expected: Text) -> bool:
    """Whether the text is the expected one, or holds the expected pattern."""
    return text == expected if isinstance(expected, str) else expected.search(text) is not None


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP; headers by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def dense(self) -> str:
        """The body without white space: how numbers and texts are written, however they are laid out."""
        return re.sub(r"\s+", "", self.body.decode())

    @property
    def error(self) -> str:
        """The message of an error body, which has nothing else."""
        content = self.json
        assert list(content) == ["error"]
        return str(content["error"])


class Rest:
    """A REST port. One connection for each request unless it is used in a `with`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._kept: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        self._kept = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._kept is not None:
            self._kept.close()
        self._kept = None

    def send(
        self, method: str, path: str, body: bytes | str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = self._kept or http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        content = body.encode() if isinstance(body, str) else body
        try:
            connection.request(method, path, content, dict(headers or {}))
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())
        finally:
            if connection is not self._kept:
                connection.close()

    def get(self, path: str) -> Answer:
        return self.send("GET", path)

    def post(self, path: str, body: bytes | str) -> Answer:
        return self.send("POST", path, body, {"Content-Type": "application/json"})

    def predict(self, model: str, body: bytes | str) -> Answer:
        """POST to `/v1/models/{model}:predict`; the model may have `/versions/1` or `/labels/stable` behind it."""
        return self.post(f"/v1/models/{model}:predict", body)

    def raw(self, content: bytes, half_close: bool = False, limit_s: float = LIMIT_S) -> bytes:
        """Everything the server says to these bytes until it closes the connection, or falls silent for the limit."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=limit_s) as connection:
            heard = bytearray()
            try:
                connection.sendall(content)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
                while piece := connection.recv(1 << 16):
                    heard += piece
            except (TimeoutError, ConnectionError):
                pass
            return bytes(heard)


@dataclass(frozen=True)
class Refusal:
    """An RPC that failed: the name of its code and its message."""

    code: str
    message: str


class Grpc:
    """A gRPC address. Requests are messages, or their text form."""

    def __init__(self, address: str, credentials: Any = None, options: Sequence[tuple[str, Any]] = ()) -> None:
        import grpc

        limits = [("grpc.max_receive_message_length", LARGEST_BYTES), ("grpc.max_send_message_length", LARGEST_BYTES)]
        settings = [*limits, ("grpc.use_local_subchannel_pool", 1), *options]
        if credentials is None:
            self.channel = grpc.insecure_channel(address, settings)
        else:
            self.channel = grpc.secure_channel(address, credentials, settings)

    def call(self, method: str, request: Any = "", timeout_s: float = LIMIT_S) -> Any:
        """The response.

        Raises:
            grpc.RpcError: the server refused.
        """
        from google.protobuf import text_format

        request_type, response_type = message_types(method)
        message = text_format.Parse(request, request_type()) if isinstance(request, str) else request
        return response_type.FromString(self.call_bytes(method, message.SerializeToString(), timeout_s))

    def call_bytes(self, method: str, content: bytes, timeout_s: float = LIMIT_S) -> bytes:
        """The same, with messages as they are sent."""
        service = "ModelService" if method in OF_MODELS else "PredictionService"
        return bytes(self.channel.unary_unary(f"/tensorflow.serving.{service}/{method}")(content, timeout=timeout_s))

    def refusal(self, method: str, request: Any = "", timeout_s: float = LIMIT_S) -> Refusal:
        """How the server refuses; a success is a failure of the test."""
        import grpc

        try:
            response = self.call(method, request, timeout_s)
        except grpc.RpcError as error:
            return Refusal(error.code().name, error.details())
        raise AssertionError(f"{method} was answered: {response}")

    def statuses(self, model: str) -> dict[int, str]:
        """Version -> name of its state; nothing for a model that is unknown."""
        import grpc
        from tensorflow_serving.apis import get_model_status_pb2

        try:
            response = self.call("GetModelStatus", f'model_spec {{ name: "{model}" }}')
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return {}
            raise
        names = get_model_status_pb2.ModelVersionStatus.State.Name
        return {entry.version: names(entry.state) for entry in response.model_version_status}

    def close(self) -> None:
        self.channel.close()


def message_types(method: str) -> tuple[Any, Any]:
    """A method's request and response."""
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        model_management_pb2,
        predict_pb2,
        regression_pb2,
    )

    module, name = {
        "Predict": (predict_pb2, "Predict"),
        "Classify": (classification_pb2, "Classification"),
        "Regress": (regression_pb2, "Regression"),
        "MultiInference": (inference_pb2, "MultiInference"),
        "GetModelMetadata": (get_model_metadata_pb2, "GetModelMetadata"),
        "GetModelStatus": (get_model_status_pb2, "GetModelStatus"),
        "HandleReloadConfigRequest": (model_management_pb2, "ReloadConfig"),
    }[method]
    return getattr(module, f"{name}Request"), getattr(module, f"{name}Response")


def predict_text(
    model: str, x: Sequence[float] = (2.0,), alias: str = "x", spec: str = "", more: str = "", dtype: str = "DT_FLOAT"
) -> str:
    """A PredictRequest for a vector of floats, as text; `spec` goes into the model_spec, `more` beside it."""
    values = " ".join(f"float_val: {value}" for value in x)
    tensor = f"dtype: {dtype} tensor_shape {{ dim {{ size: {len(x)} }} }} {values}"
    return f'model_spec {{ name: "{model}" {spec} }} inputs {{ key: "{alias}" value {{ {tensor} }} }} {more}'
