"""For tests of the lifecycle: a loader without TensorFlow, configurations, and waiting. Not a test module."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.model_server.lifecycle_settings import Settings
from serving.model_server.models import Models, State, VersionStatus
from serving.model_server.servable import Feeds, Fetches, Servable
from serving.model_server.signature import Array
from serving.status import Code, StatusError

LIMIT_S = 30.0
FAST: Mapping[str, Any] = {
    "file_system_poll_wait_seconds": 0.01,
    "tick_seconds": 0.005,
    "load_retry_interval_micros": 1000,
    "num_load_threads": 2,
}
HOUR_MICROS = 3_600_000_000


def until(condition: Callable[[], Any]) -> None:
    """Waits for it, and fails where it does not come."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.002)


class Session:
    """A model that is asked nothing; it only knows whether it was freed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def run(self, feeds: Feeds, fetches: Fetches) -> list[Array]:
        """Never called."""
        raise NotImplementedError

    def close(self) -> None:
        """As SavedModelSession.close."""
        self.closed.set()


async def no_run(feeds: Feeds, fetches: Fetches, timeout_s: float | None) -> list[Array]:
    """Never called."""
    raise NotImplementedError


def servable(name: str = "m", version: int = 1) -> Servable:
    """A real servable of a fake session."""
    return Servable(name, version, {}, Session(), no_run)


class Loads:
    """A loader.

    Attributes:
        calls: (name, version, directory) of each call.
        loaded: what it returned.
        broken: versions that raise, and what.
        gates: versions that wait for their event before they do.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, str]] = []
        self.loaded: list[Servable] = []
        self.broken: dict[tuple[str, int], BaseException] = {}
        self.gates: dict[tuple[str, int], threading.Event] = {}

    def __call__(self, name: str, version: int, directory: str) -> Servable:
        self.calls.append((name, version, directory))
        if (name, version) in self.gates:
            assert self.gates[name, version].wait(LIMIT_S)
        if (name, version) in self.broken:
            raise self.broken[name, version]
        self.loaded.append(servable(name, version))
        return self.loaded[-1]

    def tries(self, name: str, version: int) -> int:
        """How often a version was tried."""
        return sum(call[:2] == (name, version) for call in self.calls)


def is_free(each: Servable) -> bool:
    """Whether a servable's memory was freed."""
    assert isinstance(each.session, Session)
    return each.session.closed.is_set()


def broken(text: str = "No model here") -> StatusError:
    """As the loader refuses a directory."""
    return StatusError(Code.NOT_FOUND, text)


def versions(base: Path, *numbers: int | str) -> Path:
    """Makes version directories below a base path."""
    for number in numbers:
        (base / str(number)).mkdir(parents=True, exist_ok=True)
    return base


def model(
    name: str, base_path: Path | str, specific: list[int] | None = None, labels: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """One model of `config`; without `specific` its policy is the default, latest 1."""
    policy = {} if specific is None else {"model_version_policy": {"specific": {"versions": specific}}}
    return {
        "name": name,
        "base_path": str(base_path),
        "model_platform": "tensorflow",
        "version_labels": labels or {},
        **policy,
    }


def config(*models: Mapping[str, Any]) -> Any:
    """A ModelServerConfig of these models; without any, an empty list."""
    return ModelServerConfig(model_config_list={"config": list(models)})


@contextlib.contextmanager
def serving(load: Loads, **settings: Any) -> Iterator[Models]:
    """Models that act fast and are stopped in the end."""
    models = Models(load, Settings(**{**FAST, **settings}))
    try:
        yield models
    finally:
        for gate in load.gates.values():
            gate.set()
        models.stop()


def states(models: Models, name: str) -> dict[int, State]:
    """Version -> state, as published; nothing for an unknown model."""
    with contextlib.suppress(StatusError):
        return {status.version: status.state for status in models.statuses(name)}
    return {}


def reach(models: Models, name: str, version: int, state: State) -> None:
    """Waits until a version is in a state."""
    until(lambda: states(models, name).get(version) is state)


def status(models: Models, name: str, version: int) -> VersionStatus:
    """Of one version."""
    return models.statuses(name, version)[0]


@contextlib.contextmanager
def answers(models: Models, name: str, version: int | None = None, label: str | None = None) -> Iterator[int]:
    """The version that answers, held while the block runs."""
    each = models.acquire(name, version, label)
    try:
        yield each.version
    finally:
        each.release()


def answering(models: Models, name: str, version: int | None = None, label: str | None = None) -> int | str:
    """The version that answers, or the status that is answered."""
    try:
        with answers(models, name, version, label) as number:
            return number
    except StatusError as error:
        return str(error)


class Background:
    """A call in a thread of its own, which may wait for long.

    Attributes:
        error: what it raised.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def waits(self) -> bool:
        """Whether it has not come back."""
        return self._thread.is_alive()

    def result(self) -> BaseException | None:
        """Waits for its end."""
        self._thread.join(LIMIT_S)
        assert not self.waits
        return self.error

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as raised:
            self.error = raised


def refused(call: Any, *arguments: Any) -> str:
    """What the call is refused with."""
    with pytest.raises(StatusError) as caught:
        call(*arguments)
    return str(caught.value)
