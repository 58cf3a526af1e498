"""The live table of the demonstration, and the summary that stays; plain lines where there is no terminal."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from serving.demo.users import Seen

COLOURS = {"stable": "green", "rolled_back": "red", "superseded": "red"}


@dataclass(frozen=True)
class Act:
    """One version.

    Attributes:
        kind: of serving.demo.variants.
        ends: the phase in which it should end: `stable` or `rolled_back`.
        about: for people.
    """

    kind: str
    ends: str
    about: str


@dataclass
class _Row:
    act: Act
    state: str = ""
    share: float = 0.0
    reason: str = ""
    began: float | None = None
    seconds: float = 0.0
    ended: str = ""
    shown: dict[str, int] = field(default_factory=dict)
    likes: dict[str, int] = field(default_factory=dict)


class Screen:
    """What the terminal shows; a context."""

    def __init__(self, acts: Sequence[Act], seen: Seen, console: Console | None = None) -> None:
        self._rows = [_Row(act) for act in acts]
        self._seen = seen
        self._before: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self._console = console or Console(width=None if sys.stdout.isatty() else 160, record=True)
        self._live = Live(self._table(), console=self._console, refresh_per_second=4, transient=True)
        self._told = ""

    @property
    def as_expected(self) -> bool:
        """Whether every version ended where it should."""
        return all(row.ended == row.act.ends for row in self._rows)

    def __enter__(self) -> "Screen":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def update(self, number: int, status: Mapping[str, Any]) -> None:
        """Shows what the controller says of the version that is under way.

        Args:
            number: of the act, from 0.
            status: JSON of `GET /v1/rollouts/MODEL`.
        """
        row = self._rows[number]
        if row.began is None:
            row.began = time.monotonic()
            with self._seen.lock:
                self._before = (dict(self._seen.shown), dict(self._seen.likes))
        row.seconds = time.monotonic() - row.began
        row.state = str(status.get("state", row.state))
        row.share = float(status.get("share") or 0.0)
        row.reason = str(status.get("reason") or row.reason)
        with self._seen.lock:
            row.shown = _since(self._before[0], self._seen.shown)
            row.likes = _since(self._before[1], self._seen.likes)
        self._show(f"{row.act.kind}: {row.state}, share {row.share:.0%}")

    def end(self, number: int, phase: str, reason: str) -> None:
        """The version's rollout is over."""
        row = self._rows[number]
        row.state = row.ended = phase
        row.share, row.reason = 0.0, reason
        self._show(f"{row.act.kind}: {phase} after {row.seconds:.0f} s: {reason}")

    def finish(self, seconds: float, picture: Path | None = None) -> None:
        """The table that stays, and one line for it all; as an SVG picture, too, where a path is given."""
        if self._console.is_terminal:
            self._live.stop()
        self._console.export_text(clear=True)
        self._console.print(self._table())
        seen = self._seen
        failed = f"{seen.failed} without a good answer{f' ({seen.complaint})' if seen.failed else ''}"
        verdict = "as it should be" if self.as_expected else "NOT as it should be"
        self._console.print(f"{seconds:.0f} s, {seen.asked} requests of users, {failed}; every version ended {verdict}")
        if picture is not None:
            self._console.save_svg(str(picture), title="make demo-rollout")

    def _show(self, line: str) -> None:
        if self._console.is_terminal:
            self._live.update(Group(self._table(), Text(f"{self._seen.asked} requests, {self._seen.failed} failed")))
        elif line != self._told:
            self._told = line
            self._console.print(line)

    def _table(self) -> Table:
        table = Table(title="clicks: versions that meet users", title_justify="left")
        for name in ("version", "state", "canary's share", "liked: stable", "liked: canary", "seconds", "why"):
            table.add_column(name, justify="right" if name in ("canary's share", "seconds") else "left")
        for row in self._rows:
            state = Text(row.state or "to come", COLOURS.get(row.ended, "yellow" if row.state else "dim"))
            table.add_row(
                f"{row.act.kind}: {row.act.about}",
                state,
                f"{row.share:.0%}" if row.share else "",
                _rate(row, "stable"),
                _rate(row, "canary"),
                f"{row.seconds:.0f}" if row.began is not None else "",
                row.reason,
            )
        return table


def _since(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    return {variant: count - before.get(variant, 0) for variant, count in now.items()}


def _rate(row: _Row, variant: str) -> str:
    shown = row.shown.get(variant, 0)
    return f"{row.likes.get(variant, 0) / shown:.0%} of {shown}" if shown else ""
