"""Starts a server on its core and ends it with all that it started."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.benchmarks.places import SERVER_CORE, on_core

PR_SET_CHILD_SUBREAPER = 36
LEAVE_S = 3.0  # to end by itself
POLL_S = 0.02


class ServerFailedError(Exception):
    """It ended, or did not answer in time; the message has its last words."""


def adopt_orphans() -> None:
    """Makes this process the parent of what servers leave behind, so that `Server` finds and ends it."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_on_sigterm() -> None:
    """Lets SIGTERM leave every context as Ctrl-C does."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)


class Server:
    """A server on a core of its own, its children included; leaving the context ends them all.

    Attributes:
        began: `time.perf_counter()` when it was started.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        log: Path,
        core: int = SERVER_CORE,
    ) -> None:
        """Starts it.

        Args:
            command: program and arguments.
            environment: set on top of this process's own.
            folder: to run in.
            log: what it says is appended to it.
            core: that it runs on.
        """
        self._log = log
        self._before = set(_descendants(os.getpid()))
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as said:
            self.began = time.perf_counter()
            self._process = subprocess.Popen(
                [*on_core(core), *command],
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LEAVE_S)
        while left := [pid for pid in _descendants(os.getpid()) if pid not in self._before]:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            time.sleep(POLL_S)

    def wait(self, answers: Callable[[], bool], limit_s: float) -> float:
        """Waits until `answers` says so; returns the seconds since the start.

        Raises:
            ServerFailedError: it ended before, or `limit_s` went by.
        """
        while not answers():
            if self._process.poll() is not None:
                raise ServerFailedError(f"it ended with {self._process.returncode}:\n{self.last_words()}")
            if time.perf_counter() - self.began > limit_s:
                raise ServerFailedError(f"no answer within {limit_s:.0f} s:\n{self.last_words()}")
            time.sleep(POLL_S)
        return time.perf_counter() - self.began

    def cpu_s(self) -> float:
        """User and system seconds of its processes so far, to a hundredth; of those that ended nothing."""
        ticks = 0
        for pid in (pid for pid in _descendants(os.getpid()) if pid not in self._before):
            with contextlib.suppress(OSError):  # it has gone
                ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])


def _descendants(root: int) -> list[int]:
    """Every process below `root`, ended ones that nobody waited for included."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has gone
            # The name in parentheses may hold spaces and parentheses itself.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found
