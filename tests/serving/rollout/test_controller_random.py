"""Anything at any time: candidates, verbs, verdicts, dead servers, dead controllers. Users notice nothing.

`World.look` checks that after every step: what plans ask for is answered, generations grow, no reload hangs.
"""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from serving.errors import InputError
from serving.rollout.settings import Settings, Step
from serving.rollout.state import Outcome, Phase, Rollout
from tests.serving.rollout.world import World

SETTINGS = Settings(
    steps=(Step(0.0, shadow=0.5, least_s=0.5, most_s=4.0), Step(0.5, least_s=0.5, most_s=4.0)),
    warm_limit_s=6.0,
    settle_s=1.0,
    drain_s=0.5,
    rollback_window_s=2.0,
)


class Anything(RuleBasedStateMachine):
    """One model, two servers, one controller after the other."""

    @initialize(on_newer=st.sampled_from(["supersede", "queue"]), inconclusive=st.sampled_from(["pause", "roll_back"]))
    def begin(self, on_newer: str, inconclusive: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        changes = {**vars(SETTINGS), "on_newer": on_newer, "on_inconclusive": inconclusive}
        self.world = World(Path(self.folder.name), Settings(**changes))
        self.world.stable()
        self.version = 1
        self.seen_bad: set[int] = set()

    @rule(broken=st.sampled_from([None, None, None, 0, 1]))
    def submit(self, broken: int | None) -> None:
        self.version += 1
        if broken is not None:
            self.world.servers[broken].broken["clicks", self.version] = "no good"
        self.world.submit(self.version)

    @rule(version=st.integers(2, 4))
    def submit_again(self, version: int) -> None:
        try:
            self.world.submit(version)
        except InputError:
            assert version == self.world.store.stable()["clicks"] or self.world.newest(version).bad
        self.version = max(self.version, version)

    @rule(verb=st.sampled_from(["pause", "resume", "promote", "abort"]))
    def ask(self, verb: str) -> None:
        try:
            self.world.ask(verb)
        except InputError:
            return  # nothing that it could apply to

    @rule(outcome=st.sampled_from([None, *Outcome]))
    def judge(self, outcome: Outcome | None) -> None:
        self.world.oracle.outcome = outcome

    @rule(number=st.integers(0, 1))
    def kill_or_start_a_server(self, number: int) -> None:
        server = self.world.servers[number]
        if server.alive:
            server.kill()
        else:
            server.start()

    @rule()
    def kill_the_controller(self) -> None:
        self.world.restart()

    @rule(seconds=st.sampled_from([0.25, 0.5, 3.0]), steps=st.integers(1, 12))
    def go_on(self, seconds: float, steps: int) -> None:
        for _ in range(steps):
            self.world.step(seconds)
            self.look()

    @precondition(lambda self: hasattr(self, "world"))
    @invariant()
    def look(self) -> None:
        live = [one for one in self.world.rollouts if one.live and one.phase is not Phase.STAGED]
        assert len(live) <= 1
        for one in self.world.rollouts:
            self.check(one)

    def check(self, one: Rollout) -> None:
        assert one.id not in self.seen_bad or one.bad or one.phase in (Phase.STABLE, Phase.RETIRING, Phase.DONE)
        if one.bad:
            self.seen_bad.add(one.id)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for server in self.world.servers:
            if not server.alive:
                server.start()
        self.world.oracle.outcome = Outcome.SUCCESS

        def over() -> bool:
            for one in self.world.rollouts:
                if one.paused and one.live:
                    self.ask("resume")
            return not any(one.live for one in self.world.rollouts)

        self.world.until(over, "all is over", limit_s=600)
        stable = self.world.store.stable()["clicks"]
        plan = self.world.of()
        assert (plan.stable.version, plan.stable.by, plan.canary) == (stable, "label", None)
        assert [server.labels for server in self.world.servers] == [{"clicks": {"stable": stable}}] * 2
        self.folder.cleanup()


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
