"""`kill -9` of the controller's process: the next one carries the rollout on."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving import traffic_plan
from serving.rollout.state import Phase
from serving.rollout.store import Store, open_store
from serving.traffic_plan import ModelPlan, Target
from tests.serving.model_server.conformance.process import free_port, until
from tests.serving.rollout.fake_grpc import serve
from tests.serving.rollout.fakes import FakeServer

LIMIT_S = 120.0  # a start imports TensorFlow, and the killed one's lease has to run out
SETTINGS = """
settle_s = 0.5
drain_s = 0.5
rollback_window_s = 1.0
[[steps]]
share = 0.5
least_s = 3600.0
most_s = 3600.0
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRESSLINE_HOME", str(tmp_path))
    monkeypatch.delenv("PRESSLINE_LEDGER_URL", raising=False)
    for version in (1, 2):
        (tmp_path / "models" / "clicks" / str(version)).mkdir(parents=True)
    (tmp_path / "settings.toml").write_text(SETTINGS)
    return tmp_path


@contextmanager
def moving(server: FakeServer) -> Iterator[None]:
    """The fake loads and unloads while time passes."""
    stop = threading.Event()

    def go_on() -> None:
        while not stop.wait(0.05):
            server.step()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def controller(home: Path, target: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The process; killed in the end."""
    flags = ("--replica", target, "--settings", str(home / "settings.toml"), "--port", str(free_port()))
    command = [sys.executable, "-m", "serving.rollout", "run", *flags]
    with (home / "log").open("ab") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            process.kill()


def phase(store: Store) -> Phase:
    return store.rollouts()[-1].phase


def test_a_controller_that_is_killed_is_carried_on_by_the_next_one(home: Path) -> None:
    store, plan = open_store(), home / "serving" / "plan.json"
    store.adopt("clicks", 1, "test")
    server = FakeServer(home / "serving" / "models.config", time.monotonic, load_s=0.2)
    server.start()
    with serve(server) as port, moving(server):
        target = f"127.0.0.1:{port}"
        store.submit("clicks", 2, "test")
        with controller(home, target):
            until(lambda: phase(store) is Phase.CANARY, "it is canary", LIMIT_S)
            until(lambda: traffic_plan.read(plan).models["clicks"].share == 0.5, "its share is published", LIMIT_S)
        before = traffic_plan.read(plan)
        store.ask("clicks", "promote", "test")
        with controller(home, target):
            until(lambda: phase(store) is Phase.DONE, "it is done", LIMIT_S)
            until(lambda: traffic_plan.read(plan).models["clicks"].stable.by == "label", "the plan is plain", LIMIT_S)
        after = traffic_plan.read(plan)
    assert before.models["clicks"].canary == Target(2)
    assert after.models == {"clicks": ModelPlan("clicks", Target(2))}
    assert after.generation > before.generation
    assert store.stable() == {"clicks": 2}
    assert server.labels == {"clicks": {"stable": 2}}
