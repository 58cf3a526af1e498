"""A gateway's two doors as a client uses them, one request at a time. Not a test module."""

import http.client
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.e2e.rollout.parts import Listening

PATIENCE_S = 15.0


class AwayError(Exception):
    """The gateway is not there, or went away: another one is to be asked, as a balancer would."""


class Said(NamedTuple):
    """An answer.

    Attributes:
        status: `OK`, or what went wrong.
        y: the numbers.
        about: headers or trailing metadata, by lower-case name.
    """

    status: str
    y: tuple[float, ...]
    about: Mapping[str, str]


class RestDoor:
    """One keep-alive connection, which is made when it is needed."""

    def __init__(self, gateway: Listening) -> None:
        self._port = gateway.rest_port
        self._connection: http.client.HTTPConnection | None = None

    def predict(self, model: str, x: float, user: str) -> Said:
        """Raises AwayError."""
        body = json.dumps({"instances": [x]}).encode()
        status, about, content = self.post(f"/v1/models/{model}:predict", body, {"x-user-id": user} if user else {})
        if status != 200:
            return Said(f"{status}: {content[:300]!r}", (), about)
        return Said("OK", tuple(map(float, json.loads(content)["predictions"])), about)

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Raises AwayError."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        try:
            self._connection.request("POST", path, body, {"Content-Type": "application/json", **(headers or {})})
            answer = self._connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        except TimeoutError:
            self.close()
            return 0, {}, b"no answer in time"
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise AwayError from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


class GrpcDoor:
    """One channel."""

    def __init__(self, gateway: Listening) -> None:
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        options = (("grpc.max_reconnect_backoff_ms", 200), ("grpc.use_local_subchannel_pool", 1))
        self._channel = grpc.insecure_channel(f"127.0.0.1:{gateway.grpc_port}", options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def predict(self, model: str, x: float, user: str) -> Said:
        """Raises AwayError."""
        import grpc
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.inputs["x"].dtype = 1
        request.inputs["x"].tensor_shape.dim.add(size=1)
        request.inputs["x"].float_val.append(x)
        metadata = (("x-user-id", user),) if user else ()
        try:
            response, call = self._stub.Predict.with_call(request, timeout=PATIENCE_S, metadata=metadata)
        except grpc.RpcError as error:
            about = _about(error)
            if error.code() == grpc.StatusCode.UNAVAILABLE and "x-request-id" not in about:
                raise AwayError from error
            return Said(f"{error.code().name}: {error.details()}", (), about)
        return Said("OK", tuple(response.outputs["y"].float_val), _about(call))

    def close(self) -> None:
        self._channel.close()


def alike(found: tuple[float, ...], wanted: float) -> bool:
    """Whether the only number is the wanted one, as far as float32 tells; NaN is NaN."""
    if len(found) != 1:
        return False
    return math.isnan(found[0]) if math.isnan(wanted) else math.isclose(found[0], wanted, rel_tol=1e-5)


def _about(call: Any) -> Mapping[str, str]:
    return {str(name): str(value) for name, value in call.trailing_metadata() or ()}
