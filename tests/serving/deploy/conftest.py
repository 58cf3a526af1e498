"""Two model servers that are none, shared: a test that makes one fail finds it well again afterwards."""

from collections.abc import Iterator

import pytest

from serving.deploy.options import Options, Servers
from tests.serving.deploy.echoes import Echo, echo
from tests.serving.model_server.conformance.process import free_port


@pytest.fixture(scope="session")
def servers() -> Iterator[tuple[Echo, Echo]]:
    with echo("stable") as stable, echo("canary") as canary:
        yield stable, canary


@pytest.fixture
def stable(servers: tuple[Echo, Echo]) -> Iterator[Echo]:
    servers[0].well()
    yield servers[0]
    servers[0].well()


@pytest.fixture
def canary(servers: tuple[Echo, Echo]) -> Iterator[Echo]:
    servers[1].well()
    yield servers[1]
    servers[1].well()


@pytest.fixture(scope="session")
def two_servers(servers: tuple[Echo, Echo]) -> Options:
    """REST and gRPC, each variant on a server of its own."""
    stable, canary = (Servers((one.rest,), (one.grpc,)) for one in servers)
    rest, grpc = (f"127.0.0.1:{free_port()}" for _ in range(2))
    return Options(stable=stable, canary=canary, rest=rest, grpc=grpc)


@pytest.fixture(scope="session")
def one_server(servers: tuple[Echo, Echo]) -> Options:
    """REST, both variants on one server, by label."""
    return Options(stable=Servers((servers[0].rest,)), rest=f"127.0.0.1:{free_port()}")
