"""What a run says at its end: its nodes, the verdict, where the model is, and three answers of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.verdict.judge import TOO_FEW
from pipeline.local import kind_of
from pipeline.metadata import CACHED, COMPLETE, NodeRun
from pipeline.task import Task
from serving.home import models_dir

WIDTH = 140  # characters
OUTCOMES = {"pushed": 0, "failed": 1, "not blessed": 3}


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        verdict: `pushed`, `not blessed` or `failed`.
        exit_code: of the command line.
        version: that was pushed.
        reasons: why not, a sentence each.
        judged: content of the verdict's file, where one was written.
    """

    verdict: str
    exit_code: int
    version: int | None
    reasons: tuple[str, ...]
    judged: dict[str, Any]


def outcome_of(nodes: Sequence[NodeRun], problem: str | None) -> Outcome:
    """The outcome as the nodes' artifacts tell it; a run is green only when all of them finished."""
    judged = _verdict_of(nodes)
    if problem is not None:
        return Outcome("failed", OUTCOMES["failed"], None, (problem,), judged)
    pushed = next((one for one in nodes if one.node == "RolloutPusher"), None)
    artifacts = pushed.outputs.get("pushed_model", ()) if pushed else ()
    properties = artifacts[-1].properties if artifacts else {}
    if properties.get("pushed"):
        return Outcome("pushed", OUTCOMES["pushed"], int(properties["pushed_version"]), (), judged)
    reason = str(properties.get("reason") or "nothing was pushed")
    return Outcome("not blessed", OUTCOMES["not blessed"], None, (reason,), judged)


def _verdict_of(nodes: Sequence[NodeRun]) -> dict[str, Any]:
    for one in nodes:
        if one.node == "Verdict" and one.state in (COMPLETE, CACHED) and one.outputs.get("verdict"):
            try:
                content = json.loads(Path(one.outputs["verdict"][-1].uri, "verdict.json").read_text())
            except (OSError, ValueError):
                return {}
            return content if isinstance(content, dict) else {}
    return {}


def show(task: Task, nodes: Sequence[NodeRun], outcome: Outcome, seconds: float) -> None:
    """Prints the tables of a run that has ended."""
    console = console_of()
    console.print(nodes_table(nodes))
    if outcome.judged:
        console.print(verdict_table(outcome.judged))
        reasons = "; ".join(outcome.judged["reasons"])
        console.print(told("verdict: ", (outcome.judged["verdict"], "bold"), f" — {reasons}"))
    if outcome.version is not None:
        path = models_dir(task.name) / str(outcome.version)
        console.print(f"pushed: version {outcome.version} at {path}; `python -m serving.rollout status {task.name}`")
        _show_answers(console, task, path)
    for reason in outcome.reasons:
        console.print(f"{outcome.verdict}: {reason}")
    console.print(f"{seconds:.0f} s; `python -m pipeline why {task.name}` tells why the live version is live")


def console_of() -> Any:
    """The screen; wide enough for the tables where the output is a file or a pipe.

    No markup: what is shown holds users' values and errors' words, and `[/a/path]` is not the end of a style.
    """
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, emoji=False, width=WIDTH)


def told(*parts: str | tuple[str, str]) -> Any:
    """One line of plain texts and of (text, style)."""
    from rich.text import Text

    return Text.assemble(*parts)


def nodes_table(nodes: Sequence[NodeRun]) -> Any:
    """A rich table: a row a node, the spans' nodes folded into one row a kind."""
    from rich.table import Table

    table = Table(title="nodes", title_justify="left")
    for column in ("node", "state", "seconds", "rows", "why"):
        table.add_column(column, justify="right" if column in ("seconds", "rows") else "left", no_wrap=column == "node")
    for name, members in fold(nodes).items():
        states = {
            state: sum(one.state == state for one in members) for state in dict.fromkeys(m.state for m in members)
        }
        state = next(iter(states)) if len(states) == 1 else ", ".join(f"{n} {name}" for name, n in states.items())
        counts = [one.rows for one in members if one.rows is not None]
        ran = [one for one in members if one.state != CACHED] or list(members)
        reasons = ", ".join(dict.fromkeys(one.why for one in ran if one.why))
        shown = name if len(members) == 1 else f"{name} ({len(members)} spans)"
        rows = f"{sum(counts):,}" if counts else ""
        table.add_row(shown, state, f"{sum(one.seconds for one in members):.1f}", rows, reasons)
    return table


def fold(nodes: Sequence[NodeRun]) -> dict[str, list[NodeRun]]:
    """Nodes by name, those of single spans under their common name, in order of appearance."""
    folded: dict[str, list[NodeRun]] = {}
    for one in nodes:
        folded.setdefault(kind_of(one.node), []).append(one)
    return folded


def verdict_table(judged: dict[str, Any]) -> Any:
    """A rich table: a row a bound that was judged; failures first, then the overall slice, then the rest."""
    from rich.table import Table

    table = Table(title="gates", title_justify="left")
    for column in ("slice", "metric", "bound", "measured", "95 % interval", "examples", "outcome"):
        table.add_column(column, justify="right" if column in ("measured", "examples") else "left")
    rows = [row for row in judged["results"] if row["outcome"] != TOO_FEW]
    if len(rows) < len(judged["results"]):
        hidden = len(judged["results"]) - len(rows)
        table.caption = f"{hidden} bounds on slices with too few examples were not judged; verdict.json has them"
        table.caption_justify = "left"
    for row in sorted(rows, key=lambda row: (row["outcome"] != "fail", len(row["slice"]) > 0)):
        key = ", ".join(f"{name}={value}" for name, value in row["slice"]) or "overall"
        measured = row["measured"]
        interval = (
            f"{_number(measured['lower'])} to {_number(measured['upper'])}" if measured["lower"] is not None else ""
        )
        bound = f"{row['bound'].replace('_', ' ')} {abs(row['limit']):g}"
        table.add_row(
            key, row["metric"], bound, _number(measured["value"]), interval, str(row["examples"]), row["outcome"]
        )
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _show_answers(console: Any, task: Task, version: Path) -> None:
    """Three predictions, asked of the pushed version with the records that warm it up."""
    from pipeline.answers import three_answers

    for record, score in three_answers(version):
        console.print(f"  {json.dumps(record, ensure_ascii=False)} -> score {score:.4f}")


def live_version(task: str) -> int | None:
    """The newest version in TF Serving's model directory."""
    folder = models_dir(task)
    versions = [int(path.name) for path in folder.iterdir() if path.name.isdigit()] if folder.is_dir() else []
    return max(versions, default=None)
