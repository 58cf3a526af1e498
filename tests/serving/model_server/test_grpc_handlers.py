"""Deadlines, cancellation, defects, counting and reloads over gRPC, with a model that a test holds in its hand."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Generator
from typing import Any

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from serving.model_server import grpc_services
from serving.model_server.metrics import Metrics
from serving.model_server.models import State, VersionStatus
from serving.model_server.servable import Feeds, Fetches, Servable
from serving.model_server.signature import Array, Signature, TensorInfo
from serving.status import Code, StatusError
from tests.serving.model_server.grpc_running import LIMIT_S, running
from tests.serving.model_server.lifecycle_fakes import Session, is_free, until

X = {"dtype": 1, "tensor_shape": {"dim": [{"size": 1}]}, "float_val": [3.0]}
TOO_LONG = "long ä" * 300


class Model:
    """One version whose runs do what their first number says; stands in for models.Models, too.

    Attributes:
        begun, cancelled: set when a run begins, and when one is cancelled.
        timeouts_s: given to the runs.
        reloading: set when a reload begins, which ends with `reloaded`.
    """

    def __init__(self) -> None:
        self.begun, self.cancelled = threading.Event(), threading.Event()
        self.reloading, self.reloaded = threading.Event(), threading.Event()
        self.timeouts_s: list[float | None] = []
        float32 = {"x": TensorInfo("x:0", 1)}, {"y": TensorInfo("y:0", 1)}
        signatures = {"serving_default": Signature("serving_default", "", *float32)}
        self.servable = Servable("m", 4, signatures, Session(), self.run)

    async def run(self, feeds: Feeds, fetches: Fetches, timeout_s: float | None) -> list[Array]:
        """0 waits for ever, 1 is a defect, 2 is refused at length, what is more is doubled."""
        self.timeouts_s.append(timeout_s)
        self.begun.set()
        (number,) = feeds["x:0"].tolist()
        if number == 0:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if number == 1:
            raise ZeroDivisionError("a defect")
        if number == 2:
            raise StatusError(Code.ABORTED, TOO_LONG)
        return [np.array([2 * number], np.float32)]

    def acquire(self, name: str, version: int | None = None, label: str | None = None) -> Servable:
        """As Models."""
        assert self.servable.acquire()
        return self.servable

    def statuses(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """As Models."""
        return [VersionStatus(4, State.END, StatusError(Code.DATA_LOSS, "torn"))]

    def reload(self, config: Any) -> None:
        """As Models; waits for `reloaded`, then refuses."""
        self.reloading.set()
        assert self.reloaded.wait(LIMIT_S)
        raise StatusError(Code.FAILED_PRECONDITION, "not available")


class Asking:
    """A server of one Model, and a channel to it."""

    def __init__(self, channel: Any) -> None:
        self.model, self.metrics = Model(), Metrics()
        self.channel = channel

    def predict(self, number: float, timeout_s: float | None = LIMIT_S) -> Any:
        """The call, begun."""
        request = PredictRequest(model_spec={"name": "m"}, inputs={"x": {**X, "float_val": [number]}})
        return prediction_service_pb2_grpc.PredictionServiceStub(self.channel).Predict.future(
            request, timeout=timeout_s
        )

    def counted(self, status: str) -> bool:
        """Whether one request of this status was counted, and no other."""
        page = self.metrics.exposition().decode().splitlines()
        lines = [line for line in page if line.startswith(":tensorflow:serving:request_count{")]
        return lines == [f':tensorflow:serving:request_count{{model_name="m",status="{status}"}} 1']

    @property
    def timed(self) -> bool:
        """Whether a latency was observed."""
        return ":tensorflow:serving:request_latency_count" in self.metrics.exposition().decode()


@pytest.fixture
def asking() -> Generator[Asking]:
    with contextlib.ExitStack() as stack:
        one = Asking(None)
        models: Any = one.model
        server = stack.enter_context(running(grpc_services.handlers(models, one.metrics)))
        one.channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{server.ports[0]}"))
        yield one


def test_a_success_is_counted_and_timed(asking: Asking) -> None:
    assert list(asking.predict(3).result().outputs["y"].float_val) == [6]
    assert asking.counted("OK")
    page = asking.metrics.exposition().decode()
    assert ':tensorflow:serving:request_latency_count{model_name="m",API="Predict",entrypoint="GRPC"} 1' in page
    assert ':tensorflow:serving:runtime_latency_count{model_name="m",API="Predict",runtime="TF1"} 1' in page


def test_a_refusal_is_counted_not_timed_and_cut_at_1024_bytes(asking: Asking) -> None:
    call = asking.predict(2)
    assert call.code() == grpc.StatusCode.ABORTED
    assert call.details() == TOO_LONG.encode()[:1024].decode(errors="ignore") + "...TRUNCATED"
    assert asking.counted("ABORTED")
    assert not asking.timed


def test_a_defect_is_internal_and_logged_with_its_traceback(asking: Asking, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        call = asking.predict(1)
        assert (call.code(), call.details()) == (grpc.StatusCode.INTERNAL, "ZeroDivisionError: a defect")
    (record,) = caplog.records
    assert record.exc_info
    assert record.exc_info[0] is ZeroDivisionError
    assert asking.counted("INTERNAL")


def test_a_run_is_given_the_time_that_its_caller_waits(asking: Asking) -> None:
    asking.predict(3, 50).result()
    asking.predict(3, None).result()
    limited, unlimited = asking.model.timeouts_s
    assert limited is not None
    assert 0 < limited <= 50
    assert unlimited is None


def test_a_deadline_ends_the_run_and_frees_the_version(asking: Asking) -> None:
    call = asking.predict(0, 0.2)
    assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert asking.model.cancelled.wait(LIMIT_S)
    until(lambda: asking.counted("DEADLINE_EXCEEDED"))  # the client knows of it first
    asking.model.servable.retire()  # comes back, since nobody uses it
    assert is_free(asking.model.servable)


def test_a_caller_that_leaves_ends_the_run_and_frees_the_version(asking: Asking) -> None:
    call = asking.predict(0)
    assert asking.model.begun.wait(LIMIT_S)
    call.cancel()
    assert asking.model.cancelled.wait(LIMIT_S)
    until(lambda: asking.counted("CANCELLED"))  # the client knows of it first
    asking.model.servable.retire()
    assert is_free(asking.model.servable)


def test_what_is_no_request_is_refused_and_not_counted(asking: Asking) -> None:
    for service, method in (("PredictionService", "Predict"), ("ModelService", "GetModelStatus")):
        with pytest.raises(grpc.RpcError) as caught:
            asking.channel.unary_unary(f"/tensorflow.serving.{service}/{method}")(b"\xff", timeout=LIMIT_S)
        assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert "request_count{" not in asking.metrics.exposition().decode()


def test_the_status_of_a_version_that_failed_says_why(asking: Asking) -> None:
    stub = model_service_pb2_grpc.ModelServiceStub(asking.channel)
    (one,) = stub.GetModelStatus(GetModelStatusRequest(model_spec={"name": "m"}), timeout=LIMIT_S).model_version_status
    assert (one.version, one.state, one.status.error_code, one.status.error_message) == (4, 50, 15, "torn")


RELOAD = ReloadConfigRequest(config={"model_config_list": {}})


def test_a_reload_that_waits_holds_up_nothing_else_and_then_says_its_error(asking: Asking) -> None:
    reload = model_service_pb2_grpc.ModelServiceStub(asking.channel).HandleReloadConfigRequest
    calls = [reload.future(RELOAD, timeout=LIMIT_S) for _ in range(20)]
    assert asking.model.reloading.wait(LIMIT_S)
    assert asking.predict(3).code() == grpc.StatusCode.OK
    asking.model.reloaded.set()
    assert {call.code() for call in calls} == {grpc.StatusCode.FAILED_PRECONDITION}
    assert calls[0].details() == "not available"


def test_a_reloads_deadline_ends_the_call_alone(asking: Asking) -> None:
    reload = model_service_pb2_grpc.ModelServiceStub(asking.channel).HandleReloadConfigRequest
    assert reload.future(RELOAD, timeout=0.2).code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert asking.model.reloading.is_set()
    assert asking.predict(3).code() == grpc.StatusCode.OK
    asking.model.reloaded.set()
