"""The controller and a real model server: versions walk to stable and back, and no request by the plan fails."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from serving import traffic_plan
from serving.client.grpc_client import GrpcClient
from serving.client.retry import Retry
from serving.rollout.controller import Controller, Places
from serving.rollout.replicas import Replica
from serving.rollout.settings import Settings, Step
from serving.rollout.state import Outcome, Phase
from serving.rollout.store import Store, open_store
from serving.status import StatusError
from serving.traffic_plan import ModelPlan, Target
from tests.serving.model_server.conformance.process import running, until
from tests.serving.model_server.models import build, push
from tests.serving.rollout.world import Oracle

SETTINGS = Settings(
    steps=(Step(0.1, least_s=0.5), Step(0.5, least_s=0.5)), settle_s=0.5, drain_s=0.5, rollback_window_s=2.0
)
FLAGS = (
    "--file_system_poll_wait_seconds=1",
    "--allow_version_labels_for_unavailable_models=true",
    "--max_num_load_retries=0",
    "--num_load_threads=1",
)
LIMIT_S = 60.0


class Users:
    """A thread that asks as gateways do: by the plan's file, both variants in turn; counts what fails."""

    def __init__(self, target: str, plan: Path) -> None:
        self._client = GrpcClient(target, retry=Retry(tries=1))
        self._plan = plan
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.answered: dict[int, int] = {}
        self.failures: list[str] = []

    def __enter__(self) -> "Users":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _ask(self) -> None:
        while not self._stop.wait(0.01):
            for model in traffic_plan.read(self._plan).models.values() if self._plan.exists() else ():
                self._ask_for(model.stable, "stable")
                if model.canary is not None:
                    self._ask_for(model.canary, "canary")

    def _ask_for(self, target: Target, label: str) -> None:
        by_label, x = target.by == "label", np.array([2.0], np.float32)
        number, named = (None, label) if by_label else (target.version, None)
        try:
            answer = self._client.predict("half", {"x": x}, version=number, label=named, timeout_s=5.0)
        except StatusError as error:
            self.failures.append(f"{target}: {error}")
        else:
            assert answer.version is not None
            self.answered[answer.version] = self.answered.get(answer.version, 0) + 1


class Line:
    """A controller in a thread, the server, and what the test asks them."""

    def __init__(self, folder: Path, port: int, store: Store, oracle: Oracle) -> None:
        self.target = f"127.0.0.1:{port}"
        self.places = Places(folder / "models.config", folder / "plan.json", lambda model: folder / model)
        self.store, self.oracle = store, oracle
        self.replica = Replica(self.target)
        self.controller = Controller(store, [self.replica], oracle, lambda _: SETTINGS, self.places, "test")

    def phase(self, version: int) -> Phase:
        return [one.phase for one in self.store.rollouts() if one.version == version][-1]

    def reaches(self, version: int, phase: Phase) -> None:
        until(lambda: self.phase(version) is phase, f"version {version} is {phase}", LIMIT_S)

    def plan(self) -> ModelPlan:
        return traffic_plan.read(self.places.plan).models["half"]


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    two, three = (build(kind, tmp_path / kind) for kind in ("half_plus_two", "half_plus_three"))
    for version, model in ((1, two), (2, three), (3, two), (4, build("garbage", tmp_path / "garbage"))):
        push(model, tmp_path / "half", version)
    config = tmp_path / "models.config"
    config.write_text("model_config_list {}\n")
    store = open_store(f"sqlite:///{tmp_path / 'ledger.sqlite'}", patience_s=2.0)
    with running(tmp_path / "server", f"--model_config_file={config}", *FLAGS) as server:
        made = Line(tmp_path, server.port, store, Oracle())
        with closing(made.replica), at_work(made.controller):
            made.replica.start()
            yield made


@contextmanager
def at_work(controller: Controller) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=controller.run, args=(stop, 0.1))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_versions_walk_to_stable_and_back_and_no_request_fails(line: Line) -> None:
    with Users(line.target, line.places.plan) as users:
        line.store.submit("half", 1, "test")
        line.reaches(1, Phase.DONE)
        line.store.submit("half", 2, "test")
        line.reaches(2, Phase.DONE)
        assert line.plan() == ModelPlan("half", Target(2))

        line.oracle.outcome = None
        line.store.submit("half", 3, "test")
        line.reaches(3, Phase.CANARY)
        asked_canary = until(lambda: users.answered.get(3), "users meet the canary")
        line.oracle.outcome = Outcome.FAILURE
        line.reaches(3, Phase.ROLLED_BACK)
        assert asked_canary
        assert line.plan() == ModelPlan("half", Target(2))

        line.store.submit("half", 4, "test")
        line.reaches(4, Phase.ROLLED_BACK)
        assert "saved_model" in line.store.rollouts()[-1].reason.lower()

        line.oracle.outcome = Outcome.SUCCESS
        line.store.ask("half", "retry", "test", version=3)
        line.reaches(3, Phase.STABLE)
        line.store.ask("half", "abort", "test")
        until(lambda: line.plan() == ModelPlan("half", Target(2, "version")), "the plan is back")
        line.reaches(3, Phase.ROLLED_BACK)
        seen = users.answered[2]
        until(lambda: users.answered[2] > seen + 10, "users go on with the version before")
    assert users.failures == []
    assert line.store.stable() == {"half": 2}
    assert set(users.answered) == {1, 2, 3}
