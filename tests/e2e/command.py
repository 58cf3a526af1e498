"""The command line in processes of its own.

`run` forks from a process that has loaded TFX, so that a command costs a second and not ten; `as_user` starts it as a
user does.
"""

import functools
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from serving.home import PROJECT

LOADED = (
    "pipeline.backtest",
    "pipeline.graph",
    "pipeline.history",
    "pipeline.local",
    "pipeline.preflight_sample",
    "pipeline.training_loop",
    "tensorflow_data_validation",
    "tensorflow_model_analysis",
    "keras",
)
LONGEST_S = 300.0

Interference = Callable[[], None]


@dataclass(frozen=True)
class Finished:
    """A command that has ended.

    Attributes:
        code: the exit code; minus the signal's number where one ended it.
        out, err: what it said.
        cpu_s: process time with its children's, where that was measured.
    """

    code: int
    out: str
    err: str
    cpu_s: float = float("nan")

    @property
    def said(self) -> str:
        """Everything, for a failing test to show."""
        return f"exit code {self.code}\n{self.out}\n{self.err}"


@dataclass(frozen=True)
class Started:
    """A command at work."""

    process: ForkServerProcess
    words: tempfile.TemporaryDirectory[str]

    def wait(self) -> Finished:
        """Returns when it has ended; a test that waits in vain fails."""
        self.process.join(LONGEST_S)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            self.process.join()
        self.process.close()
        out, err = (Path(self.words.name, name).read_text(errors="replace") for name in ("out", "err"))
        self.words.cleanup()
        assert code is not None, f"the command did not end within {LONGEST_S:.0f} s\n{out}\n{err}"
        return Finished(code, out, err)


@functools.cache
def context() -> ForkServerContext:
    """The context of the processes that `start` starts; events for them are made with it."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(list(LOADED))
    return made


def start(arguments: Sequence[str], home: Path, interference: Interference | None = None) -> Started:
    """Starts `python -m pipeline ARGUMENTS` with PRESSLINE_HOME at `home`.

    Args:
        arguments: of the command line.
        home: where the run leaves things.
        interference: called in the new process first; patches what a test wants to go wrong. Must pickle.
    """
    words = tempfile.TemporaryDirectory(prefix="pressline-e2e-")
    environment = {**os.environ, "PRESSLINE_HOME": str(home)}
    process = context().Process(target=_child, args=(list(arguments), environment, words.name, interference))
    process.start()
    return Started(process, words)


def run(arguments: Sequence[str], home: Path, interference: Interference | None = None) -> Finished:
    """As `start`, to its end."""
    return start(arguments, home, interference).wait()


def as_user(arguments: Sequence[str], home: Path, *flags: str) -> Finished:
    """`python FLAGS -m pipeline ARGUMENTS` from nothing, with the time it took."""
    before = _children_s()
    ended = subprocess.run(
        [sys.executable, *flags, "-m", "pipeline", *arguments],
        cwd=PROJECT,
        env={**os.environ, "PRESSLINE_HOME": str(home)},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=LONGEST_S,
        check=False,
    )
    return Finished(ended.returncode, ended.stdout, ended.stderr, _children_s() - before)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _child(arguments: list[str], environment: Mapping[str, str], words: str, interference: Interference | None) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, name in ((1, "out"), (2, "err")):
        file = os.open(Path(words, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    assert threading.active_count() == 1
    if interference is not None:
        interference()
    from pipeline.cli import main

    sys.exit(main(arguments))
