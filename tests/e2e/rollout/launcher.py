"""Starts parts of the house as processes of their own within milliseconds: it has imported TensorFlow, and forks.

A part is what its `python -m` runs, with the same arguments and the same process to kill; only the import, 6 s of CPU
each time, is done once for all of them. Not a test module: `python -m tests.e2e.rollout.launcher` reads orders, a line
of JSON each, and answers with process ids. Whoever has started it ends it by closing its standard input, and with it
all that it has started, however the tests ended.
"""

import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serving.home import PROJECT

IMPORTED = (
    "tensorflow",
    "tensorflow_serving.config.model_server_config_pb2",
    "tests.serving.model_server.models",
    "serving.client.grpc_client",
    "serving.gateway.server",
    "serving.impressions.feedback",
    "serving.model_server.server",
    "serving.rollout.run",
)
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "", "OPENBLAS_NUM_THREADS": "1"}


class Process:
    """A part that was started. Its id stays its own until the launcher ends, which waits for nobody before."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self.log = log
        self._end = os.pidfd_open(pid)

    def alive(self) -> bool:
        """Whether it runs."""
        return not select.select([self._end], [], [], 0)[0]

    def signal(self, number: int) -> None:
        """Sends a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL; returns when it is dead."""
        self.signal(signal.SIGKILL)
        self.wait(30.0)

    def stop(self, limit_s: float = 30.0) -> None:
        """SIGTERM, and SIGKILL after the limit."""
        self.signal(signal.SIGTERM)
        if not self.wait(limit_s):
            self.kill()

    def wait(self, limit_s: float) -> bool:
        """Whether it ended within the limit."""
        return bool(select.select([self._end], [], [], limit_s)[0])

    def said(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace")


class Launcher:
    """The program, started; a context. `start` waits for the end of its imports, the constructor does not."""

    def __init__(self) -> None:
        self._program = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.rollout.launcher"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=PROJECT,
            env={name: value for name, value in os.environ.items() if name != "PRESSLINE_TOKEN"} | QUIET,
            start_new_session=True,  # Ctrl-C is for the tests, which end it
        )

        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._orders, self._answers = self._program.stdin, self._program.stdout

    def __enter__(self) -> "Launcher":
        return self

    def __exit__(self, *_: object) -> None:
        self._orders.close()
        self._program.wait()
        self._answers.close()

    def start(
        self,
        log: Path,
        call: str,
        arguments: Sequence[Any],
        place: Path = PROJECT,
        environment: Mapping[str, str] | None = None,
        before: str = "",
    ) -> Process:
        """Starts a process.

        Args:
            log: what it prints is added to it.
            call: `module:function`, called with the arguments as a list; it gives the exit code.
            place: its working directory.
            before: a function that is called first, without arguments; "" for none.
        """
        log.touch()
        order = [str(log), call, list(arguments), str(place), dict(environment or {}), before]
        self._orders.write(json.dumps(order).encode() + b"\n")
        self._orders.flush()
        answer = self._answers.readline()
        assert answer, "the launcher ended"
        return Process(int(answer), log)


def _main() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or the collector of each part would have a copy made of all that they share
    started = []
    for line in sys.stdin.buffer:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _be(*order)
        started.append(pid)
        os.write(1, b"%d\n" % pid)
    for pid in started:
        os.kill(pid, signal.SIGKILL)  # nobody was waited for, so that no id is another process's by now
    for pid in started:
        os.waitpid(pid, 0)


def _be(log: str, call: str, arguments: list[Any], place: str, environment: Mapping[str, str], before: str) -> None:
    """What a fresh process would be; never returns."""
    code: Any = 1
    try:
        out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for mine, theirs in ((nothing, 0), (out, 1), (out, 2)):
            os.dup2(mine, theirs)
        sys.argv = [call]
        os.environ.update(environment)
        os.chdir(place)
        if before:
            _function(before)()
        code = _function(call)(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)


def _function(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


if __name__ == "__main__":
    _main()
