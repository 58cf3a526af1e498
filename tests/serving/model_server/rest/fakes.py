"""Models without TensorFlow: real servables whose session is a function of NumPy arrays."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from serving.model_server.lifecycle import VersionStatus
from serving.model_server.models import Models, State
from serving.model_server.rest.json_values import NAMES
from serving.model_server.runner import Runner
from serving.model_server.servable import Feeds, Fetches, Servable
from serving.model_server.signature import Array, Signature, TensorInfo
from serving.status import Code, StatusError

Function = Callable[[Mapping[str, Array]], Mapping[str, Any]]  # alias -> array, both ways
DTYPES = {name: dtype for dtype, name in NAMES.items()}
PREDICT = "tensorflow/serving/predict"


def infos(**dtypes: str) -> dict[str, TensorInfo]:
    """Inputs or outputs by alias, from the names of their dtypes."""
    return {alias: TensorInfo(f"{alias}:0", DTYPES[dtypes[alias]]) for alias in sorted(dtypes)}


class Session:
    """Calls a function instead of a graph; `close` is remembered."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self.closed = False

    def run(self, feeds: Feeds, fetches: Fetches) -> list[Array]:
        """As a real one's."""
        outputs = self._function({name.removesuffix(":0"): value for name, value in feeds.items()})
        return [outputs[name.removesuffix(":0")] for name in fetches]

    def close(self) -> None:
        """As a real one's."""
        self.closed = True


def servable(
    function: Function,
    inputs: Mapping[str, TensorInfo],
    outputs: Mapping[str, TensorInfo],
    *,
    name: str = "m",
    version: int = 1,
    runner: Runner | None = None,
    more: Sequence[Signature] = (),
) -> Servable:
    """A version with the signature `serving_default` and `more`.

    Args:
        runner: the function is called in its threads, or in the event loop where there is none.
    """
    session = Session(function)

    async def run(feeds: Feeds, fetches: Fetches, timeout_s: float | None) -> list[Array]:
        if runner is None:
            return session.run(feeds, fetches)
        return await runner.run(lambda: session.run(feeds, fetches), timeout_s)

    default = Signature("serving_default", PREDICT, inputs, outputs)
    signatures = {signature.name: signature for signature in (default, *more)}
    return Servable(name, version, signatures, session, run)


def half_plus_two(**options: Any) -> Servable:
    """x float -> y = x / 2 + 2, of any shape."""
    return servable(
        lambda feeds: {"y": feeds["x"] * np.float32(0.5) + np.float32(2)}, infos(x="float"), infos(y="float"), **options
    )


class FakeModels:
    """The part of Models that requests use, for versions that are simply there."""

    def __init__(self, *servables: Servable, labels: Mapping[str, int] | None = None) -> None:
        self._servables = servables
        self._labels = labels or {}

    def acquire(self, name: str, version: int | None = None, label: str | None = None) -> Servable:
        """As Models.acquire."""
        if label is not None:
            if label not in self._labels:
                raise StatusError(Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
            version = self._labels[label]
        fit = [one for one in self._servables if one.name == name and version in (None, one.version)]
        if not fit:
            text = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise StatusError(Code.NOT_FOUND, f"Servable not found for request: {text}")
        found = max(fit, key=lambda one: one.version)
        assert found.acquire()
        return found

    def statuses(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """As Models.statuses."""
        found = [one.version for one in self._servables if one.name == name and version in (None, one.version)]
        if not found:
            what = "any versions" if version is None else f"version {version}"
            raise StatusError(Code.NOT_FOUND, f"Could not find {what} of model {name}")
        return [VersionStatus(number, State.AVAILABLE, None) for number in sorted(found, reverse=True)]


def models(*servables: Servable, labels: Mapping[str, int] | None = None) -> Models:
    """FakeModels as what it stands for."""
    return cast(Models, FakeModels(*servables, labels=labels))
