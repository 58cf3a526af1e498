"""The gRPC client against our own gRPC server, whose models a test holds in its hand."""

import asyncio
import contextlib
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.client import Client, Tensor
from serving.client.grpc_client import GrpcClient, Tls
from serving.client.retry import Retry
from serving.model_server import grpc_services
from serving.model_server.config_files import Ssl
from serving.model_server.grpc_server import Listening
from serving.model_server.metrics import Metrics
from serving.model_server.models import State, VersionStatus
from serving.model_server.servable import Feeds, Fetches, Servable
from serving.model_server.signature import Array, Signature, TensorInfo
from serving.status import Code, StatusError
from tests.serving.model_server import certificates
from tests.serving.model_server.grpc_running import LIMIT_S, LOCAL, running
from tests.serving.model_server.lifecycle_fakes import Session

ONE = Retry(tries=1)
X = {"x": np.array([1.0, 3.0], np.float32)}
DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"]


class Echo:
    """One model whose outputs are its inputs; stands in for models.Models.

    Attributes:
        asked: (name, version, label) of each request.
        refusals: raised by the next requests, in turn.
        silent: answers never.
        configs: that it was reloaded with.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, int | None, str | None]] = []
        self.refusals: list[StatusError] = []
        self.silent = False
        self.configs: list[Any] = []
        definition = SignatureDef(method_name="echo")
        for alias, tensors in (("x", definition.inputs), ("y", definition.outputs)):
            tensors[alias].dtype = 1
            tensors[alias].tensor_shape.dim.add(size=-1)
            tensors[alias].tensor_shape.dim.add(size=3)
        infos = {"x": TensorInfo("x:0", 1)}, {"y": TensorInfo("x:0", 1), "z": TensorInfo("x:0", 1)}
        signatures = {name: Signature(name, "", *infos, definition=definition) for name in ("serving_default", "other")}
        self.servable = Servable("m", 4, signatures, Session(), self.run)

    async def run(self, feeds: Feeds, fetches: Fetches, timeout_s: float | None) -> list[Array]:
        """What comes in."""
        if self.silent:
            await asyncio.Event().wait()
        return [feeds[name] for name in fetches]

    def acquire(self, name: str, version: int | None = None, label: str | None = None) -> Servable:
        """As Models."""
        self.asked.append((name, version, label))
        if self.refusals:
            raise self.refusals.pop(0)
        assert self.servable.acquire()
        return self.servable

    def statuses(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """As Models."""
        return [VersionStatus(4, State.AVAILABLE), VersionStatus(3, State.END, StatusError(Code.DATA_LOSS, "torn"))]

    def reload(self, config: Any) -> None:
        """As Models."""
        self.configs.append(config)

    @contextlib.contextmanager
    def serving(self, listening: Listening | None = None) -> Generator[str]:
        """Where it answers."""
        models: Any = self
        with running(grpc_services.handlers(models, Metrics()), listening) as server:
            yield f"127.0.0.1:{server.ports[0]}"


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def client(echo: Echo) -> Generator[GrpcClient]:
    with echo.serving() as target, connected(target, retry=Retry(sleep=lambda seconds: None)) as one:
        yield one


@contextlib.contextmanager
def connected(target: str, **named: Any) -> Generator[GrpcClient]:
    client = GrpcClient(target, **named)
    yield client
    client.close()


def refusal(client: Client, inputs: Any = X, **named: Any) -> StatusError:
    with pytest.raises(StatusError) as caught:
        client.predict("m", inputs, **named)
    return caught.value


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (2, 3), (0, 3)])
def test_arrays_go_there_and_back_as_they_are(client: GrpcClient, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    found = client.predict("m", {"x": array})
    assert found.version == 4
    assert sorted(found.outputs) == ["y", "z"]
    assert found.outputs["y"].dtype == array.dtype
    np.testing.assert_array_equal(found.outputs["y"], array)


def test_texts_go_as_bytes(client: GrpcClient) -> None:
    for texts in (np.array([["ä"], ["b"]]), np.array([["ä".encode()], [b"b"]], object), [["ä"], ["b"]]):
        inputs: Any = {"x": texts}
        assert client.predict("m", inputs).outputs["y"].tolist() == [["ä".encode()], [b"b"]]


@pytest.mark.parametrize(("version", "label"), [(None, None), (3, None), (None, "stable")])
def test_version_and_label_reach_the_server(
    client: GrpcClient, echo: Echo, version: int | None, label: str | None
) -> None:
    client.predict("m", X, version=version, label=label)
    assert echo.asked == [("m", version, label)]


def test_signature_and_filter_reach_the_server(client: GrpcClient) -> None:
    assert list(client.predict("m", X, signature="other", output_filter=["z"]).outputs) == ["z"]
    assert refusal(client, signature="none").code == Code.FAILED_PRECONDITION


def test_both_a_version_and_a_label_are_refused(client: GrpcClient, echo: Echo) -> None:
    assert refusal(client, version=1, label="stable").code == Code.INVALID_ARGUMENT
    assert echo.asked == []


def test_an_array_that_tensorflow_has_no_dtype_for_is_refused(client: GrpcClient) -> None:
    assert refusal(client, {"x": np.array(["2020-01-01"], "M8[D]")}).code == Code.INVALID_ARGUMENT


def test_a_refusal_has_the_servers_code_and_message(client: GrpcClient, echo: Echo) -> None:
    echo.refusals.append(StatusError(Code.NOT_FOUND, "Servable not found for request: Latest(m)"))
    assert str(refusal(client)) == "NOT_FOUND: Servable not found for request: Latest(m)"
    assert len(echo.asked) == 1


def test_what_is_unavailable_is_tried_again(client: GrpcClient, echo: Echo) -> None:
    echo.refusals += [StatusError(Code.UNAVAILABLE, "full")] * 3
    assert client.predict("m", X).outputs["y"].tolist() == [1.0, 3.0]
    assert len(echo.asked) == 4


def test_a_server_that_says_nothing_ends_in_the_deadline(client: GrpcClient, echo: Echo) -> None:
    echo.silent = True
    assert refusal(client, timeout_s=0.2).code == Code.DEADLINE_EXCEEDED
    assert len(echo.asked) == 1


def test_a_server_that_is_not_there_is_unavailable(echo: Echo) -> None:
    with echo.serving() as target:
        pass
    with connected(target, retry=ONE) as client:
        assert refusal(client).code == Code.UNAVAILABLE


def test_a_server_that_is_not_there_yet_is_waited_for(echo: Echo, tmp_path: Path) -> None:
    listening = Listening((f"unix:{tmp_path / 'models.sock'}",))
    with contextlib.ExitStack() as stack:
        started: list[str] = []

        def come(seconds: float) -> None:
            if not started:
                started.append(stack.enter_context(echo.serving(listening)))
            time.sleep(seconds)  # until gRPC connects again, which it does by its own clock

        late = stack.enter_context(connected(listening.addresses[0], retry=Retry(tries=None, sleep=come)))
        assert late.predict("m", X, timeout_s=LIMIT_S).version == 4


def test_status_says_why_a_version_ended(client: GrpcClient) -> None:
    first, second = client.status("m")
    assert (first.version, first.state, first.error) == (4, "AVAILABLE", None)
    assert (second.version, second.state, str(second.error)) == (3, "END", "DATA_LOSS: torn")


def test_metadata_has_the_signatures_with_their_shapes(client: GrpcClient) -> None:
    found = client.metadata("m")
    assert found.version == 4
    assert sorted(found.signatures) == ["other", "serving_default"]
    assert found.signatures["other"].outputs == {"y": Tensor("DT_FLOAT", (None, 3))}


def test_reload_hands_over_the_whole_config(client: GrpcClient, echo: Echo) -> None:
    config = ModelServerConfig(model_config_list={"config": [{"name": "m", "base_path": "/models/m"}]})
    client.reload(config)
    assert echo.configs == [config]


OURS, THEIRS = certificates.authority("ours"), certificates.authority("theirs")
KEY, CERTIFICATE = OURS.issue("models.test")
TRUSTING = Tls(ca=OURS.pem, server_name="models.test")


def show(issuer: certificates.Authority) -> Tls:
    """With a certificate of the client's own."""
    return Tls(OURS.pem, *issuer.issue("client.test"), server_name="models.test")


@pytest.mark.parametrize(
    ("verify", "tls", "answered"),
    [
        (False, TRUSTING, True),
        (False, Tls(ca=THEIRS.pem, server_name="models.test"), False),
        (False, Tls(ca=OURS.pem, server_name="other.test"), False),
        (False, None, False),
        (True, show(OURS), True),
        (True, show(THEIRS), False),
        (True, TRUSTING, False),
    ],
    ids=["right", "wrong CA", "wrong host", "none", "own certificate", "stranger's certificate", "no certificate"],
)
def test_tls_lets_in_whom_it_should(echo: Echo, verify: bool, tls: Tls | None, answered: bool) -> None:
    ssl = Ssl(KEY.decode(), CERTIFICATE.decode(), OURS.pem.decode(), verify)
    with echo.serving(Listening(LOCAL, ssl=ssl)) as target, connected(target, tls=tls, retry=ONE) as client:
        if answered:
            assert client.predict("m", X).version == 4
        else:
            assert refusal(client).code == Code.UNAVAILABLE
