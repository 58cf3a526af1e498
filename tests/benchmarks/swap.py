"""A new version of the clicks model under constant load, and back: does anybody notice?

The server runs alone on one core at half its knee; the new version's directory is renamed in after a third of the time
and renamed away after two thirds, as a rollback by hand does. Loading takes place on the same core. 60 s a way, 5
minutes a repeat; up to 2 repeats are a quick look of 15 s each.
"""

import http.client
import json
import math
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tests.benchmarks import load, report, swap_rollout
from tests.benchmarks.load import Loaded, percentile_ms
from tests.benchmarks.machine import Limits
from tests.benchmarks.programs import PRESSLINE, start
from tests.benchmarks.report import Target
from tests.benchmarks.server_process import adopt_orphans, end_on_sigterm
from tests.benchmarks.serving_measure import Length, Meter, Way, Work, ways
from tests.benchmarks.serving_models import prepare
from tests.benchmarks.swap_rollout import RolledBack

QUICK_REPEATS = 2
QUICK, FULL = Length(1.0, 1.0, 4, 1.0), Length(3.0, 3.0, 7, 3.0)
WARM_S = 1.0
WINDOW_S = 5.0  # after a swap, or a sixth of a short run
LONGEST_START_S = 60
POLL_S = 0.05
OPEN_LOOP = 128
GRACE_S = 10.0  # a request that has no answer by then has failed
WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"


@dataclass(frozen=True)
class Swapped:
    """One run.

    Attributes:
        rate: requests a second: half the knee, or a quarter of the saturation where there is no knee.
        failed: refused, answered wrong, or never answered.
        steady_p99_ms: outside the windows after the two swaps.
        swap_p99_ms, rollback_p99_ms: in them.
        swap_longest_ms, rollback_longest_ms: the slowest request in them.
        swap_s, rollback_s: from the rename until only the other version answers; NaN when that did not come.
        complaint: about the first request that failed.
    """

    rate: float
    failed: int
    steady_p99_ms: float
    swap_p99_ms: float
    rollback_p99_ms: float
    swap_longest_ms: float
    rollback_longest_ms: float
    swap_s: float
    rollback_s: float
    complaint: str

    @property
    def worst_ratio(self) -> float:
        """The larger of the windows' p99, over the steady p99."""
        return max(self.swap_p99_ms, self.rollback_p99_ms) / self.steady_p99_ms


class Swaps:
    """Runs the ways in turn and keeps what came of each."""

    def __init__(self, folder: Path, quick: bool) -> None:
        self.folder = folder
        self.seconds, self.length = (15.0, QUICK) if quick else (60.0, FULL)
        self.prepared = prepare(folder, self.length.saturation_s)
        self.results: dict[str, list[Swapped]] = {}
        self.rolled_back: list[RolledBack] = []

    def run_rollout(self) -> None:
        """One run through the gateway, as a rollout that is aborted."""
        one = swap_rollout.measure(self.folder, self.prepared, 0.0, self.seconds, min(WINDOW_S, self.seconds / 6))
        self.rolled_back.append(one)
        print(f"  as a rollout: {one}", flush=True)

    def run(self, way: Way, warmup: bool) -> None:
        """One run with a server of its own."""
        name = f"{way.name}{'' if warmup else ', no warm-up'}"
        home = Path(tempfile.mkdtemp(dir=self.folder))
        served, staged = home / "clicks" / "1", home / "staged"
        for copy in (served, staged):
            shutil.copytree(self.prepared.models["clicks"], copy)
            if not warmup:
                (copy / WARMUP).unlink(missing_ok=True)
        started = start(PRESSLINE, {"clicks": served}, home)
        with started.server as server:
            work: dict[str, Work] = {"clicks": self.prepared.work["clicks"]}
            meter = Meter(started, work, self.folder, self.length)
            server.wait(partial(meter.first_answer, way, "clicks"), LONGEST_START_S)
            found = meter.knee(way)
            # On a machine that others use no rate may hold; the swap can be looked at all the same.
            rate = (found.knee or found.saturation["clicks"] / 2) / 2
            swapped = self._swap(way, meter, rate, staged, served.parent / "2", started.ports["REST"])
        self.results.setdefault(name, []).append(swapped)
        print(f"  {name}: {_told(swapped)}", flush=True)

    def _swap(self, way: Way, meter: Meter, rate: float, staged: Path, version: Path, rest_port: int) -> Swapped:
        endpoint = meter.endpoint(way, "clicks")
        begin = time.perf_counter()
        with load.start(endpoint, rate, self.seconds, OPEN_LOOP, GRACE_S) as running:
            _sleep_until(begin + self.seconds / 3)
            staged.rename(version)
            swap_at = time.perf_counter()
            swap_s = _seconds_until(rest_port, {1: "END", 2: "AVAILABLE"}, swap_at, begin + self.seconds * 2 / 3)
            _sleep_until(begin + self.seconds * 2 / 3)
            version.rename(staged)
            back_at = time.perf_counter()
            back_s = _seconds_until(rest_port, {1: "AVAILABLE", 2: "END"}, back_at, begin + self.seconds)
            loaded = running.result(WARM_S)
        return summary(loaded, swap_at, back_at, swap_s, back_s, min(WINDOW_S, self.seconds / 6))


def summary(loaded: Loaded, swap_at: float, back_at: float, swap_s: float, back_s: float, window_s: float) -> Swapped:
    """What came of a run whose swaps were at these times by `time.perf_counter()`."""
    due = loaded.due_s + loaded.began_s
    in_swap = (due >= swap_at) & (due < swap_at + window_s)
    in_back = (due >= back_at) & (due < back_at + window_s)
    return Swapped(
        rate=loaded.window.rate,
        failed=int((~loaded.good).sum()),
        steady_p99_ms=percentile_ms(loaded.took_ms[~in_swap & ~in_back], 99),
        swap_p99_ms=percentile_ms(loaded.took_ms[in_swap], 99),
        rollback_p99_ms=percentile_ms(loaded.took_ms[in_back], 99),
        swap_longest_ms=float(np.max(loaded.took_ms[in_swap], initial=0)),
        rollback_longest_ms=float(np.max(loaded.took_ms[in_back], initial=0)),
        swap_s=swap_s,
        rollback_s=back_s,
        complaint=loaded.window.first_complaint,
    )


def run(repeats: int, machine: Limits, results: Path) -> None:
    """Measures, prints the table and the targets, writes <results>/swap.json and swap.md."""
    adopt_orphans()
    end_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="plb-") as folder:
        swaps = Swaps(Path(folder), repeats <= QUICK_REPEATS)
        for repeat in range(repeats):
            print(f"repeat {repeat + 1} of {repeats}", flush=True)
            for way in ways(PRESSLINE):
                for warmup in (True, False):
                    swaps.run(way, warmup)
            swaps.run_rollout()
    targets = [*swap_targets(swaps.results), *rollout_targets(swaps.rolled_back)]
    tables = [_table(swaps.results), _rollout_table(swaps.rolled_back)]
    text = "\n\n".join([machine.told(), *tables, "\n".join(one.told() for one in targets)])
    print(text)
    runs = {name: [asdict(one) for one in of] for name, of in swaps.results.items()}
    more = {"ways": runs, "rollouts": [asdict(one) for one in swaps.rolled_back]}
    report.write(results / "swap.json", machine, {}, more, targets)
    (results / "swap.md").write_text(text + "\n")


def swap_targets(results: dict[str, list[Swapped]]) -> list[Target]:
    """Of the medians over the repeats, with warm-up; failures are added up."""
    targets = []
    for name, of in results.items():
        if name.endswith("no warm-up"):
            continue
        targets += [
            Target(f"{name}: requests failed", sum(one.failed for one in of), 0, "requests"),
            Target(f"{name}: p99 after a swap over steady p99", _median([one.worst_ratio for one in of]), 1.5, "times"),
            Target(f"{name}: rename to the old version alone", _median([one.rollback_s for one in of]), 2),
        ]
    return targets


def rollout_targets(runs: list[RolledBack]) -> list[Target]:
    """Of the medians over the repeats; failures and users who changed sides are added up."""
    return [
        Target("rollout: requests failed", sum(one.failed for one in runs), 0, "requests"),
        Target("rollout: p99 after a change over steady p99", _median([one.worst_ratio for one in runs]), 1.5, "times"),
        Target("rollout: abort to the last canary answer", _median([one.rollback_s for one in runs]), 2),
        Target("rollout: users who changed sides", sum(one.changed for one in runs), 0, "users"),
    ]


def _rollout_table(runs: list[RolledBack]) -> str:
    columns = (
        ("rate/s", "rate", 0),
        ("failed", "failed", 0),
        ("steady p99 ms", "steady_p99_ms", 1),
        ("canary p99 ms", "canary_p99_ms", 1),
        ("rollback p99 ms", "rollback_p99_ms", 1),
        ("worst ratio", "worst_ratio", 2),
        ("canary s", "canary_s", 1),
        ("rollback s", "rollback_s", 2),
        ("unloaded s", "unloaded_s", 1),
        ("changed sides", "changed", 0),
    )
    cells = [report.figure([float(getattr(one, name)) for one in runs], digits) for _, name, digits in columns]
    titles = " | ".join(title for title, _, _ in columns)
    return f"| as a rollout | {titles} |\n{'|---' * (len(columns) + 1)}|\n| REST | {' | '.join(cells)} |"


def _table(results: dict[str, list[Swapped]]) -> str:
    columns = (
        ("rate/s", "rate", 0),
        ("failed", "failed", 0),
        ("steady p99 ms", "steady_p99_ms", 1),
        ("swap p99 ms", "swap_p99_ms", 1),
        ("longest ms", "swap_longest_ms", 0),
        ("rollback p99 ms", "rollback_p99_ms", 1),
        ("longest ms", "rollback_longest_ms", 0),
        ("worst ratio", "worst_ratio", 2),
        ("swap s", "swap_s", 1),
        ("rollback s", "rollback_s", 1),
    )
    rows = [f"| way | {' | '.join(title for title, _, _ in columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, of in results.items():
        cells = [
            report.figure([float(getattr(one, attribute)) for one in of], digits) for _, attribute, digits in columns
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _median(values: Sequence[float]) -> float:
    """NaN when one of them is."""
    return math.nan if any(map(math.isnan, values)) else statistics.median(values)


def _told(one: Swapped) -> str:
    return (
        f"{one.rate:.0f}/s, {one.failed} failed{f' ({one.complaint[:120]})' if one.failed else ''}, p99 steady "
        f"{one.steady_p99_ms:.1f} ms, swap {one.swap_p99_ms:.1f} ms, rollback {one.rollback_p99_ms:.1f} ms; "
        f"took {one.swap_s:.1f} s and {one.rollback_s:.1f} s"
    )


def _sleep_until(when: float) -> None:
    time.sleep(max(0.0, when - time.perf_counter()))


def _seconds_until(rest_port: int, wanted: dict[int, str], since: float, limit: float) -> float:
    """Seconds from `since` until the versions are in these states; NaN when they are not at `limit`."""
    while time.perf_counter() < limit:
        if _states(rest_port) == wanted:
            return time.perf_counter() - since
        time.sleep(POLL_S)
    return math.nan


def _states(rest_port: int) -> dict[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", rest_port, timeout=10)
    try:
        connection.request("GET", "/v1/models/clicks")
        said = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return {int(one["version"]): one["state"] for one in said["model_version_status"]}
