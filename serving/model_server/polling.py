"""What is looked at again and again: the models' base paths, and the file with the server's configuration."""

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from serving.model_server.aspired import Source, poll
from serving.status import Code, from_exception

STOP_LIMIT_S = (
    5.0  # for a look that is under way; its thread is a daemon, so a hanging file system does not hold the exit
)

log = logging.getLogger(__name__)


class FileSystemPolling:
    """The thread that looks at base paths and says which versions are wanted."""

    def __init__(self, aspire: Callable[[str, Mapping[int, str]], None], wait_seconds: float) -> None:
        """
        Args:
            aspire: told, per model, its versions and their directories.
            wait_seconds: between two looks; 0 looks once, at the first sources, less never.
        """
        self._aspire = aspire
        self._wait_seconds = wait_seconds
        self._sources: tuple[Source, ...] = ()
        self._looking = threading.Lock()
        self._soon = threading.Event()
        self._stopped = False
        self._said: set[tuple[int, str]] = set()
        self._thread = threading.Thread(target=self._look_for_ever, name="file-system-polling", daemon=True)

    def set_sources(self, sources: Sequence[Source]) -> set[str]:
        """Looks at these from now on, at once; the models that are no longer among them want nothing any more.

        A look under way ends first: it must not bring back a model that is being removed.

        Returns:
            The names that are new.
        """
        with self._looking:
            before = {source.name for source in self._sources}
            now = {source.name for source in sources}
            for name in sorted(before - now):
                self._aspire(name, {})
            self._sources = tuple(sources)
            self._soon.set()
            new = now - before
            if self._thread.ident is None and not self._stopped and self._wait_seconds >= 0:
                self._thread.start()
            elif self._wait_seconds <= 0 and new:
                log.warning(
                    "Nothing looks for versions of %s: file_system_poll_wait_seconds is %g: base paths are read %s",
                    ", ".join(sorted(new)),
                    self._wait_seconds,
                    "once" if self._wait_seconds == 0 else "never",
                )
        return new

    def stop(self) -> None:
        """Ends the thread."""
        self._stopped = True
        self._soon.set()
        if self._thread.is_alive():
            self._thread.join(STOP_LIMIT_S)

    def _look_for_ever(self) -> None:
        while not self._stopped:
            self._soon.clear()
            with self._looking:
                self._look()
            if self._wait_seconds == 0:
                return
            self._soon.wait(self._wait_seconds)

    def _look(self) -> None:
        lines: set[tuple[int, str]] = set()
        try:
            aspired = poll(self._sources)
        except Exception as raised:  # with a file system anything may be wrong, and the next look is another try
            lines.add((logging.ERROR, from_exception(raised).message))
        else:
            for name, wanted in aspired.items():
                self._aspire(name, wanted.directories)
                lines.update((logging.WARNING, warning) for warning in wanted.warnings)
        self._say(lines)

    def _say(self, lines: Collection[tuple[int, str]]) -> None:
        """Logs what is not as it was at the last look; TF Serving repeats it each second."""
        for level, line in sorted(lines):
            if (level, line) not in self._said:
                log.log(level, "%s", line)
        self._said = set(lines)


class ConfigPoller:
    """The thread that reads the configuration file again and applies it like a reload, also when it is unchanged.

    Errors are only logged, and the next time is another try: so a label that waits for its version takes effect by
    itself. A configuration that came by a reload request is overwritten.
    """

    def __init__(self, read: Callable[[], Any], apply: Callable[[Any], None], wait_seconds: float) -> None:
        """
        Args:
            read: the ModelServerConfig as it is now.
            apply: Models.reload.
            wait_seconds: before the first time and between two; 0 or less never reads.
        """
        self._read = read
        self._apply = apply
        self._wait_seconds = wait_seconds
        self._stopped = threading.Event()
        self._said: str | None = None
        self._thread = threading.Thread(target=self._poll_for_ever, name="config-polling", daemon=True)

    def start(self) -> None:
        """Starts reading."""
        if self._wait_seconds > 0:
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread. A reload that hangs is freed by Models.stop, so that goes first."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(STOP_LIMIT_S)

    def _poll_for_ever(self) -> None:
        while not self._stopped.wait(self._wait_seconds):
            error: str | None = None
            try:
                self._apply(self._read())
            except Exception as raised:  # whatever is wrong with the file, the server goes on with what it has
                status = from_exception(raised)
                if status.code is Code.CANCELLED:  # the server stops
                    return
                error = str(status)
            if error is not None and error != self._said:
                log.error("The model config file is not applied: %s", error)
            self._said = error
