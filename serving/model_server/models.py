"""The models that a server serves: what requests, reloads and status questions talk to."""

import contextlib
import logging
import threading
from collections.abc import Generator, Mapping
from typing import Any

from serving.model_server import labels, model_configs
from serving.model_server.labels import LabelMap
from serving.model_server.lifecycle import Lifecycle, VersionStatus, stopping
from serving.model_server.lifecycle_settings import Settings
from serving.model_server.loading import Load
from serving.model_server.model_configs import ModelConfig
from serving.model_server.polling import FileSystemPolling
from serving.model_server.servable import Servable
from serving.model_server.transition import State
from serving.status import Code, StatusError

__all__ = ["Load", "Models", "Settings", "State", "VersionStatus"]

STOP_GRACE_S = 10.0

log = logging.getLogger(__name__)


class Models:
    """All models of one server. Every method may be called from any thread, `acquire` also from an event loop."""

    def __init__(self, load: Load, settings: Settings) -> None:
        """
        Args:
            load: loads a version, warm-up included; what it raises is why the version ended.
            settings: see there.
        """
        self._settings = settings
        self._lifecycle = Lifecycle(load, settings)
        self._polling = FileSystemPolling(self._lifecycle.aspire, settings.file_system_poll_wait_seconds)
        self._labels: LabelMap | None = None
        self._models: tuple[ModelConfig, ...] = ()
        self._first = True  # no configuration has reached its versions yet
        self._turn = threading.Condition()
        self._taken = False
        self._stopping = False

    def start(self, config: Any) -> None:
        """Takes the first ModelServerConfig and waits, without limit, until each model has a version.

        It waits for ever where a base path is missing or holds no version. `stop` frees it, so it had better not run
        in the thread that takes signals. A config that isn't set starts a server without models; labels have no map
        then until the first reload.

        Raises:
            StatusError: UNKNOWN if of some model the highest version that got somewhere has failed; CANCELLED by
                `stop`; else as `reload`.
        """
        self._lifecycle.start()
        if config.WhichOneof("config") is None:
            log.info("No models configured.")
            return
        self.reload(config)

    def acquire(self, name: str, version: int | None = None, label: str | None = None) -> Servable:
        """The version that answers a request: the one with this number or label, else the highest that is available.

        The caller releases it. Takes no lock of the models, only the version's own.

        Raises:
            StatusError: INVALID_ARGUMENT for an empty name or an unknown label; NOT_FOUND if nothing fit is available;
                UNAVAILABLE for a label before the first configuration.
        """
        if not name:
            raise StatusError(Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
        if label is not None:
            version = labels.version_of(self._labels, name, label)
        while True:
            serving = self._lifecycle.serving
            servable = serving.latest.get(name) if version is None else serving.specific.get((name, version))
            if servable is None:
                request = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise StatusError(Code.NOT_FOUND, f"Servable not found for request: {request}")
            if servable.acquire():
                return servable
            # It was retired after it was looked up. It had left the map before that, so this ends.

    def statuses(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """The versions of a model, the highest first, those included that ended; or the one asked for.

        Raises:
            StatusError: NOT_FOUND if there never was one.
        """
        statuses = self._lifecycle.statuses(name)
        if version is not None:
            statuses = [status for status in statuses if status.version == version]
        if not statuses:
            what = "any versions" if version is None else f"version {version}"
            raise StatusError(Code.NOT_FOUND, f"Could not find {what} of model {name}")
        return statuses

    def reload(self, config: Any) -> None:
        """Replaces the configuration as a whole and waits, without limit, for the models that are new.

        Reloads are applied one after the other, so one that waits for ever (for a base path that is missing, say)
        holds up all later ones. Labels are looked at before versions move, which is why a version has to be available
        by an earlier reload.

        Raises:
            StatusError: INVALID_ARGUMENT or FAILED_PRECONDITION if the config is refused: versions don't move then.
                UNKNOWN if a new model has failed, INVALID_ARGUMENT for a logging_config: it is in force all the same.
                CANCELLED by `stop`.
        """
        with self._one_at_a_time():
            models = model_configs.read(config)
            model_configs.check(models, self._models)
            self._models = models
            self._labels = labels.checked(
                {model.name: model.labels for model in models},
                self._labels or {},
                self._lifecycle.is_available,
                self._settings.allow_version_labels_for_unavailable_models,
            )
            first, self._first = self._first, False
            failed = self._lifecycle.wait(self._polling.set_sources([model.source for model in models]))
            self._lifecycle.end_initial_loads()
            if failed:
                raise _unavailable("servable" if first else "model", failed)
            if any(model.logged for model in models):
                # The stock binary has no logger either (tensorflow/serving#408, #1846, #2677).
                raise StatusError(Code.INVALID_ARGUMENT, "No request-logger-creator provided.")

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Ends the threads, frees `start` and every reload that waits, and unloads all versions.

        Args:
            grace_s: seconds to wait for requests in flight and loads under way.
        """
        with self._turn:
            self._stopping = True
            self._turn.notify_all()
        self._lifecycle.stop(grace_s)
        self._polling.stop()

    @contextlib.contextmanager
    def _one_at_a_time(self) -> Generator[None]:
        """A lock, but that `stop` frees those who wait for it."""
        with self._turn:
            self._turn.wait_for(lambda: self._stopping or not self._taken)
            if self._stopping:
                raise stopping()
            self._taken = True
        try:
            yield
        finally:
            with self._turn:
                self._taken = False
                self._turn.notify_all()


def _unavailable(noun: str, failed: Mapping[tuple[str, int], StatusError]) -> StatusError:
    each = "".join(
        f"{{{{name: {name} version: {version}}} due to error: {error}}}, " for (name, version), error in failed.items()
    )
    return StatusError(Code.UNKNOWN, f"{len(failed)} {noun}(s) did not become available: {{{each}}}")
