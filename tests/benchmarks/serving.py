"""Pressline's model server against other Python servers, each alone on one core with the same models and requests.

The load comes from the other core, over connections that stay open. Three models: clicks (the pushed one, with real
records; one row and 32 rows a request), half-plus-two (the server's own work), and the mean of a picture (carrying
150,528 floats). Each round starts each server anew; 8 minutes a round on 2 cores once the peers are installed.
Up to 2 repeats are a quick look: short windows, all models for our own server only, and of the peers' batching only
MLServer's. `others` is the share of the server's core that other processes or the machine's host took meanwhile: beyond
0.1 only the CPU microseconds are worth something.
"""

import math
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from tests.benchmarks import environments, report
from tests.benchmarks.bare_model import WORK
from tests.benchmarks.dialects import WrongAnswerError
from tests.benchmarks.environments import NotInstalledError
from tests.benchmarks.machine import Limits
from tests.benchmarks.programs import PEERS, PRESSLINE, PRESSLINE_BATCHING, Program, served_models, start
from tests.benchmarks.report import Target
from tests.benchmarks.server_process import ServerFailedError, adopt_orphans, end_on_sigterm
from tests.benchmarks.serving_measure import DISTURBED, IN_TIME_MS, Length, Measured, Meter, Way, ways
from tests.benchmarks.serving_models import prepare

QUICK_REPEATS = 2
QUICK, FULL = Length(0.8, 0.8, 3, 1.0), Length(3.0, 3.0, 7, 5.0)
LONGEST_START_S = 150
OURS_FIRST = (PRESSLINE, PRESSLINE_BATCHING, *PEERS)
Results = dict[str, list[Measured]]


class Rounds:
    """Runs the programs in turn and keeps what came of each way, and why one has nothing."""

    def __init__(self, folder: Path, quick: bool) -> None:
        self.folder, self.quick = folder, quick
        self.length = QUICK if quick else FULL
        self.prepared = prepare(folder, self.length.saturation_s)
        self.results: Results = {}
        self.missing: dict[str, str] = {}

    def run(self, program: Program) -> None:
        """One round of one program; a peer that fails is left out from then on."""
        try:
            self._run(program)
        except NotInstalledError as error:
            self._leave_out(program, f"does not install: {error}")
        except (ServerFailedError, WrongAnswerError) as error:
            if not program.peer:
                raise
            self._leave_out(program, f"does not serve: {error}")

    def ways(self, program: Program) -> list[Way]:
        """What is measured of a program."""
        every = ways(program)
        quick = [way for way in every if not way.program.peer or not way.batched or way.program.peer == "mlserver"]
        return quick if self.quick else every

    def works(self, way: Way) -> tuple[str, ...]:
        """What a way is asked."""
        if way.batched:
            return ("clicks",)
        return ("half", "clicks") if self.quick and way.program.peer else WORK

    def _run(self, program: Program) -> None:
        if program.name in self.missing:
            return
        asked = {self.prepared.work[work].model for way in self.ways(program) for work in self.works(way)}
        models = {name: directory for name, directory in self.prepared.models.items() if name in asked}
        home = self.folder / program.name.replace(" ", "").replace(",", "-").lower()
        batched = any(way.suffix for way in self.ways(program))
        started = start(program, served_models(models, batched), home)
        with started.server as server:
            meter = Meter(started, self.prepared.work, self.folder, self.length)
            for number, way in enumerate(self.ways(program)):
                measured = Measured()
                for work in self.works(way):
                    seconds = server.wait(partial(meter.first_answer, way, work), LONGEST_START_S)
                    if number == 0 and math.isnan(measured.start_s):
                        measured.start_s = seconds
                meter.measure(way, self.works(way), measured)
                self.results.setdefault(way.name, []).append(measured)
                print(f"  {_told(way.name, measured)}", flush=True)

    def _leave_out(self, program: Program, why: str) -> None:
        self.missing[program.name] = why
        print(f"  {program.name} {why}", flush=True)


def run(repeats: int, machine: Limits, results: Path) -> None:
    """Measures, prints the table and the targets, writes <results>/serving.json and serving.md."""
    adopt_orphans()
    end_on_sigterm()
    # A short name: Ray puts sockets below it, whose paths may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="plb-") as folder:
        rounds = Rounds(Path(folder), repeats <= QUICK_REPEATS)
        print(rounds.prepared.limits_told(), flush=True)
        for repeat in range(repeats):
            print(f"repeat {repeat + 1} of {repeats}", flush=True)
            for program in OURS_FIRST:
                rounds.run(program)
    targets = serving_targets(rounds.results)
    missing = [f"- {name} {why.splitlines()[0]}" for name, why in rounds.missing.items()]
    limits = rounds.prepared.limits
    told = [machine.told(), rounds.prepared.limits_told(), _table(rounds.results, limits), *missing]
    text = "\n\n".join([*told, "\n".join(one.told() for one in targets)])
    print(text)
    more = {
        "bare_calls_per_s": limits,
        "ways": {name: [asdict(one) for one in of] for name, of in rounds.results.items()},
        "missing": rounds.missing,
        "versions": {one.name: environments.versions(one.peer) for one in PEERS if one.name not in rounds.missing},
    }
    report.write(results / "serving.json", machine, {}, more, targets)
    (results / "serving.md").write_text(text + "\n")


def serving_targets(results: Results) -> list[Target]:
    """Of the medians over the rounds; NaN, which meets nothing, where one of the two was not measured."""

    def of(name: str, what: Callable[[Measured], float]) -> float:
        return statistics.median(map(what, results[name])) if name in results else math.nan

    def saturation(name: str, work: str) -> float:
        return of(name, lambda one: one.saturation.get(work, math.nan))

    def knee(name: str) -> float:
        return of(name, lambda one: one.knee)

    def p99(name: str) -> float:
        return of(name, lambda one: one.half.p99_ms if one.half else math.nan)

    def best_peer(batching: bool) -> float:
        peers = [name for name in results if not name.startswith(PRESSLINE.name)]
        knees = [knee(name) for name in peers if name.endswith("batching") == batching]
        return max((one for one in knees if not math.isnan(one)), default=math.nan)

    rest, grpc, batching = "Pressline REST", "Pressline gRPC", "Pressline REST, batching"

    def times(what: str, ours: float, theirs: float, bound: float) -> Target:
        return Target(what, ours / theirs if theirs else math.nan, bound, "times", at_least=True)

    return [
        times("clicks at the knee, REST, MLServer's", knee(rest), knee("MLServer REST"), 2),
        times("clicks at the knee, REST, the best peer's", knee(rest), best_peer(batching=False), 1.3),
        times("the same with batching", knee(batching), best_peer(batching=True), 1.3),
        times("clicks at the knee, gRPC over REST", knee(grpc), knee(rest), 2),
        times("a picture, gRPC over REST", saturation(grpc, "tensor"), saturation(rest, "tensor"), 2),
        times(
            "clicks at saturation, batching over none", saturation(batching, "clicks"), saturation(rest, "clicks"), 3
        ),
        Target("clicks, p99 at half the knee, REST", p99(rest), IN_TIME_MS, "ms"),
        Target("clicks, p99 at half the knee, gRPC", p99(grpc), IN_TIME_MS, "ms"),
        Target("start to first answer", of(rest, lambda one: one.start_s), 12),
        Target(
            "requests failed",
            sum(one.failed for name in (rest, grpc, batching) for one in results.get(name, [])),
            0,
            "requests",
        ),
    ]


def _table(results: Results, limits: dict[str, float]) -> str:
    head = (
        "| way | start s | half/s | clicks/s | x 32/s | picture/s | clicks CPU us | knee/s | of bare | p50 ms | p99 ms "
        "| failed | others |"
    )
    rows = [head, "|---" * 13 + "|"]
    for name, of in results.items():
        columns = [report.figure([one.start_s for one in of], 1)]
        columns += [report.figure([one.saturation.get(work, math.nan) for one in of], 0) for work in WORK]
        columns.append(report.figure([one.cpu_us.get("clicks", math.nan) for one in of], 0))
        columns.append(report.figure([one.knee for one in of], 0))
        columns.append(report.figure([one.knee / limits["clicks"] for one in of], 2))
        halves = [one.half for one in of if one.half]
        columns += [report.figure([one.p50_ms for one in halves], 1), report.figure([one.p99_ms for one in halves], 1)]
        columns.append(str(sum(one.failed for one in of)))
        columns.append(report.figure([one.others for one in of], 2))
        rows.append(f"| {name} | {' | '.join(columns)} |")
    return "\n".join(rows)


def _told(name: str, one: Measured) -> str:
    reached = ", ".join(f"{work} {per_s:.0f}/s" for work, per_s in one.saturation.items())
    half = f", at half of it p50 {one.half.p50_ms:.1f} ms p99 {one.half.p99_ms:.1f} ms" if one.half else ""
    start = "" if math.isnan(one.start_s) else f", start {one.start_s:.1f} s"
    failed = f", {one.failed} FAILED ({one.complaint[:120]})" if one.failed else ""
    busy = f", the load generator's core was busy to {one.generator_busy:.0%}" if one.generator_busy > 0.8 else ""
    others = f", others took {one.others:.0%} of its core" if one.others > DISTURBED else ""
    knee = "" if math.isnan(one.knee) else f"; knee {one.knee:.0f}/s"
    return f"{name}: {reached}{knee}{half}{start}{failed}{busy}{others}"
