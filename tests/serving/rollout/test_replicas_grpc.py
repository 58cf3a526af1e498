"""Model servers over the real gRPC API, each kept by its own threads."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.rollout.desired import Model, ServerConfig, server_config
from serving.rollout.replicas import Replica
from tests.serving.model_server.conformance.process import free_port, until
from tests.serving.rollout.fake_grpc import serve
from tests.serving.rollout.fakes import FakeServer


def config(folder: Path, *stable: int) -> ServerConfig:
    return server_config([Model(f"model{number}", str(folder / f"model{number}"), number) for number in stable])


@pytest.fixture
def server(tmp_path: Path) -> FakeServer:
    for number in (1, 2):
        (tmp_path / f"model{number}" / str(number)).mkdir(parents=True)
    made = FakeServer(tmp_path / "none.config", time.monotonic, load_s=0.0)
    made.start()
    return made


@contextmanager
def kept(port: int) -> Iterator[Replica]:
    replica = Replica(f"127.0.0.1:{port}")
    replica.start()
    try:
        yield replica
    finally:
        replica.close()


def applied(replica: Replica, wanted: ServerConfig) -> Callable[[], bool]:
    return lambda: replica.seen().applied == wanted.text


def test_a_config_is_applied_and_states_and_labels_are_read(tmp_path: Path, server: FakeServer) -> None:
    wanted = config(tmp_path, 1)
    with serve(server) as port, kept(port) as replica:
        replica.want(wanted)
        until(applied(replica, wanted), "it is applied")
        until(lambda: replica.seen().models.get("model1", {}).get(1) is not None, "its state is told")
        assert replica.seen().models["model1"][1].state == "AVAILABLE"
        server.labels["model1"] = {}
        until(lambda: server.labels["model1"] == {"stable": 1}, "the label that was taken away is back")


def test_one_that_is_dead_or_hangs_holds_up_no_other_and_no_caller(tmp_path: Path, server: FakeServer) -> None:
    server.gate = threading.Event()
    free = FakeServer(tmp_path / "none.config", time.monotonic, load_s=0.0)
    wanted = config(tmp_path, 1)
    with serve(server) as port, serve(free) as other, kept(port) as waits, kept(other) as works, kept(1) as dead:
        for replica in (dead, waits, works):
            replica.want(wanted)
        until(applied(works, wanted), "the one that works has it")
        until(lambda: len(server.reloads) == 1, "the other one is told")
        until(lambda: waits.seen().models.get("model1"), "states are told while a reload waits")
        assert not applied(waits, wanted)()
        assert not dead.seen().answers
        server.gate.set()
        until(applied(waits, wanted), "the one that waited has it")


def test_what_was_wanted_while_a_reload_waited_comes_after_it(tmp_path: Path, server: FakeServer) -> None:
    server.gate = threading.Event()
    first, second = config(tmp_path, 1), config(tmp_path, 1, 2)
    with serve(server) as port, kept(port) as replica:
        replica.want(first)
        until(lambda: len(server.reloads) == 1, "it is told")
        replica.want(second)
        server.gate.set()
        until(applied(replica, second), "the newer one is applied")
    assert len(server.reloads) == 2


def test_a_server_that_comes_back_on_its_port_is_told_again(tmp_path: Path, server: FakeServer) -> None:
    wanted, port = config(tmp_path, 1), free_port()
    with kept(port) as replica:
        replica.want(wanted)
        with serve(server, port):
            until(applied(replica, wanted), "it is applied")
        until(lambda: not replica.seen().answers, "it is away")
        server.start()
        with serve(server, port):
            until(applied(replica, wanted), "it is applied again")
            assert replica.seen().restarts == 1
            assert server.labels == {"model1": {"stable": 1}}


def test_closing_ends_a_reload_that_waits(tmp_path: Path, server: FakeServer) -> None:
    server.gate = threading.Event()
    with serve(server) as port:
        with kept(port) as replica:
            replica.want(config(tmp_path, 1))
            until(lambda: len(server.reloads) == 1, "it is told")
        alive = [thread.name for thread in threading.enumerate() if thread.name.startswith(replica.target)]
        server.gate.set()
    assert alive == []
