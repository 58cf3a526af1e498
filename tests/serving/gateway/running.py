"""A gateway as a process of its own: started with flags, asked, stopped. Not a test module."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from serving import traffic_plan
from serving.home import PROJECT
from serving.traffic_plan import ModelPlan, TrafficPlan
from tests.serving.model_server.conformance.process import free_port, listens, until

START_LIMIT_S = 60.0
STOP_LIMIT_S = 40.0


class Gateway:
    """A running gateway.

    Attributes:
        rest_port, grpc_port: on the loopback.
        url: of REST, without a slash at its end.
        target: of gRPC.
        plan, impressions, home: where it reads its plan, writes impressions, and leaves everything else.
        process: its own.
    """

    def __init__(self, folder: Path, flags: tuple[str, ...], environment: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.home = folder / "home"
        self.plan = folder / "plan.json"
        self.impressions = folder / "impressions"
        self.rest_port, self.grpc_port = free_port(), free_port()
        scheme = "https" if any(flag.startswith("--tls-cert") for flag in flags) else "http"
        self.url = f"{scheme}://127.0.0.1:{self.rest_port}"
        self.target = f"127.0.0.1:{self.grpc_port}"
        self._log = folder / f"gateway.{self.rest_port}.log"
        ports = (f"--rest-port={self.rest_port}", f"--grpc-port={self.grpc_port}")
        places = (f"--plan={self.plan}", f"--impressions={self.impressions}")
        command = [sys.executable, "-m", "serving.gateway", *ports, *places, *flags]
        own = {name: value for name, value in os.environ.items() if name != "PRESSLINE_TOKEN"}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=PROJECT,
                env={**own, "PRESSLINE_HOME": str(self.home), **environment},
            )

    def log(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(errors="replace")

    def get(self, path: str) -> bytes:
        """The answer to GET, for a gateway without TLS. Raises urllib.error.HTTPError for other than 2xx."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:
            content: bytes = answer.read()
        return content

    def wait_until_open(self) -> None:
        """Waits for both ports; REST is the last to open."""

        def is_open() -> bool:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.log()[-4000:]}"
            return listens(self.grpc_port) and listens(self.rest_port)

        until(is_open, "the gateway opens its ports", START_LIMIT_S, 0.05)

    def wait_for_generation(self, generation: int) -> None:
        """Waits until it has taken this plan, or a newer one."""

        def taken() -> bool:
            found = re.search(r"^pressline_gateway_plan_generation (\S+)", self.get("/metrics").decode(), re.MULTILINE)
            return found is not None and float(found.group(1)) >= generation

        until(taken, f"the gateway takes the plan of generation {generation}")

    def kill(self) -> None:
        """SIGKILL, by its own id."""
        self.process.kill()
        self.process.wait()

    def stop(self, number: int = signal.SIGTERM, limit_s: float = STOP_LIMIT_S) -> int:
        """A signal, and SIGKILL after the limit; the exit status (negative: the signal that ended it)."""
        self.process.send_signal(number)
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode


def start(folder: Path, *flags: str, wait: bool = True, environment: Mapping[str, str] | None = None) -> Gateway:
    """A gateway on two free ports that answers, unless it is not to be waited for.

    Args:
        folder: for what it reads and writes; several gateways may share one.
        flags: such as `--rest-upstream=http://127.0.0.1:8501`; they win over those given here (ports, plan,
            impressions).
        environment: beside the test's own.
    """
    started = Gateway(folder, flags, environment or {})
    try:
        if wait:
            started.wait_until_open()
    except BaseException:
        started.kill()
        raise
    return started


@contextlib.contextmanager
def gateway(folder: Path, *flags: str, environment: Mapping[str, str] | None = None) -> Iterator[Gateway]:
    """As `start`, for the length of a `with`."""
    started = start(folder, *flags, environment=environment)
    try:
        yield started
    finally:
        started.stop()


def write_plan(path: Path, generation: int, *models: ModelPlan) -> None:
    """Writes a traffic plan the way the controller does."""
    traffic_plan.write(path, TrafficPlan(generation, {one.model: one for one in models}))
