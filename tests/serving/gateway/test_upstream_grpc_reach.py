"""Where model servers may be: behind TLS, on a UNIX socket."""

import ssl
from pathlib import Path
from typing import Any

import grpc

from serving.gateway.grpc_front import PREDICTION
from serving.model_server.config_files import Ssl
from serving.model_server.grpc_server import Listening, serve
from serving.status import Code
from tests.serving.gateway.asking import ask, refusal, upstream
from tests.serving.gateway.grpc_stub import Stub
from tests.serving.model_server import certificates
from tests.serving.model_server.grpc_running import LOCAL, loop


def test_it_reaches_servers_that_speak_tls_and_shows_its_own_certificate(tmp_path: Path) -> None:
    authority, stranger = certificates.authority("ca"), certificates.authority("stranger")
    key, certificate = authority.issue("models.test")
    ssl_of_server = Ssl(key.decode(), certificate.decode(), authority.pem.decode(), True)

    def tls(trusted: certificates.Authority, shows: bool) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols(["h2"])
        context.load_verify_locations(cadata=trusted.pem.decode())
        if shows:
            own = tmp_path / "own.pem"
            own.write_bytes(b"".join(authority.issue("gateway.test")))
            context.load_cert_chain(own)
        return context

    async def answer(content: bytes, context: Any) -> bytes:
        return b"secure"

    handlers = grpc.method_handlers_generic_handler(
        PREDICTION, {"Predict": grpc.unary_unary_rpc_method_handler(answer)}
    )
    server = loop().run(serve([handlers], Listening(LOCAL, ssl=ssl_of_server)))
    target = f"127.0.0.1:{server.ports[0]}"
    try:
        with upstream(target, tls=tls(authority, True), server_name="models.test") as asked:
            assert ask(asked) == b"secure"
        for wrong, name in (
            (tls(authority, False), "models.test"),
            (tls(stranger, True), "models.test"),
            (tls(authority, True), "others.test"),
            (None, ""),
        ):
            with upstream(target, tls=wrong, server_name=name) as asked:
                assert refusal(asked, 5.0).code is Code.UNAVAILABLE
    finally:
        loop().run(server.stop(0))


def test_it_reaches_servers_on_a_unix_socket(tmp_path: Path) -> None:
    server = Stub()
    path = f"unix:{tmp_path}/models.sock"
    server.server = loop().run(serve(server.handlers(), Listening((path,))))
    try:
        with upstream(path) as asked:
            assert ask(asked)
    finally:
        loop().run(server.server.stop(0))
