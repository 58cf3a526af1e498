"""Parts of a world as processes that can be killed and started again. Not a test module."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.rollout.launcher import Launcher, Process
from tests.serving.model_server.conformance.process import free_port, listens, until

LIMIT_S = 60.0


@dataclass(frozen=True)
class Host:
    """Where parts run: what starts them, the folder of their logs, and their environment."""

    launcher: Launcher
    folder: Path
    environment: Mapping[str, str]


class Part:
    """A part and how it is started again."""

    def __init__(self, host: Host, name: str, call: str, arguments: tuple[str, ...], place: Path) -> None:
        """
        Args:
            call, arguments, place: see Launcher.start.
        """
        self.name = name
        self.process: Process | None = None
        self._host, self._call, self._arguments, self._place = host, call, arguments, place

    def start(self, before: str = "") -> None:
        """Starts it where it does not run.

        Args:
            before: see Launcher.start.
        """
        if not self.alive():
            host, log = self._host, self._host.folder / f"{self.name}.log"
            self.process = host.launcher.start(log, self._call, self._arguments, self._place, host.environment, before)

    def alive(self) -> bool:
        return self.process is not None and self.process.alive()

    def check(self) -> None:
        """Raises AssertionError where it ended by itself."""
        assert self.alive(), f"{self.name} ended:\n{self.running.said()[-3000:]}"

    @property
    def running(self) -> Process:
        """Its process, which there must be."""
        assert self.process is not None
        return self.process

    def kill(self) -> None:
        """SIGKILL."""
        self.running.kill()

    def stop(self) -> None:
        """SIGTERM, where it runs."""
        if self.process is not None and self.process.alive():
            self.process.signal(signal.SIGCONT)
            self.process.stop()


class Listening(Part):
    """A part with a REST port, which is the last to open, and a gRPC port."""

    def __init__(
        self, host: Host, name: str, call: str, arguments: tuple[str, ...], place: Path, rest_flag: str, flag: str
    ) -> None:
        self.rest_port, self.grpc_port = free_port(), free_port()
        ports = (f"{rest_flag}={self.rest_port}", f"{flag}={self.grpc_port}")
        super().__init__(host, name, call, (*ports, *arguments), place)

    def open(self) -> None:
        """Starts it where it does not run, and waits until it answers."""
        self.start()
        self.wait_until_open()

    def wait_until_open(self) -> None:
        """Waits until REST is open."""

        def is_open() -> bool:
            self.check()
            return listens(self.rest_port)

        until(is_open, f"{self.name} opens its ports", LIMIT_S, 0.05)
