"""What standing in front of the model server costs: our gateway, nginx and Envoy with our configuration, and nothing.

The clicks model in two versions, a quarter of 997 users on the canary, one row a request. The model server has one
core; the front shares the other with the load generator, as all fronts do alike, so that what the gateway keeps of the
direct rate is a lower bound. Added milliseconds are at one rate for all: half of the gateway's knee. 4 minutes a
repeat; up to 2 repeats are a quick look.
"""

import contextlib
import math
import pickle
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.benchmarks import dialects, report
from tests.benchmarks.dialects import TF_GRPC, TF_REST, Dialect, WrongAnswerError
from tests.benchmarks.fronts import CANARY_VERSION, FRONTS, MODEL, STABLE_VERSION, Front, Ports
from tests.benchmarks.knee import find_knee
from tests.benchmarks.load import Endpoint, Window, load
from tests.benchmarks.machine import Limits
from tests.benchmarks.places import PROJECT, free_ports
from tests.benchmarks.programs import QUIET
from tests.benchmarks.report import Target
from tests.benchmarks.server_process import Server, adopt_orphans, end_on_sigterm
from tests.benchmarks.serving_measure import CLOSED_LOOP, FIRST_TRY, IN_TIME_MS, OPEN_LOOP, WARM_S, Length
from tests.benchmarks.serving_models import Prepared, prepare

QUICK_REPEATS = 2
QUICK, FULL = Length(1.0, 1.0, 4, 2.0), Length(3.0, 3.0, 7, 6.0)
KEYS = 997
START_S = 90.0
GATEWAY = FRONTS[1].name


@dataclass
class Measured:
    """What came of one front over one protocol in one round.

    Attributes:
        saturation: answers a second in a closed loop.
        front_cpu_us: CPU microseconds of the front for an answer then; 0 for none.
        knee: highest rate with p99 <= IN_TIME_MS and no failure; 0: none held.
        at_half: at the common rate.
        failed: requests in all windows that were refused or never answered.
        complaint: about the first.
    """

    saturation: float = float("nan")
    front_cpu_us: float = float("nan")
    knee: float = float("nan")
    at_half: Window | None = None
    failed: int = 0
    complaint: str = ""


@dataclass
class Rounds:
    """Runs the fronts in turn and keeps what came of each."""

    folder: Path
    length: Length
    prepared: Prepared
    results: dict[str, list[Measured]] = field(default_factory=dict)

    def run(self) -> None:
        """One round: all fronts stand at the same time, and are asked one after the other."""
        home = Path(tempfile.mkdtemp(dir=self.folder))
        with contextlib.ExitStack() as running:
            server = running.enter_context(model_server(home, self.prepared.models[MODEL]))
            started = {
                front.name: running.enter_context(_started(front, home / str(number), server))
                for number, front in enumerate(FRONTS)
            }
            for dialect in (TF_REST, TF_GRPC):
                self._measure(dialect, started)

    def _measure(self, dialect: Dialect, started: "dict[str, tuple[Server | None, Ports]]") -> None:
        measured = {name: Measured() for name in started}
        for name, (front, ports) in started.items():
            self._wait(dialect, ports)
            self._saturate(self._endpoint(dialect, ports), front, measured[name])
        rate = measured[GATEWAY].knee / 2 or measured[GATEWAY].saturation / 4
        for name, (_, ports) in started.items():
            one = measured[name]
            one.at_half = self._load(self._endpoint(dialect, ports), rate, self.length.half_s, OPEN_LOOP, one)
            self.results.setdefault(f"{name}, {dialect.name}", []).append(one)
            print(f"  {name}, {dialect.name}: {_told(one)}", flush=True)

    def _saturate(self, endpoint: Endpoint, front: Server | None, into: Measured) -> None:
        before = front.cpu_s() if front else 0.0
        window = self._load(endpoint, 0, self.length.saturation_s, CLOSED_LOOP, into)
        into.saturation = window.answered_per_s
        spent = (front.cpu_s() - before) if front else 0.0
        answered = window.answered_per_s * (window.seconds + WARM_S)
        into.front_cpu_us = spent / answered * 1e6 if answered else math.nan

        def holds(rate: float) -> bool:
            tried = self._load(endpoint, rate, self.length.window_s, OPEN_LOOP, Measured())
            return not tried.failed and not tried.unanswered and tried.p99_ms <= IN_TIME_MS

        into.knee = find_knee(holds, into.saturation * FIRST_TRY, self.length.tries)

    def _load(self, endpoint: Endpoint, rate: float, seconds: float, at_a_time: int, into: Measured) -> Window:
        window = load(endpoint, rate, seconds, WARM_S, at_a_time).window
        into.failed += window.failed
        into.complaint = into.complaint or window.first_complaint
        return window

    def _endpoint(self, dialect: Dialect, ports: Ports) -> Endpoint:
        bodies = self.folder / f"bodies.{dialect.name}"
        if not bodies.exists():
            inputs = self.prepared.work[MODEL].inputs
            bodies.write_bytes(pickle.dumps([dialect.body(MODEL, one) for one in inputs]))
        return Endpoint(ports.of(dialect.grpc), dialect.grpc, dialect.path.format(model=MODEL), bodies, KEYS)

    def _wait(self, dialect: Dialect, ports: Ports) -> None:
        work = self.prepared.work[MODEL]
        deadline = time.monotonic() + START_S
        while True:
            try:
                body = dialect.body(MODEL, work.inputs[0])
                dialects.check(dialect, dialects.ask(dialect, ports.of(dialect.grpc), MODEL, body), work.answers[0])
                return
            except WrongAnswerError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def run(repeats: int, machine: Limits, results: Path) -> None:
    """Measures, prints the table and the targets, writes <results>/gateway.json and gateway.md."""
    adopt_orphans()
    end_on_sigterm()
    length = QUICK if repeats <= QUICK_REPEATS else FULL
    with tempfile.TemporaryDirectory(prefix="plb-") as folder:
        rounds = Rounds(Path(folder), length, prepare(Path(folder), length.saturation_s))
        for repeat in range(repeats):
            print(f"repeat {repeat + 1} of {repeats}", flush=True)
            rounds.run()
    targets = gateway_targets(rounds.results)
    text = "\n\n".join([machine.told(), _table(rounds.results), "\n".join(one.told() for one in targets)])
    print(text)
    ways = {name: [asdict(one) for one in of] for name, of in rounds.results.items()}
    report.write(results / "gateway.json", machine, {}, {"ways": ways}, targets)
    (results / "gateway.md").write_text(text + "\n")


def gateway_targets(results: dict[str, list[Measured]]) -> list[Target]:
    """Of the medians over the repeats."""
    targets = []
    for protocol in ("REST", "gRPC"):
        direct, ours = results[f"direct, {protocol}"], results[f"{GATEWAY}, {protocol}"]
        kept = _median([one.knee for one in ours]) / (_median([one.knee for one in direct]) or math.nan)
        targets += [
            Target(f"{protocol}: p50 added by the gateway", _added(direct, ours, "p50_ms"), 1, "ms"),
            Target(f"{protocol}: the direct knee that the gateway keeps", kept, 0.6, "of it", at_least=True),
            Target(f"{protocol}: requests failed", sum(one.failed for one in ours), 0, "requests"),
        ]
    return targets


@contextlib.contextmanager
def model_server(home: Path, version: Path) -> Iterator[Ports]:
    """The clicks model twice, labelled stable and canary, on the server's core."""
    ports = Ports(*free_ports(2))
    base = home / MODEL
    for number in (STABLE_VERSION, CANARY_VERSION):
        shutil.copytree(version, base / str(number))
    labels = {"stable": STABLE_VERSION, "canary": CANARY_VERSION}
    said = " ".join(f'version_labels {{ key: "{label}" value: {number} }}' for label, number in labels.items())
    config = home / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "{MODEL}" base_path: "{base}" model_platform: "tensorflow" '
        f"model_version_policy {{ all {{}} }} {said} }} }}"
    )
    flags = [f"--port={ports.grpc}", f"--rest_api_port={ports.rest}", f"--model_config_file={config}"]
    command = [sys.executable, "-m", "serving.model_server", *flags]
    command.append("--allow_version_labels_for_unavailable_models=true")
    with Server(command, QUIET, PROJECT, home / "log"):
        yield ports


@contextlib.contextmanager
def _started(front: Front, folder: Path, server: Ports) -> "Iterator[tuple[Server | None, Ports]]":
    if front.start is None:
        yield None, server
        return
    process, ports = front.start(folder, server)
    with process:
        yield process, ports


def _added(direct: list[Measured], ours: list[Measured], figure: str) -> float:
    """Milliseconds: the median over the rounds of the difference within each."""
    pairs = [(one.at_half, other.at_half) for one, other in zip(direct, ours, strict=True)]
    return _median([getattr(mine, figure) - getattr(theirs, figure) for theirs, mine in pairs if theirs and mine])


def _median(values: list[float]) -> float:
    return statistics.median(values) if values else math.nan


def _table(results: dict[str, list[Measured]]) -> str:
    titles = (
        "way",
        "saturation/s",
        "knee/s",
        "front CPU us",
        "rate/s",
        "p50 ms",
        "p99 ms",
        "added p50 ms",
        "added p99 ms",
    )
    rows = [f"| {' | '.join((*titles, 'failed'))} |", "|---" * 10 + "|"]
    for name, of in results.items():
        direct = results[f"direct, {name.rpartition(', ')[2]}"]
        halves = [one.at_half for one in of if one.at_half]
        columns = [
            report.figure([one.saturation for one in of], 0),
            report.figure([one.knee for one in of], 0),
            report.figure([one.front_cpu_us for one in of], 0),
            report.figure([one.rate for one in halves], 0),
            report.figure([one.p50_ms for one in halves], 2),
            report.figure([one.p99_ms for one in halves], 2),
            f"{_added(direct, of, 'p50_ms'):.2f}",
            f"{_added(direct, of, 'p99_ms'):.2f}",
            str(sum(one.failed for one in of)),
        ]
        rows.append(f"| {name} | {' | '.join(columns)} |")
    return "\n".join(rows)


def _told(one: Measured) -> str:
    half = one.at_half
    at = f"; at {half.rate:.0f}/s p50 {half.p50_ms:.2f} ms p99 {half.p99_ms:.2f} ms" if half else ""
    busy = f", the load generator's core was busy to {half.generator_busy:.0%}" if half else ""
    failed = f", {one.failed} FAILED ({one.complaint[:120]})" if one.failed else ""
    return f"{one.saturation:.0f}/s, front {one.front_cpu_us:.0f} us, knee {one.knee:.0f}/s{at}{busy}{failed}"
