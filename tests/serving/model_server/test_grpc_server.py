"""The gRPC server: ports, TLS, sizes, health, stopping. An echo stands in for the services; no TensorFlow here."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from serving.model_server.config_files import Ssl
from serving.model_server.grpc_server import Listening, serve
from serving.status import Code, StatusError
from tests.serving.model_server import certificates
from tests.serving.model_server.grpc_running import LIMIT_S, LOCAL, loop, running

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


async def echo(content: bytes, context: Any) -> bytes:
    return content


def handlers(work: Any = echo) -> tuple[Any, ...]:
    return (grpc.method_handlers_generic_handler("test.Echo", {"Say": grpc.unary_unary_rpc_method_handler(work)}),)


def say(
    target: str, content: bytes = b"hello", credentials: Any = None, host: str | None = None, method: str = "Say"
) -> bytes:
    options: list[tuple[str, Any]] = [*UNLIMITED, ("grpc.enable_retries", 0)]
    if host:
        options.append(("grpc.ssl_target_name_override", host))
    channel = (
        grpc.secure_channel(target, credentials, options) if credentials else grpc.insecure_channel(target, options)
    )
    with channel:
        answer: bytes = channel.unary_unary(f"/test.Echo/{method}")(content, timeout=LIMIT_S)
    return answer


def refusal(*arguments: Any, **named: Any) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        say(*arguments, **named)
    return caught.value.code()


def start_refusal(listening: Listening) -> StatusError:
    with pytest.raises(StatusError) as caught:
        loop().run(serve(handlers(), listening))
    return caught.value


def test_it_answers_on_a_port_and_on_a_unix_socket_at_once(tmp_path: Path) -> None:
    path = tmp_path / "models.sock"
    with running(handlers(), Listening((*LOCAL, f"unix:{path}"))) as server:
        assert say(f"127.0.0.1:{server.ports[0]}") == b"hello"
        assert say(f"unix:{path}") == b"hello"


def test_messages_of_more_than_grpcs_default_of_4_mib_go_both_ways() -> None:
    with running(handlers()) as server:
        assert len(say(f"127.0.0.1:{server.ports[0]}", bytes(5 << 20))) == 5 << 20


def test_a_method_that_is_not_served_is_unimplemented() -> None:
    with running(handlers()) as server:
        assert refusal(f"127.0.0.1:{server.ports[0]}", method="Shout") == grpc.StatusCode.UNIMPLEMENTED


def test_a_port_that_is_taken_is_refused() -> None:
    with running(handlers()) as server:
        error = start_refusal(Listening((f"127.0.0.1:{server.ports[0]}",)))
        assert error.code == Code.INVALID_ARGUMENT
        assert f"cannot listen on 127.0.0.1:{server.ports[0]}" in error.message
        assert say(f"127.0.0.1:{server.ports[0]}") == b"hello"


def test_a_port_is_shared_only_if_the_channel_arguments_ask_for_it() -> None:
    shared = "grpc.so_reuseport=1"
    with running(handlers(), Listening(LOCAL, shared)) as server:
        address = (f"127.0.0.1:{server.ports[0]}",)
        start_refusal(Listening(address))
        with running(handlers(), Listening(address, shared)) as second:
            assert second.ports == server.ports


def test_a_unix_socket_that_somebody_listens_to_is_refused_and_stays_his(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'models.sock'}"
    with running(handlers(), Listening((address,))):
        assert "another server" in start_refusal(Listening((address,))).message
        assert say(address) == b"hello"


def test_a_unix_socket_that_a_killed_server_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "models.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with running(handlers(), Listening((f"unix:{path}",))):
        assert say(f"unix:{path}") == b"hello"


def test_channel_arguments_reach_grpc_as_numbers_where_they_are_numbers() -> None:
    arguments = "grpc.max_receive_message_length=10,grpc.primary_user_agent=model server"
    with running(handlers(), Listening(LOCAL, arguments)) as server:
        assert say(f"127.0.0.1:{server.ports[0]}", bytes(10)) == bytes(10)
        assert refusal(f"127.0.0.1:{server.ports[0]}", bytes(11)) == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("text", ["grpc.so_reuseport", "=1", "a=1,b"])
def test_a_channel_argument_that_is_no_pair_is_refused(text: str) -> None:
    assert start_refusal(Listening(LOCAL, text)).code == Code.INVALID_ARGUMENT


OURS, THEIRS = certificates.authority("ours"), certificates.authority("theirs")
KEY, CERTIFICATE = OURS.issue("models.test")


def ssl(**changes: Any) -> Ssl:
    fields: dict[str, Any] = {
        "server_key": KEY.decode(),
        "server_cert": CERTIFICATE.decode(),
        "custom_ca": "",
        "client_verify": False,
    }
    return Ssl(**(fields | changes))


@pytest.fixture(scope="module")
def one_way() -> Iterator[str]:
    """Where a server listens that shows a certificate and wants none."""
    with running(handlers(), Listening(LOCAL, ssl=ssl())) as server:
        yield f"127.0.0.1:{server.ports[0]}"


@pytest.fixture(scope="module")
def two_way() -> Iterator[str]:
    """Where one listens that wants a certificate too."""
    listening = Listening(LOCAL, ssl=ssl(custom_ca=OURS.pem.decode(), client_verify=True))
    with running(handlers(), listening) as server:
        yield f"127.0.0.1:{server.ports[0]}"


def test_a_client_that_trusts_the_authority_is_answered_over_tls(one_way: str) -> None:
    assert say(one_way, credentials=grpc.ssl_channel_credentials(OURS.pem), host="models.test") == b"hello"


def test_a_client_without_tls_gets_nowhere(one_way: str) -> None:
    assert refusal(one_way) == grpc.StatusCode.UNAVAILABLE


def test_a_client_that_trusts_somebody_else_gets_nowhere(one_way: str) -> None:
    credentials = grpc.ssl_channel_credentials(THEIRS.pem)
    assert refusal(one_way, credentials=credentials, host="models.test") == grpc.StatusCode.UNAVAILABLE


def test_a_client_that_expects_another_host_gets_nowhere(one_way: str) -> None:
    credentials = grpc.ssl_channel_credentials(OURS.pem)
    assert refusal(one_way, credentials=credentials, host="other.test") == grpc.StatusCode.UNAVAILABLE


def test_with_client_verify_a_certificate_of_the_authority_is_let_in(two_way: str) -> None:
    credentials = grpc.ssl_channel_credentials(OURS.pem, *OURS.issue("client.test"))
    assert say(two_way, credentials=credentials, host="models.test") == b"hello"


def test_with_client_verify_no_certificate_or_a_strangers_is_kept_out(two_way: str) -> None:
    none = grpc.ssl_channel_credentials(OURS.pem)
    strange = grpc.ssl_channel_credentials(OURS.pem, *THEIRS.issue("client.test"))
    for credentials in (none, strange):
        assert refusal(two_way, credentials=credentials, host="models.test") == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    "changes", [{"client_verify": True}, {"server_key": "no key"}, {"server_cert": ""}, {"custom_ca": "no CA"}]
)
def test_keys_and_certificates_that_cannot_be_used_are_refused_at_the_start(changes: dict[str, Any]) -> None:
    assert start_refusal(Listening(LOCAL, ssl=ssl(**changes))).code == Code.INVALID_ARGUMENT


def check(target: str, service: str) -> Any:
    with grpc.insecure_channel(target) as channel:
        method = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        return method(health_pb2.HealthCheckRequest(service=service), timeout=LIMIT_S).status


def test_health_checks_are_answered_for_the_names_without_package() -> None:
    with running(handlers(), Listening(LOCAL, health=True)) as server:
        target = f"127.0.0.1:{server.ports[0]}"
        for service in ("", "ModelService", "PredictionService"):
            assert check(target, service) == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            check(target, "tensorflow.serving.PredictionService")
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_without_the_flag_there_are_no_health_checks() -> None:
    with running(handlers()) as server, pytest.raises(grpc.RpcError) as caught:
        check(f"127.0.0.1:{server.ports[0]}", "")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


class Held:
    """A request that is worked on until it is let go."""

    def __init__(self) -> None:
        self.begun, self.cancelled = threading.Event(), threading.Event()
        self.go = asyncio.Event()

    async def __call__(self, content: bytes, context: Any) -> bytes:
        self.begun.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return content

    def handlers(self) -> tuple[Any, ...]:
        async def work(content: bytes, context: Any) -> bytes:
            return await self(content, context)

        return handlers(work)


def test_stopping_waits_for_requests_in_flight_and_takes_no_new_ones() -> None:
    held = Held()
    server = loop().run(serve(held.handlers(), Listening(LOCAL)))
    with grpc.insecure_channel(f"127.0.0.1:{server.ports[0]}") as channel:
        answer = channel.unary_unary("/test.Echo/Say").future(b"hello", timeout=LIMIT_S)
        assert held.begun.wait(LIMIT_S)
        stopping = asyncio.run_coroutine_threadsafe(server.stop(LIMIT_S), loop().loop)
        loop().run(asyncio.sleep(0))  # when this has had its turn, so has the beginning of stop
        assert refusal(f"127.0.0.1:{server.ports[0]}") == grpc.StatusCode.UNAVAILABLE
        assert not stopping.done()
        loop().loop.call_soon_threadsafe(held.go.set)
        assert answer.result() == b"hello"
        stopping.result(LIMIT_S)


def test_stopping_cancels_what_is_in_flight_when_the_grace_is_over() -> None:
    held = Held()
    server = loop().run(serve(held.handlers(), Listening(LOCAL)))
    with grpc.insecure_channel(f"127.0.0.1:{server.ports[0]}") as channel:
        answer = channel.unary_unary("/test.Echo/Say").future(b"hello", timeout=LIMIT_S)
        assert held.begun.wait(LIMIT_S)
        loop().run(server.stop(0))
        assert held.cancelled.wait(LIMIT_S)
        assert answer.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
