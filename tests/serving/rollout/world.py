"""A world for the controller: fake model servers, a real database, real files, a clock that tests move. Not a test.

After every step it checks what users would notice: a request by the plan, or by a plan that a gateway may not have
replaced yet, is answered by every server that is up and has loaded what it started with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from serving import traffic_plan
from serving.errors import InputError
from serving.rollout.controller import Controller, Places
from serving.rollout.facts import Verdict
from serving.rollout.replicas import Replica
from serving.rollout.settings import Settings, Step
from serving.rollout.state import Outcome, Phase, Rollout
from serving.rollout.store import Store, open_store
from serving.traffic_plan import ModelPlan, Target, TrafficPlan
from tests.serving.rollout.fakes import FakeServer

ADOPTED = "it was there before"
STEP_S = 0.25
PATIENCE_S = 0.2  # with a locked database
SETTINGS = Settings(
    steps=(Step(0.05, least_s=2.0, most_s=60.0), Step(0.5, least_s=2.0, most_s=60.0)),
    warm_limit_s=30.0,
    settle_s=1.0,
    drain_s=1.0,
    rollback_window_s=5.0,
)
SEEN_AFTER_S = 0.9  # a gateway has seen a plan by then: less than settle_s


class Killed(BaseException):
    """The controller's process ends here."""


@dataclass(frozen=True)
class Said:
    """A verdict."""

    outcome: Outcome
    reason: str = "as the test says"
    evidence: dict[str, Any] = field(default_factory=dict)


class Oracle:
    """observation.Analysis that says what the test wants; success by default."""

    def __init__(self) -> None:
        self.outcome: Outcome | None = Outcome.SUCCESS
        self.asked: list[tuple[int, int]] = []

    def judgement(
        self, rollout: Rollout, settings: Settings, restarts: int, lacking_s: float | None, lacking: str
    ) -> Verdict | None:
        """See Analysis."""
        self.asked.append((rollout.step, restarts))
        return None if self.outcome is None else Said(self.outcome)


class World:
    """Two servers, a controller, models whose versions are folders."""

    def __init__(self, folder: Path, settings: Settings = SETTINGS, servers: int = 2) -> None:
        self.folder = folder
        self.now = 1000.0
        self.settings, self.settings_error = settings, ""
        self.oracle = Oracle()
        self.url = f"sqlite:///{folder / 'ledger.sqlite'}"
        self.config, self.plan_path = folder / "models.config", folder / "plan.json"
        self.servers = [FakeServer(self.config, lambda: self.now) for _ in range(servers)]
        for server in self.servers:
            server.start()
        self.plans: list[tuple[float, TrafficPlan]] = []
        self.checks_users = True
        self.store = self.opened()
        self.restart()

    def opened(self) -> Store:
        """The store, as a new process opens it; its leader is taken for dead at once."""
        return open_store(self.url, patience_s=PATIENCE_S, lease_s=0.0)

    def restart(self) -> None:
        """A new controller in place of the one that was killed."""
        self.replicas = [
            Replica(f"server{number}", lambda _, server=server: server, lambda: self.now)  # type: ignore[misc]
            for number, server in enumerate(self.servers)
        ]
        self.controller = self.made(self.opened(), self.replicas, "controller")

    def made(self, store: Store, replicas: Sequence[Replica], holder: str) -> Controller:
        """A controller of this world."""
        places = Places(self.config, self.plan_path, lambda model: self.folder / "models" / model)
        return Controller(store, replicas, self.oracle, self.settings_of, places, holder, lambda: self.now)

    def settings_of(self, model: str) -> Settings:
        """As the controller reads them; InputError where the test has broken them."""
        if self.settings_error:
            raise InputError(self.settings_error)
        return self.settings

    def push(self, model: str, *versions: int) -> None:
        """Version directories."""
        for version in versions:
            (self.folder / "models" / model / str(version)).mkdir(parents=True)

    def stable(self, model: str = "clicks", version: int = 1) -> None:
        """A model that is served, by label and by plan."""
        self.push(model, version)
        self.store.adopt(model, version, "test", ADOPTED)
        self.until(lambda: model in self.plan.models, f"{model} is served")

    def submit(self, version: int, model: str = "clicks") -> Rollout:
        """A candidate."""
        if not (self.folder / "models" / model / str(version)).exists():
            self.push(model, version)
        return self.store.submit(model, version, "pipeline")

    def ask(self, verb: Any, model: str = "clicks") -> None:
        """An operator's verb."""
        self.store.ask(model, verb, "operator", "because")

    def step(self, seconds: float = STEP_S) -> None:
        """Time passes, and everything that lives does its part once."""
        self.now += seconds
        for server in self.servers:
            server.step()
        for replica in self.replicas:
            replica.watch()
            replica.apply()
        try:
            self.controller.tick()
        finally:
            self.look()

    def until(self, condition: Callable[[], object], what: str, limit_s: float = 120.0) -> None:
        """Steps until it is so."""
        end = self.now + limit_s
        while not condition():
            assert self.now < end, f"waited {limit_s:g} s in vain until {what}: {self.rollouts}"
            self.step()

    def until_phase(self, phase: Phase, version: int | None = None, step: int | None = None) -> Rollout:
        """Steps until the newest rollout (or the version's newest) is there, and returns it."""

        def there() -> bool:
            found = self.newest(version)
            return found.phase is phase and step in (None, found.step)

        self.until(there, f"{version or 'the newest'} is {phase}")
        return self.newest(version)

    def newest(self, version: int | None = None) -> Rollout:
        """The newest rollout, or the newest of a version."""
        return [one for one in self.rollouts if version in (None, one.version)][-1]

    @property
    def rollouts(self) -> list[Rollout]:
        """All that were asked for."""
        return [one for one in self.store.rollouts() if one.reason != ADOPTED]

    @property
    def plan(self) -> TrafficPlan:
        """As it stands in the file."""
        return traffic_plan.read(self.plan_path) if self.plan_path.exists() else TrafficPlan()

    def of(self, model: str = "clicks") -> ModelPlan:
        """A model's plan."""
        return self.plan.models[model]

    def look(self) -> None:
        """Checks that users notice nothing, and that generations grow."""
        plan = self.plan
        if not self.plans or self.plans[-1][1] != plan:
            assert not self.plans or plan.generation > self.plans[-1][1].generation
            self.plans.append((self.now, plan))
        assert not any(server.wedged for server in self.servers), "a reload that hangs for ever"
        if not self.checks_users:
            return
        current = [plan for since, plan in self.plans[:-1] if self._replaced_at(since) > self.now - SEEN_AFTER_S]
        for model in [one for seen in (*current, plan) for one in seen.models.values()]:
            for server in self.servers:
                if server.alive and not server.hanging and not server.starting:
                    assert self._answers(server, model.model, model.stable, traffic_plan.STABLE), (model, server)
                    if model.canary is not None and (model.share or model.shadow):
                        assert self._answers(server, model.model, model.canary, traffic_plan.CANARY), (model, server)

    def _replaced_at(self, since: float) -> float:
        return min(later for later, _ in self.plans if later > since)

    def _answers(self, server: FakeServer, model: str, target: Target, label: str) -> bool:
        asked = server.answers(model, target.version, label if target.by == "label" else None)
        return asked is not None


def quick(**changes: Any) -> Settings:
    """The world's settings with changes."""
    return replace(SETTINGS, **changes)
