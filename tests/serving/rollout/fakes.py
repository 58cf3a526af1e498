"""A fake model server in memory. Not a test module, and no model server: it loads nothing and answers no prediction.

It keeps TF Serving's rules for what a rollout touches: a reload replaces the whole config; labels are checked before
anything is loaded; versions load and unload by and by; what has ended stays listed; a reload that names a base path
which is not there hangs, and so does every later one. `fake_grpc.serve` puts it behind the real gRPC API.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.client import Version
from serving.status import Code, StatusError

GONE = "connection refused"
UNLOAD_S = 0.5


@dataclass
class Loaded:
    """A version in its memory: its state, when that ends, and whether its load failed since it was last asked for."""

    state: str
    until: float = 0.0
    error: StatusError | None = None
    failed: bool = False


@dataclass
class FakeServer:
    """One server; a Connection of itself.

    Attributes:
        config: the models.config that it starts with.
        clock: seconds.
        load_s: how long a version loads.
        broken: (model, version) -> why its load fails.
        endless: (model, version)s that load for ever.
        deadly: (model, version)s whose load kills it.
        alive, hanging: whether it runs; whether it answers nothing though it does.
        allow_labels: --allow_version_labels_for_unavailable_models.
        gate: a reload answers only when it is set; None: at once.
        wedged: a reload hung for ever.
        starting: it has not loaded yet what it started with.
        reloads: the texts that it was sent.
    """

    config: Path
    clock: Callable[[], float]
    load_s: float = 1.0
    broken: dict[tuple[str, int], str] = field(default_factory=dict)
    endless: set[tuple[str, int]] = field(default_factory=set)
    deadly: set[tuple[str, int]] = field(default_factory=set)
    alive: bool = True
    hanging: bool = False
    allow_labels: bool = True
    gate: threading.Event | None = None
    wedged: bool = False
    starting: bool = False
    reloads: list[str] = field(default_factory=list)
    versions: dict[str, dict[int, Loaded]] = field(default_factory=dict)
    wanted: dict[str, tuple[str, frozenset[int]]] = field(default_factory=dict)
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    aspired: dict[str, set[int]] = field(default_factory=dict)

    def start(self) -> None:
        """As a new process: with the config's file, where there is one."""
        self.alive, self.starting, self.wedged = True, True, False
        self.versions, self.wanted, self.labels, self.aspired = {}, {}, {}, {}
        if self.config.exists():
            self._configure(self.config.read_text(), starting=True)

    def kill(self) -> None:
        """SIGKILL."""
        self.alive = False

    def reload(self, text: str, timeout_s: float) -> None:
        """HandleReloadConfigRequest."""
        self._answer()
        self.reloads.append(text)
        if self.wedged:
            raise StatusError(Code.DEADLINE_EXCEEDED, "the config lock is held for ever")
        self._configure(text, starting=False)
        if self.gate is not None:
            assert self.gate.wait(timeout_s)

    def status(self, model: str, timeout_s: float) -> tuple[Version, ...]:
        """GetModelStatus."""
        self._answer()
        known = self.versions.get(model)
        if not known:
            raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {model}")
        return tuple(
            Version(number, known[number].state, known[number].error) for number in sorted(known, reverse=True)
        )

    def labelled(self, model: str, label: str, timeout_s: float) -> int:
        """GetModelMetadata, by label."""
        self._answer()
        number = self.labels.get(model, {}).get(label)
        if number is None:
            raise StatusError(Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
        if self.state(model, number) != "AVAILABLE":
            raise StatusError(Code.NOT_FOUND, f"Servable not found for request: Specific({model}, {number})")
        return number

    def close(self) -> None:
        """Nothing stays open."""

    def state(self, model: str, version: int) -> str | None:
        """Of a version, None where it isn't listed."""
        one = self.versions.get(model, {}).get(version)
        return None if one is None else one.state

    def answers(self, model: str, version: int | None, label: str | None) -> int | None:
        """The version that answers such a prediction; None: it fails."""
        if not self.alive or self.hanging:
            return None
        number = self.labels.get(model, {}).get(label) if label is not None else version
        return number if number is not None and self.state(model, number) == "AVAILABLE" else None

    def step(self) -> None:
        """Loads and unloads for as far as the clock has come."""
        if not self.alive or self.wedged:
            return
        now = self.clock()
        self._poll()
        for model in sorted({*self.versions, *self.wanted}):
            if self.alive:  # a load may have killed it
                self._step(model, self.versions.setdefault(model, {}), self.aspired.get(model, set()), now)
        self.starting &= any(one.state == "LOADING" for model in self.versions.values() for one in model.values())

    def _step(self, model: str, known: dict[int, Loaded], aspired: set[int], now: float) -> None:
        for number in sorted(aspired):
            if number not in known or (known[number].state == "END" and not known[number].failed):
                known[number] = Loaded("LOADING", now + self.load_s)
        for number, one in known.items():
            if one.state == "LOADING" and now >= one.until and (model, number) not in self.endless:
                if (model, number) in self.deadly:
                    self.kill()
                    return
                why = self.broken.get((model, number))
                error = StatusError(Code.INTERNAL, why or "")
                known[number] = Loaded("END", error=error, failed=True) if why else Loaded("AVAILABLE")
            elif one.state == "UNLOADING" and now >= one.until:
                known[number] = Loaded("END")
        ready = any(known[number].state == "AVAILABLE" for number in aspired)
        for number in known.keys() - aspired:
            known[number].failed = False
            if known[number].state in ("LOADING", "AVAILABLE") and (ready or not aspired):
                known[number] = Loaded("UNLOADING", now + UNLOAD_S)

    def _poll(self) -> None:
        """Looks at the directories; one base path that is missing keeps it from all of them."""
        if all(Path(base).is_dir() for base, _ in self.wanted.values()):
            self.aspired = {
                model: {number for number in numbers if (Path(base) / str(number)).is_dir()}
                for model, (base, numbers) in self.wanted.items()
            }

    def _answer(self) -> None:
        if not self.alive:
            raise StatusError(Code.UNAVAILABLE, GONE)
        if self.hanging:
            raise StatusError(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def _configure(self, text: str, starting: bool) -> None:
        entries = parsed(text)
        labels = {entry.name: dict(entry.version_labels) for entry in entries}
        for model, given in labels.items():
            for label, number in given.items():
                stays_or_new = self.labels.get(model, {}).get(label, number) == number
                if not (self.allow_labels and stays_or_new) and self.state(model, number) != "AVAILABLE":
                    said = f"Request to assign label to version {number} of model {model}"
                    raise StatusError(Code.FAILED_PRECONDITION, said)
        new = {entry.name for entry in entries} - self.wanted.keys()
        self.labels = labels
        self.wanted = {
            entry.name: (entry.base_path, frozenset(entry.model_version_policy.specific.versions)) for entry in entries
        }
        if not all(Path(entry.base_path).is_dir() for entry in entries):
            self.wedged = True
            raise StatusError(Code.DEADLINE_EXCEEDED, "no base path: polling has ended for all models")
        self.step()
        if not starting:
            self._wait_for(new)

    def _wait_for(self, models: set[str]) -> None:
        """A reload waits for the models that are new to it; here their load ends at once."""
        for model in sorted(models):
            if not self.aspired.get(model):
                self.wedged = True
                raise StatusError(Code.DEADLINE_EXCEEDED, f"{model} has no version")
            for one in self.versions[model].values():
                one.until = 0.0
        self.step()
        self._answer()
        failed = [model for model in sorted(models) if not self._is_available(model)]
        if failed:
            raise StatusError(Code.UNKNOWN, f"{len(failed)} model(s) did not become available: {failed}")

    def _is_available(self, model: str) -> bool:
        return any(one.state == "AVAILABLE" for one in self.versions[model].values())


def parsed(text: str) -> Any:
    """The model configs of a models.config, read as a real server reads it."""
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    assert config.WhichOneof("config") == "model_config_list"
    return config.model_config_list.config
