"""Measures one server: what it answers at most, its knee, and how long it takes at half of that."""

import pickle
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks import dialects
from tests.benchmarks.dialects import Answer, Dialect, WrongAnswerError
from tests.benchmarks.knee import find_knee
from tests.benchmarks.load import Endpoint, Window, load
from tests.benchmarks.peers.saved_model import BATCHED
from tests.benchmarks.places import SERVER_CORE, core_busy_s
from tests.benchmarks.programs import Program, Started
from tests.benchmarks.wire import Array

IN_TIME_MS = 20.0
FIRST_TRY = 0.75  # of what a closed loop reached
CLOSED_LOOP = 64  # requests at a time
CLOSED_LOOP_LARGE = 4  # of the tensor's, 3 MB each
OPEN_LOOP = 128
WARM_S = 0.3
DISTURBED = 0.1  # share of the server's core; a rate that did not hold meanwhile is tried again
DISTURBED_TRIES = 2


@dataclass(frozen=True)
class Work:
    """What is asked.

    Attributes:
        model: its name.
        inputs: of each of the different requests.
        answers: the bare model's, flat, one for each.
    """

    model: str
    inputs: Sequence[dict[str, Array]]
    answers: Sequence[Answer]


@dataclass(frozen=True)
class Way:
    """One way to have an answer: a program, a protocol, batching or not."""

    name: str
    program: Program
    dialect: Dialect
    batched: bool

    @property
    def suffix(self) -> str:
        """Of the model's name: a peer serves the model twice where it has batching."""
        return BATCHED if self.batched and self.program.peer else ""


@dataclass(frozen=True)
class Length:
    """How long is measured, seconds.

    Attributes:
        saturation_s: a closed loop.
        window_s: one try of a rate.
        tries: of rates at most.
        half_s: at half the knee.
    """

    saturation_s: float
    window_s: float
    tries: int
    half_s: float


@dataclass
class Measured:
    """What came of a way in one round.

    Attributes:
        start_s: from its process's start to its first answer.
        saturation: work -> good answers a second in a closed loop.
        cpu_us: work -> CPU microseconds of all its processes for an answer then; what others do on the machine hardly
            changes it, unlike the rates.
        knee: highest rate, requests of work `clicks` a second, with p99 <= IN_TIME_MS and no failure; NaN unmeasured.
        half: at half of that.
        failed: requests in all windows that were refused or answered wrong.
        complaint: the first of them.
        generator_busy: the load generator's share of its core at most.
        others: share of the server's core that others, or the machine's host, took during all windows.
    """

    start_s: float = float("nan")
    saturation: dict[str, float] = field(default_factory=dict)
    cpu_us: dict[str, float] = field(default_factory=dict)
    knee: float = float("nan")
    half: Window | None = None
    failed: int = 0
    complaint: str = ""
    generator_busy: float = 0.0
    others: float = 0.0
    measured_s: float = 0.0


def ways(program: Program) -> list[Way]:
    """What is measured of a program."""
    base = program.name.partition(",")[0]
    if not program.peer:
        suffix = ", batching" if program.batching else ""
        return [Way(f"{base} {one.name}{suffix}", program, one, program.batching) for one in program.dialects]
    found = [Way(f"{base} {one.name}", program, one, batched=False) for one in program.dialects]
    if program.batching:
        found.append(Way(f"{base} REST, batching", program, program.dialects[0], batched=True))
    return found


class Meter:
    """Measures the ways of a program that runs."""

    def __init__(self, started: Started, work: dict[str, Work], folder: Path, length: Length) -> None:
        self._started, self._work, self._folder, self._length = started, work, folder, length

    def first_answer(self, way: Way, work: str) -> bool:
        """The server gives the right answer by now."""
        try:
            self._check(way, work, most=1)
        except WrongAnswerError:
            return False
        return True

    def knee(self, way: Way) -> Measured:
        """Only the saturation and the knee of `clicks`."""
        into = Measured()
        self.measure(way, ("clicks",), into)
        return into

    def endpoint(self, way: Way, work: str) -> Endpoint:
        """Where and with what a way is asked for a work; writes the requests the first time."""
        model = self._work[work].model + way.suffix
        path = self._folder / f"{work}{way.suffix}.{way.dialect.body.__name__}.pickle"
        if not path.exists():
            path.write_bytes(pickle.dumps(self._bodies(way, work)))
        return Endpoint(self._port(way), way.dialect.grpc, way.dialect.path.format(model=model), path)

    def measure(self, way: Way, works: Sequence[str], into: Measured) -> None:
        """Fills `into`; the knee where `clicks` is among the works.

        Raises:
            WrongAnswerError: an answer is not the model's, before or after the load.
        """
        for name in works:
            endpoint = self.endpoint(way, name)
            self._check(way, name)
            at_a_time = CLOSED_LOOP_LARGE if name == "tensor" else CLOSED_LOOP
            window, cpu_us, _ = self._load(way, name, endpoint, 0, self._length.saturation_s, at_a_time, into)
            into.saturation[name], into.cpu_us[name] = window.answered_per_s, cpu_us
            if name == "clicks" and window.answered_per_s:
                self._find_knee(way, endpoint, into)
            self._check(way, name)

    def _find_knee(self, way: Way, endpoint: Endpoint, into: Measured) -> None:
        def holds(rate: float) -> bool:
            for _ in range(DISTURBED_TRIES):
                window, _, others = self._load(way, "clicks", endpoint, rate, self._length.window_s, OPEN_LOOP, into)
                held = window.failed == 0 and window.p99_ms <= IN_TIME_MS
                if held or others < DISTURBED:
                    break
            return held

        into.knee = find_knee(holds, into.saturation["clicks"] * FIRST_TRY, self._length.tries)
        if into.knee:
            into.half, _, _ = self._load(way, "clicks", endpoint, into.knee / 2, self._length.half_s, OPEN_LOOP, into)

    def _load(
        self, way: Way, work: str, endpoint: Endpoint, rate: float, seconds: float, at_a_time: int, into: Measured
    ) -> tuple[Window, float, float]:
        """The window, CPU microseconds an answer, and the share of the core that others took meanwhile."""
        began, core, own = time.perf_counter(), core_busy_s(SERVER_CORE), self._started.server.cpu_s()
        loaded = load(endpoint, rate, seconds, WARM_S, at_a_time)
        own = self._started.server.cpu_s() - own
        took, core = time.perf_counter() - began, core_busy_s(SERVER_CORE) - core
        others = max(0.0, core - own) / took
        into.others = (into.others * into.measured_s + others * took) / (into.measured_s + took)
        into.measured_s += took
        if loaded.sample_answer:
            dialects.check(way.dialect, loaded.sample_answer, self._work[work].answers[loaded.sample_body])
        into.failed += loaded.window.failed
        into.complaint = into.complaint or loaded.window.first_complaint
        into.generator_busy = max(into.generator_busy, loaded.window.generator_busy)
        return loaded.window, own / loaded.answered * 1e6 if loaded.answered else float("nan"), others

    def _bodies(self, way: Way, work: str) -> list[bytes]:
        one = self._work[work]
        return [way.dialect.body(one.model + way.suffix, inputs) for inputs in one.inputs]

    def _check(self, way: Way, work: str, most: int = 8) -> None:
        """Compares some answers to an ordinary client with the bare model's."""
        one = self._work[work]
        for inputs, expected in list(zip(one.inputs, one.answers, strict=True))[:most]:
            model = one.model + way.suffix
            answer = dialects.ask(way.dialect, self._port(way), model, way.dialect.body(model, inputs))
            dialects.check(way.dialect, answer, expected)

    def _port(self, way: Way) -> int:
        return self._started.ports[way.dialect.name]


def read_work(content: dict[str, dict[str, Any]]) -> dict[str, Work]:
    """What bare_model wrote."""
    return {
        name: Work(one["model"], one["inputs"], [np.asarray(answer, np.float32) for answer in one["answers"]])
        for name, one in content.items()
    }
