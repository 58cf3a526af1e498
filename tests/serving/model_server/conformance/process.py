"""A model server as a process of its own: started with TF Serving's flags, watched, stopped."""

import contextlib
import os
import random
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from serving.home import PROJECT

OURS = [sys.executable, "-m", "serving.model_server"]
START_LIMIT_S = 120.0  # a start imports TensorFlow: about 5 s on an idle machine
STOP_LIMIT_S = 30.0
FAILED = 255  # what a failed start exits with

Value = TypeVar("Value")


def command() -> list[str]:
    """The server under test."""
    return shlex.split(os.environ.get("MODEL_SERVER", "")) or OURS


def is_ours() -> bool:
    """Whether it is the house's own, of which more is promised than of TF Serving."""
    return command()[-2:] == OURS[-2:]


def free_port() -> int:
    """A port nobody listens on, outside the range from which the system gives ports to clients."""
    while True:
        port = random.randrange(18000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
        return port


def until(condition: Callable[[], Value], what: str, limit_s: float = 30.0, every_s: float = 0.02) -> Value:
    """The condition's first true value.

    Raises:
        AssertionError: it did not become true within the limit.
    """
    end = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {limit_s:g} s in vain until {what}; last: {value!r}"
        time.sleep(every_s)


def listens(port: int) -> bool:
    """Whether something accepts connections on the loopback's port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Ended:
    """A process that is over: what it printed and its exit status."""

    status: int
    stdout: str
    stderr: str


class Server:
    """A running server; ports are open unless it was told not to wait for them."""

    def __init__(self, folder: Path, flags: tuple[str, ...], port: int, rest_port: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port
        self.rest_port = rest_port
        self.stdout = folder / f"{port}.stdout"
        self.stderr = folder / f"{port}.stderr"
        listening = (f"--port={port}", f"--rest_api_port={rest_port}")
        with self.stdout.open("wb") as out, self.stderr.open("wb") as err:
            self.process = subprocess.Popen(
                [*command(), *listening, *flags], stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=PROJECT
            )

    @property
    def printed(self) -> str:
        """Standard output and standard error so far."""
        return self.stdout.read_text(errors="replace") + self.stderr.read_text(errors="replace")

    @property
    def rss_bytes(self) -> int:
        """The memory that the process holds now."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def open_files(self) -> int:
        """Its file descriptors."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    @property
    def cpu_s(self) -> float:
        """The time it has computed, in user mode."""
        behind_the_name = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(behind_the_name[11]) / os.sysconf("SC_CLK_TCK")

    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_until_open(self, limit_s: float = START_LIMIT_S) -> None:
        """Waits for both ports; REST is the last to open."""

        def is_open() -> bool:
            assert self.alive(), f"the server ended with {self.process.returncode}:\n{self.printed[-4000:]}"
            return all(listens(port) for port in (self.port, self.rest_port) if port)

        until(is_open, "the server opens its ports", limit_s, 0.05)

    def kill(self) -> None:
        """SIGKILL, by its own id."""
        self.process.kill()
        self.process.wait()

    def stop(self, limit_s: float = STOP_LIMIT_S) -> int:
        """SIGTERM, and SIGKILL after the limit; the exit status (negative: the signal that ended it)."""
        self.process.terminate()
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode


def start(folder: Path, *flags: str, wait: bool = True) -> Server:
    """A server on two free ports with the flags; its output goes to files in the folder."""
    server = Server(folder, flags, free_port(), free_port())
    try:
        if wait:
            server.wait_until_open()
    except BaseException:
        server.kill()
        raise
    return server


@contextlib.contextmanager
def running(folder: Path, *flags: str, wait: bool = True) -> Iterator[Server]:
    """A server for the length of a `with`."""
    server = start(folder, *flags, wait=wait)
    try:
        yield server
    finally:
        server.stop()


def run_to_its_end(*flags: str, limit_s: float = START_LIMIT_S) -> Ended:
    """A start that is expected to fail, or a flag that prints something and ends."""
    done = subprocess.run(
        [*command(), *flags], stdin=subprocess.DEVNULL, capture_output=True, cwd=PROJECT, timeout=limit_s, check=False
    )
    status = done.returncode
    return Ended(status, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
