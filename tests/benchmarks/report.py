"""Medians, spreads and targets, as a Markdown table and a JSON file."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.child import Cost


@dataclass(frozen=True)
class Target:
    """A number that was promised: met when `measured` is at most `bound`, or at least where that was promised."""

    what: str
    measured: float
    bound: float
    unit: str = "s"
    at_least: bool = False

    @property
    def met(self) -> bool:
        """A NaN meets nothing."""
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound

    def told(self) -> str:
        """One line of Markdown."""
        outcome = "met" if self.met else "**falls short**"
        side = "least" if self.at_least else "most"
        return f"- {self.what}: {self.measured:.2f} {self.unit}, target at {side} {self.bound:g} {self.unit}: {outcome}"


def spread(values: Sequence[float]) -> str:
    """`median (least to most)`."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def figure(values: Sequence[float], digits: int) -> str:
    """`median (least to most)` of those that are not NaN; `-` of none."""
    known = [one for one in values if not math.isnan(one)]
    if not known:
        return "-"
    middle = f"{statistics.median(known):.{digits}f}"
    return middle if len(known) == 1 else f"{middle} ({min(known):.{digits}f} to {max(known):.{digits}f})"


def table(costs: Mapping[str, Sequence[Cost]], notes: Mapping[str, str]) -> str:
    """One Markdown row a program: median and range of its repeats."""
    rows = ["| way | repeats | wall s | CPU s | peak MiB | note |", "|---|---|---|---|---|---|"]
    for name, repeats in costs.items():
        columns = [spread([getattr(one, field) for one in repeats]) for field in ("wall_s", "cpu_s", "peak_mib")]
        rows.append(f"| {name} | {len(repeats)} | {' | '.join(columns)} | {notes.get(name, '')} |")
    return "\n".join(rows)


def write(
    path: Path, machine: Any, costs: Mapping[str, Sequence[Cost]], more: Mapping[str, Any], targets: Sequence[Target]
) -> None:
    """Writes everything measured, every repeat of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": asdict(machine),
        "costs": {name: [asdict(one) for one in repeats] for name, repeats in costs.items()},
        **more,
        "targets": [{**asdict(one), "met": one.met} for one in targets],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
