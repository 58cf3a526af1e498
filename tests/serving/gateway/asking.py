"""The gateway's way to gRPC servers on the tests' event loop, asked as plain functions. Not a test module."""

import contextlib
import ssl
from collections.abc import Iterator

import pytest

from serving.gateway.grpc_front import PREDICTION
from serving.gateway.upstream_grpc import GrpcUpstream
from serving.status import StatusError
from tests.serving.gateway.grpc_stub import predict
from tests.serving.model_server.grpc_running import LIMIT_S, loop

PREDICT = f"/{PREDICTION}/Predict"


@contextlib.contextmanager
def upstream(*targets: str, tls: ssl.SSLContext | None = None, server_name: str = "") -> Iterator[GrpcUpstream]:
    async def make() -> GrpcUpstream:
        return GrpcUpstream(targets, tls, server_name)

    made = loop().run(make())
    try:
        yield made
    finally:
        loop().run(made.close())


def ask(asked: GrpcUpstream, timeout_s: float = LIMIT_S, request: bytes = b"") -> bytes:
    return loop().run(asked.ask(PREDICT, request or predict(), timeout_s))


def refusal(asked: GrpcUpstream, timeout_s: float = LIMIT_S) -> StatusError:
    with pytest.raises(StatusError) as caught:
        ask(asked, timeout_s)
    return caught.value
