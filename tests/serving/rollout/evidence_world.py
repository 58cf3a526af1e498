"""Evidence with gateways and a store that a test can take away. Not a test module."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from serving.errors import InputError
from serving.rollout.analysis import Window
from serving.rollout.evidence import KEEP_S, Evidence
from serving.rollout.state import Phase
from serving.tallies import Tally
from tests.serving.rollout.machines import rollout
from tests.serving.rollout.stub_gateway import MODEL, ROLLOUT, Answer, StubGateway, content, key, stub

CANARY = rollout(Phase.CANARY, id=ROLLOUT, model=MODEL, step=1, elapsed_s=20.0)


class Kept(dict[int, dict[str, str]]):
    """A store in memory that can be away."""

    away = False

    def tallies(self, rollout: int) -> dict[str, str]:
        self._check()
        return dict(self.get(rollout, {}))

    def keep_tallies(self, rollout: int, newest: Mapping[str, str]) -> bool:
        self._check()
        self.setdefault(rollout, {}).update(newest)
        return True

    def _check(self) -> None:
        if self.away:
            raise InputError("the database is away")


class World:
    """Evidence, a clock that goes on by a minute's half between looks, and what it is made of."""

    def __init__(self, stack: ExitStack) -> None:
        self.store: Any = Kept()
        self.now = 0.0
        self._stack = stack

    def gateway(self, instance: str = "a", stable: int = 0, canary: int = 0) -> StubGateway:
        return self._stack.enter_context(stub(said(instance, stable, canary)))

    def evidence(self, *urls: str, impressions: str | None = None, **more: Any) -> Evidence:
        made = Evidence(urls, impressions, self.store, **{"limit_s": 5.0, "clock": lambda: self.now, **more})
        self._stack.callback(made.close)
        return made

    def window(self, of: Evidence, **changes: Any) -> Window:
        self.now += KEEP_S
        return of.window(replace(CANARY, **changes), None)


def said(instance: str, stable: int, canary: int) -> Answer:
    return content(instance, {key(): Tally(keyed=stable), key("canary"): Tally(keyed=canary)})


def counts(window: Window) -> tuple[int, int]:
    return window.stable.requests, window.canary.requests
