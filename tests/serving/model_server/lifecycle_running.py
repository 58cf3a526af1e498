"""A running lifecycle, for its tests."""

import contextlib
from collections.abc import Iterator
from typing import Any

from serving.model_server.lifecycle import Lifecycle
from serving.model_server.lifecycle_settings import Settings
from serving.model_server.transition import State
from tests.serving.model_server.lifecycle_fakes import FAST, Loads, until


@contextlib.contextmanager
def running(load: Loads, **settings: Any) -> Iterator[Lifecycle]:
    lifecycle = Lifecycle(load, Settings(**{**FAST, **settings}))
    lifecycle.start()
    lifecycle.end_initial_loads()
    try:
        yield lifecycle
    finally:
        for gate in load.gates.values():
            gate.set()
        lifecycle.stop(10)


def want(lifecycle: Lifecycle, name: str, *numbers: int) -> None:
    lifecycle.aspire(name, {number: f"/{name}/{number}" for number in numbers})


def states(lifecycle: Lifecycle, name: str) -> dict[int, State]:
    return {status.version: status.state for status in lifecycle.statuses(name)}


def reach(lifecycle: Lifecycle, name: str, number: int, state: State) -> None:
    until(lambda: states(lifecycle, name).get(number) is state)
