"""A model server that only notes what it is asked, and a gRPC door before it, both in this process. No test module."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from tensorflow_serving.apis import predict_pb2

from serving.gateway.admission import Admission
from serving.gateway.exchange import Exchange
from serving.gateway.grpc_front import MODEL, PREDICTION, GrpcFront, Parts
from serving.gateway.metrics import GatewayMetrics
from serving.gateway.plan_watch import PlanWatch
from serving.gateway.routing import Router
from serving.gateway.settings import Settings
from serving.gateway.shadow import Shadow
from serving.gateway.upstream_grpc import GrpcUpstream
from serving.http2 import listening
from serving.http2.listening import GrpcPort
from serving.model_server.grpc_server import GrpcServer, Listening, serve
from serving.traffic_plan import ModelPlan, Target, TrafficPlan
from tests.serving.model_server.grpc_running import LIMIT_S, LOCAL, loop

LABELS = {"stable": 1, "canary": 2}
METHODS = {
    PREDICTION: ("Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata"),
    MODEL: ("GetModelStatus", "HandleReloadConfigRequest"),
}
Fault = Callable[[Any], Awaitable[None]]  # given the call's context: aborts it, or takes its time


@dataclass(frozen=True)
class Seen:
    """One call that reached the stub."""

    method: str
    content: bytes
    left_s: float | None
    cancelled: asyncio.Event


@dataclass
class Stub:
    """Has version 1, labelled stable and the latest that it tells of, and version 2, labelled canary.

    Attributes:
        seen: the calls, in the order in which they came.
        faults: what the versions do before they answer.
        extra: what an answer holds beside the version.
    """

    seen: list[Seen] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)
    extra: bytes = b""
    server: GrpcServer | None = None

    @property
    def target(self) -> str:
        assert self.server is not None
        return f"127.0.0.1:{self.server.ports[0]}"

    def handlers(self) -> tuple[Any, ...]:
        return tuple(
            grpc.method_handlers_generic_handler(
                service, {name: grpc.unary_unary_rpc_method_handler(self._handler(name)) for name in names}
            )
            for service, names in METHODS.items()
        )

    def _handler(self, method: str) -> Callable[[bytes, Any], Awaitable[bytes]]:
        async def handle(content: bytes, context: Any) -> bytes:
            seen = Seen(method, content, context.time_remaining(), asyncio.Event())
            self.seen.append(seen)
            if method != "Predict":
                return b"answer to " + method.encode()
            try:
                spec = predict_pb2.PredictRequest.FromString(content).model_spec
            except Exception:
                await context.abort(grpc.StatusCode.INTERNAL, "cannot be read")
            version = spec.version.value or LABELS.get(spec.version_label, 1)
            try:
                if version in self.faults:
                    await self.faults[version](context)
            except asyncio.CancelledError:
                seen.cancelled.set()
                raise
            answer = predict_pb2.PredictResponse()
            answer.model_spec.version.value = version
            whole: bytes = answer.SerializeToString() + self.extra
            return whole

        return handle


def failing(code: grpc.StatusCode, details: str = "no") -> Fault:
    """Aborts with this."""

    async def fault(context: Any) -> None:
        await context.abort(code, details)

    return fault


async def hanging(context: Any) -> None:
    """Never answers."""
    await asyncio.Event().wait()


@dataclass
class Answer:
    """What a client got."""

    code: grpc.StatusCode
    details: str
    response: bytes
    trailing: dict[str, str]

    @property
    def version(self) -> int:
        return int(predict_pb2.PredictResponse.FromString(self.response).model_spec.version.value)


@dataclass
class Door:
    """A gRPC door. Collects what it records."""

    watch: PlanWatch
    admission: Admission
    shadow: Shadow
    recorded: list[Exchange] = field(default_factory=list)
    port: GrpcPort | None = None

    def record(self, exchange: Exchange) -> None:
        self.recorded.append(exchange)

    @property
    def target(self) -> str:
        assert self.port is not None
        return f"127.0.0.1:{self.port.port}"

    def call(
        self,
        request: bytes,
        *metadata: tuple[str, str],
        path: str = f"/{PREDICTION}/Predict",
        timeout_s: float | None = LIMIT_S,
    ) -> Answer:
        """Asks, on a channel of its own."""
        with grpc.insecure_channel(self.target, [("grpc.enable_retries", 0), *UNLIMITED]) as channel:
            try:
                response, call = channel.unary_unary(path).with_call(request, timeout=timeout_s, metadata=metadata)
            except grpc.RpcError as error:
                call, response = error, b""
        trailing = {name: value for name, value in call.trailing_metadata() or () if isinstance(value, str)}
        return Answer(call.code(), call.details() or "", response, trailing)

    def plan(self, share: float = 0.0, *, shadow: float = 0.0, by: Any = "label", model: str = "m") -> None:
        """Publishes a plan with a canary."""
        one = ModelPlan(model, Target(1, by), Target(2, by), share, shadow, "m/7", 7, 1)
        self.watch.plan = TrafficPlan(self.watch.plan.generation + 1, {model: one})


UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@contextlib.contextmanager
def stub() -> Iterator[Stub]:
    """A running stub."""
    made = Stub()
    made.server = loop().run(serve(made.handlers(), Listening(LOCAL)))
    try:
        yield made
    finally:
        loop().run(made.server.stop(0))


@contextlib.contextmanager
def door(*targets: str, max_in_flight: int = 100, shadow_in_flight: int = 8, **settings: Any) -> Iterator[Door]:
    """A running door before these servers; `settings` are fields of Settings."""

    async def start() -> tuple[Door, GrpcUpstream]:
        watch, metrics = PlanWatch(Path("/nowhere")), GatewayMetrics()
        made = Door(watch, Admission(max_in_flight), Shadow(shadow_in_flight))
        upstream = GrpcUpstream(targets)
        parts = Parts(Router(watch, b"s" * 32), upstream, made, made.admission, metrics, made.shadow)
        front = GrpcFront(parts, Settings(**settings))
        made.port = await listening.serve(front.answer, "127.0.0.1", 0, 1_000_000)
        return made, upstream

    made, upstream = loop().run(start())
    assert made.port is not None
    try:
        yield made
    finally:
        loop().run(made.port.close())
        loop().run(made.shadow.close())
        loop().run(upstream.close())


def predict(model: str = "m", *, version: int | None = None, label: str | None = None) -> bytes:
    """A PredictRequest with an input `user`, 42."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    request.inputs["user"].dtype = 9
    request.inputs["user"].int64_val.append(42)
    content: bytes = request.SerializeToString()
    return content


def wait_for(condition: Callable[[], object]) -> None:
    """Waits until something is so, and fails where it never is."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
