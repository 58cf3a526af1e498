"""10,000 simulated rollouts looked at continually: how often a harmless canary is blamed, how soon a harmful one.

The unit is the horizon: as many users as a two-sided z-test needs that is looked at once, at its end (alpha 5 %, power
80 % at -10 %). It lasts 14 days, with 18 looks a day. A repeat has 2,000 rollouts of users of its own and takes three
minutes; up to 2 repeats are a quick look at 500 rollouts each.
"""

import functools
import json
import math
import statistics
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.rollout import sequential
from serving.rollout.analysis import alpha_of
from serving.rollout.sequential import Sums
from serving.rollout.settings import OutcomeMetric, Settings
from tests.benchmarks import environments, report
from tests.benchmarks.abtest_guardrails import harmless, troubles
from tests.benchmarks.abtest_paths import Array, Users, first, returning, rollouts, z
from tests.benchmarks.machine import Limits
from tests.benchmarks.places import PROJECT
from tests.benchmarks.report import Target

QUICK_REPEATS = 2
FULL, QUICK = 2_000, 500  # a repeat: five of them make 10,000
DAYS, LOOKS_A_DAY = 14, 18
POWER = 0.8
LOOKS = DAYS * LOOKS_A_DAY
LONG = 4  # horizons, for what is not decided in one
LIFTS = (0.0, -0.1, -0.05, 0.05)
SETTINGS = Settings(outcome=OutcomeMetric())
METRIC = OutcomeMetric()
CRITICAL = statistics.NormalDist().inv_cdf(1 - METRIC.alpha / 2)
POPULATIONS = {
    "10 % click, users differ": Users(),
    "10 % click, one impression each": Users(more=0.0, alike=math.inf),
    "1 % click, users differ": Users(rate=0.01),
    "10 % click, users differ, 5 % see the canary": Users(share=0.05),
}
OURS, NO_HARM = "always valid: harm", f"always valid: less than {100 * METRIC.margin:g} % worse"
DAILY, FIXED = "z-test, looked at daily", "z-test at the horizon"
FIXED_ONE_SIDED, ONE_SIDED_DAYS = "one-sided z-test at its horizon, 11 days", 11
Bounds = Mapping[str, Sequence[float]]  # way of spotify-confidence -> |z| wanted on each day


@dataclass(frozen=True)
class Decided:
    """How rollouts of one kind ended.

    Attributes:
        share: decided within the horizon.
        capped: mean samples to the decision or the horizon, in horizons.
        median: samples to the decision, in horizons; infinite where fewer than half are decided.
        long_share: decided within LONG horizons; NaN where that was not looked at.
        long_mean: mean samples to the decision, or LONG horizons; NaN likewise.
    """

    share: float
    capped: float
    median: float
    long_share: float = math.nan
    long_mean: float = math.nan


Results = dict[str, dict[str, list[Decided]]]  # kind of rollouts -> way -> repeats


def run(repeats: int, machine: Limits, results: Path) -> None:
    """Simulates, prints the tables and the targets, writes <results>/abtest.json and abtest.md."""
    count = QUICK if repeats <= QUICK_REPEATS else FULL
    bounds = spotify_bounds()
    found: Results = {}
    guards = []
    for repeat in range(repeats):
        print(f"repeat {repeat + 1} of {repeats}", flush=True)
        rng = np.random.default_rng(repeat)
        for kind, ways in simulated(count, bounds, rng).items():
            for way, decided in ways.items():
                found.setdefault(kind, {}).setdefault(way, []).append(decided)
        guards.append(harmless(count // 10, SETTINGS, rng))
    needed = troubles(SETTINGS, np.random.default_rng(0))
    targets = abtest_targets(found, guards)
    parts = [machine.told(), _table(found), guardrails_table(needed), "\n".join(one.told() for one in targets)]
    text = "\n\n".join(parts)
    print(text)
    runs = {kind: {way: [asdict(one) for one in of] for way, of in ways.items()} for kind, ways in found.items()}
    more = {"rollouts": count, "runs": runs, "guardrails": {"false_alarms": guards, "requests_to_find": needed}}
    report.write(results / "abtest.json", machine, {}, more, targets)
    (results / "abtest.md").write_text(text + "\n")


def simulated(count: int, bounds: Bounds, rng: np.random.Generator) -> dict[str, dict[str, Decided]]:
    """Every kind of rollouts once."""
    found: dict[str, dict[str, Decided]] = {}
    for name, users in POPULATIONS.items():
        a_look = _a_look(users)
        for lift in LIFTS:
            kind = f"{name}: {_shown(lift)}"
            thorough = users == Users()
            horizons = LONG if thorough else 1
            ways = ways_of(bounds)
            if not thorough:
                ways = {way: decides for way, decides in ways.items() if way in (OURS, NO_HARM)}
            paths = rollouts(users, lift, a_look, LOOKS * horizons, count, rng)
            looks: dict[str, list[Array]] = {way: [] for way in ways}
            for stable, canary in paths:
                for way, decides in ways.items():
                    looks[way].append(first(decides(stable, canary)))
            found[kind] = {
                way: _decided(np.concatenate(of), horizons if way in (OURS, NO_HARM) else 1)
                for way, of in looks.items()
            }
            print(f"  {kind}: {OURS} {_told(found[kind][OURS])}", flush=True)
    again = _first_harm(returning(Users(), 0.0, 1000, 100, 0.3, count // 5, rng), METRIC.alpha)
    found["1,000 users who come again and again: no effect"] = {OURS: _decided(again / 100 * LOOKS, 1)}
    for lift in LIFTS[:2]:
        found[f"three steps, 5, 25 and 50 %: {_shown(lift)}"] = {OURS: _steps(lift, count, rng)}
    return found


def ways_of(bounds: Bounds) -> dict[str, Callable[[Sums, Sums], NDArray[np.bool_]]]:
    """Way -> whether it has decided, at every look (rollouts, looks)."""

    def shows_harm(stable: Sums, canary: Sums) -> NDArray[np.bool_]:
        return sequential.harm(stable, canary, METRIC.worse_by) >= -math.log(METRIC.alpha)

    def shows_no_harm(stable: Sums, canary: Sums) -> NDArray[np.bool_]:
        return sequential.not_worse(stable, canary, METRIC.margin) >= -math.log(METRIC.alpha)

    def on_days(wanted: Sequence[float], sides: int, stable: Sums, canary: Sums) -> NDArray[np.bool_]:
        days = np.arange(1, len(wanted) + 1) * LOOKS_A_DAY - 1
        score = z(*(Sums(*(part[:, days] for part in vars(one).values())) for one in (stable, canary)))
        found = np.zeros(stable.values.shape, bool)
        found[:, days] = (np.abs(score) if sides == 2 else -score) >= np.array(wanted)
        return found

    never = [math.inf] * (DAYS - 1)
    one_sided = statistics.NormalDist().inv_cdf(1 - METRIC.alpha)
    return {
        OURS: shows_harm,
        NO_HARM: shows_no_harm,
        DAILY: functools.partial(on_days, [CRITICAL] * DAYS, 2),
        FIXED: functools.partial(on_days, [*never, CRITICAL], 2),
        FIXED_ONE_SIDED: functools.partial(on_days, [*never[: ONE_SIDED_DAYS - 1], one_sided], 1),
        **{way: functools.partial(on_days, of, 1 if "one-sided" in way else 2) for way, of in bounds.items()},
    }


def spotify_bounds() -> dict[str, list[float]]:
    """What spotify-confidence wants on each day, in its own environment; nothing where that cannot be made."""
    found = {}
    try:
        python = environments.ensure("spotify")
    except environments.NotInstalledError as error:
        print(f"spotify-confidence is left out: {error}", flush=True)
        return {}
    for name, sides in (("two-sided", 2), ("one-sided", 1)):
        command = [str(python), "-m", "tests.benchmarks.peers.spotify", str(METRIC.alpha), str(DAYS), str(sides)]
        said = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
        found[f"spotify-confidence, {name}, daily"] = list(map(float, json.loads(said)))
    return found


def abtest_targets(found: Results, guards: Sequence[float]) -> list[Target]:
    """Of the means over the repeats, for the worst kind of users."""
    alarms = [_mean(ways[OURS], "share") for kind, ways in found.items() if kind.endswith(_shown(0.0))]
    long = [_mean(ways[OURS], "long_share") for kind, ways in found.items() if kind.endswith(_shown(0.0))]
    soon = {kind: _mean(ways[OURS], "capped") for kind, ways in found.items() if kind.endswith(_shown(-0.1))}
    worst = max(value for kind, value in soon.items() if not kind.startswith("three"))
    return [
        Target("false alarms, of harm", 100 * float(np.nanmax([*alarms, *long])), 100 * METRIC.alpha, "%"),
        Target("samples to decide at -10 %, the horizon at most", worst, 0.7, "horizons"),
        Target("false alarms of all guardrails", 100 * statistics.mean(guards), 1, "%"),
    ]


def guardrails_table(needed: Mapping[str, float]) -> str:
    """Trouble -> requests to the canary until it is found, as Markdown."""
    rows = ["| trouble at a share of 10 % | requests to the canary until it fails, median |", "|---|---|"]
    return "\n".join([*rows, *(f"| {name} | {count:,.0f} |" for name, count in needed.items())])


def _steps(lift: float, count: int, rng: np.random.Generator) -> Decided:
    """The default steps, each of one horizon and with its part of alpha; decided at the first harm in any of them."""
    a_look = _a_look(Users())
    looks = np.full(count, np.inf)
    for number, step in enumerate(SETTINGS.steps):
        paths = rollouts(Users(share=step.share), lift, a_look, LOOKS, count, rng)
        looks = np.minimum(looks, number * LOOKS + _first_harm(paths, alpha_of(SETTINGS, step)))
    return _decided(looks, len(SETTINGS.steps), len(SETTINGS.steps))


def _a_look(users: Users) -> int:
    return max(1, users.horizon(-METRIC.worse_by, METRIC.alpha, POWER) // LOOKS)


def _first_harm(paths: Iterable[tuple[Sums, Sums]], alpha: float) -> Array:
    wanted = -math.log(alpha)
    return np.concatenate([first(sequential.harm(*one, METRIC.worse_by) >= wanted) for one in paths])


def _decided(looks: Array, horizons: int, cap: int = 1) -> Decided:
    """Of (rollouts,) looks at which each was decided, infinite where none within so many horizons."""
    at = looks / LOOKS
    long = {"long_share": float(np.mean(at <= horizons)), "long_mean": float(np.minimum(at, horizons).mean())}
    return Decided(
        share=float(np.mean(at <= cap)),
        capped=float(np.minimum(at, cap).mean()),
        median=float(np.median(at)),
        **(long if horizons > cap else {}),
    )


def _table(found: Results) -> str:
    columns = (
        ("decided, %", "share", 100, 1),
        ("mean", "capped", 1, 3),
        ("median", "median", 1, 3),
        (f"decided in {LONG}, %", "long_share", 100, 1),
        (f"mean in {LONG}", "long_mean", 1, 2),
    )
    rows = [f"| rollouts | way | {' | '.join(title for title, *_ in columns)} |", "|---" * (len(columns) + 2) + "|"]
    for kind, ways in found.items():
        for way, of in ways.items():
            cells = [
                report.figure([times * float(getattr(one, attribute)) for one in of], digits).replace("inf", "never")
                for _, attribute, times, digits in columns
            ]
            rows.append(f"| {kind} | {way} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _mean(of: Sequence[Decided], attribute: str) -> float:
    return statistics.mean(float(getattr(one, attribute)) for one in of)


def _shown(lift: float) -> str:
    return f"{100 * lift:+g} %" if lift else "no effect"


def _told(one: Decided) -> str:
    return f"{100 * one.share:.1f} % decided, {one.capped:.3f} horizons on average"
