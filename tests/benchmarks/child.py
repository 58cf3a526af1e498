"""Runs a program to its end and says what it took."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

LONGEST_S = 1800


@dataclass(frozen=True)
class Cost:
    """What a program took, its children included.

    Attributes:
        wall_s: seconds from start to end, process start included.
        cpu_s: user and system seconds, over all cores.
        peak_mib: the largest resident memory of any one of its processes, MiB.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float


class ProgramFailedError(Exception):
    """The program ended with another exit code than 0."""


def measure(command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> Cost:
    """The cost of one run.

    Args:
        command: program and arguments.
        environment: set on top of this process's own.
        folder: to run in.
        log: what the program says is appended to it.

    Raises:
        ProgramFailedError: with the last lines of what it said; also after LONGEST_S, when it is ended.
    """
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as said:
        began = time.perf_counter()
        child = subprocess.Popen(
            command,
            cwd=folder,
            env={**variables, **environment},
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        limit = Timer(LONGEST_S, os.killpg, (child.pid, signal.SIGKILL))
        limit.start()
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
        finally:
            limit.cancel()
        wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)  # already waited for: without it Popen would warn
    if child.returncode != 0:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise ProgramFailedError(f"{' '.join(command)} ended with {child.returncode}; its last words ({log}):\n{last}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
