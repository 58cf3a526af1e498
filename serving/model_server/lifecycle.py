"""The threads that move versions: one that acts, one for each load and one for each unload under way.

All state is behind one lock, which is never held while a model is loaded or freed. Requests don't take it: they read
`Lifecycle.serving`, a snapshot that is replaced as a whole.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from serving.model_server import transition
from serving.model_server.lifecycle_settings import Settings
from serving.model_server.loading import Load, free, load_with_retries
from serving.model_server.servable import Servable
from serving.model_server.transition import Action, Kind, State
from serving.status import Code, StatusError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VersionStatus:
    """What clients see of a version.

    Attributes:
        version: its number.
        state: where it is in its life.
        error: why it ended, if that was a failure.
    """

    version: int
    state: State
    error: StatusError | None = None


@dataclass(frozen=True)
class ServingMap:
    """What can answer now.

    Attributes:
        latest: model -> its highest available version.
        specific: (model, version) -> that version.
    """

    latest: Mapping[str, Servable] = field(default_factory=dict)
    specific: Mapping[tuple[str, int], Servable] = field(default_factory=dict)


@dataclass
class _Version(transition.Version):
    name: str = ""
    directory: str = ""
    servable: Servable | None = None
    error: StatusError | None = None
    cancelled: threading.Event = field(
        default_factory=threading.Event
    )  # nobody wants it, or the server stops: no use loading

    def __str__(self) -> str:
        return f"{self.name} version {self.number}"


def stopping() -> StatusError:
    """What those get who wait for something while the server stops."""
    return StatusError(Code.CANCELLED, "The model server is stopping.")


class Lifecycle:
    """Versions of all models, on their way to what is aspired.

    Attributes:
        serving: a snapshot, replaced atomically. A version is in it before it is published as AVAILABLE, and leaves it
            after it is published as UNLOADING and before it refuses users: whoever finds it retired looks again.
    """

    def __init__(self, load: Load, settings: Settings) -> None:
        self.serving = ServingMap()
        self._load = load
        self._settings = settings
        self._load_threads = max(settings.max_initial_load_threads, 1)
        self._change = threading.Condition()
        self._versions: dict[str, dict[int, _Version]] = {}
        self._postponed: dict[str, Mapping[int, str]] = {}
        self._statuses: dict[str, dict[int, VersionStatus]] = {}
        self._loading = 0
        self._unloading = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._act_for_ever, name="lifecycle", daemon=True)

    def start(self) -> None:
        """Starts acting."""
        self._thread.start()

    def end_initial_loads(self) -> None:
        """From now on `num_load_threads` counts; loads under way go on."""
        with self._change:
            self._load_threads = self._settings.num_load_threads
            self._change.notify_all()

    def aspire(self, name: str, directories: Mapping[int, str]) -> None:
        """Makes these the versions that a model should have: version -> directory.

        What is loaded stays, also where its directory is another now. Retries of a version left out end at once.
        """
        with self._change:
            if not self._stopping:
                self._postponed[name] = directories
                self._aspire_postponed()
                self._change.notify_all()

    def statuses(self, name: str) -> list[VersionStatus]:
        """Every version of a model that ever was, as published, the highest first."""
        with self._change:
            statuses = self._statuses.get(name, {})
            return [statuses[number] for number in sorted(statuses, reverse=True)]

    def is_available(self, name: str, version: int) -> bool:
        """Whether a version is published as AVAILABLE."""
        with self._change:
            status = self._statuses.get(name, {}).get(version)
            return status is not None and status.state is State.AVAILABLE

    def wait(self, names: Collection[str]) -> dict[tuple[str, int], StatusError]:
        """Waits, without limit, until each model has an aspired version that is available or has failed.

        Returns:
            For the models whose highest such version has failed: (model, version) -> why, sorted.

        Raises:
            StatusError: CANCELLED if the server stops meanwhile.
        """
        with self._change:
            self._change.wait_for(lambda: self._stopping or all(self._outcome(name) for name in names))
            if self._stopping:
                raise stopping()
            outcomes = [outcome for name in sorted(names) if (outcome := self._outcome(name))]
        return {(each.name, each.number): each.error for each in outcomes if each.error is not None}

    def stop(self, grace_s: float) -> None:
        """Ends the threads and frees all models.

        Args:
            grace_s: seconds to wait for loads under way and for requests in flight; what is busy after that is left
                to the end of the process.
        """
        until = time.monotonic() + grace_s
        with self._change:
            self._stopping = True
            for version in self._all():
                version.cancelled.set()
            self._change.notify_all()
        if self._thread.is_alive():
            self._thread.join(grace_s)
        with self._change:
            for version in self._all():
                if version.state is State.AVAILABLE:
                    self._begin_unload(version)
            left = max(until - time.monotonic(), 0)
            if not self._change.wait_for(lambda: self._loading + self._unloading == 0, left):
                log.warning("Stopped while %d loads and %d unloads were under way", self._loading, self._unloading)

    def _act_for_ever(self) -> None:
        while True:
            with self._change:
                if self._stopping:
                    return
                self._aspire_postponed()
                version = self._next()
                here = version is not None and self._begin(version)
                if not here:  # all that could make a step possible is notified, so an idle server never wakes up
                    self._change.wait(None if version is None else self._settings.tick_seconds)
            if version is not None and here:
                self._load_version(version)

    # Below, `_change` is held, unless it is said otherwise.

    def _aspire_postponed(self) -> None:
        for versions in self._versions.values():
            for gone in transition.flush(versions):
                if gone.state is State.START:  # never begun: nothing else would end it for those who watch
                    gone.state = State.END
                    self._publish(gone)
        self._postponed = {name: wanted for name, wanted in self._postponed.items() if not self._aspire(name, wanted)}

    def _aspire(self, name: str, directories: Mapping[int, str]) -> bool:
        def make(number: int) -> _Version:
            version = _Version(number, name=name, directory=directories[number])
            self._publish(version)
            return version

        versions = self._versions.setdefault(name, {})
        if not transition.aspire(versions, directories.keys(), make):
            return False
        for version in versions.values():
            if not version.aspired:
                version.cancelled.set()
        return True

    def _next(self) -> _Version | None:
        """The version that a step is to be taken with, if there is one that can be taken now."""
        actions: dict[str, Action] = {}
        for name, versions in self._versions.items():
            action = transition.next_action(versions.values())
            if action is not None:
                actions[name] = action
        chosen = transition.choose(actions)
        if chosen is None:
            return None
        if actions[chosen].kind is Kind.LOAD and self._loading >= max(self._load_threads, 1):
            return None
        return self._versions[chosen][actions[chosen].number]

    def _begin(self, version: _Version) -> bool:
        """Takes the next step with it; True if the calling thread has to load it."""
        if version.state is State.AVAILABLE:
            self._begin_unload(version)
            return False
        self._loading += 1
        version.state = State.LOADING
        self._publish(version)
        if self._load_threads == 0:
            return True
        _in_thread(self._load_version, version, "load")
        return False

    def _begin_unload(self, version: _Version) -> None:
        self._unloading += 1
        version.state = State.UNLOADING
        self._publish(version)
        self._replace_serving()
        _in_thread(self._unload_version, version, "unload")

    def _publish(self, version: _Version) -> None:
        status = VersionStatus(version.number, version.state, version.error)
        self._statuses.setdefault(version.name, {})[version.number] = status
        log.info("%s is in state %s", version, version.state.name)
        self._change.notify_all()

    def _replace_serving(self) -> None:
        latest: dict[str, Servable] = {}
        specific: dict[tuple[str, int], Servable] = {}
        for version in sorted(self._all(), key=lambda each: each.number):
            if version.state is State.AVAILABLE and version.servable is not None:
                latest[version.name] = version.servable
                specific[version.name, version.number] = version.servable
        self.serving = ServingMap(latest, specific)

    def _outcome(self, name: str) -> _Version | None:
        """The highest version that a waiter takes for the answer.

        Versions that are not aspired don't count: a model that was removed and comes back is not available by the
        version that is on its way out.
        """
        ended = (State.AVAILABLE, State.END)
        versions = self._versions.get(name, {}).values()
        reached = [each for each in versions if each.aspired and each.state in ended]
        return max(reached, key=lambda each: each.number, default=None)

    def _all(self) -> Iterable[_Version]:
        return [version for versions in self._versions.values() for version in versions.values()]

    # Below, `_change` is not held.

    def _load_version(self, version: _Version) -> None:
        loaded = load_with_retries(
            lambda: self._load(version.name, version.number, version.directory),
            str(version),
            self._settings.max_num_load_retries,
            self._settings.load_retry_interval_micros / 1e6,
            version.cancelled,
        )
        if not isinstance(loaded, StatusError):
            with self._change:
                if not version.cancelled.is_set():
                    version.servable, version.state = loaded, State.AVAILABLE
                    self._replace_serving()
                    self._loading -= 1
                    self._publish(version)
                    return
            free(loaded, str(version))  # nobody wants it any more, so it does not serve for even a moment
            loaded = StatusError(Code.CANCELLED, "Loading of servable cancelled")
        with self._change:
            version.state, version.error = State.END, loaded
            self._loading -= 1
            self._publish(version)

    def _unload_version(self, version: _Version) -> None:
        servable, version.servable = version.servable, None
        error = free(servable, str(version)) if servable is not None else None
        with self._change:
            version.state, version.error = State.END, error
            self._unloading -= 1
            self._publish(version)


def _in_thread(target: Callable[[_Version], None], version: _Version, what: str) -> None:
    name = f"{what}-{version.name}-{version.number}"
    threading.Thread(target=target, args=(version,), name=name, daemon=True).start()
