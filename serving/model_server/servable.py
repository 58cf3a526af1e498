"""One loaded version of a model, counted while requests use it."""

import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from serving.model_server.signature import Array, Signature

Feeds = Mapping[str, Array]  # tensor name -> value
Fetches = Sequence[str]  # tensor names
Run = Callable[[Feeds, Fetches, float | None], Awaitable[list[Array]]]  # the last is the time-out in seconds


class Session(Protocol):
    """What a servable needs of serving.model_server.session.SavedModelSession."""

    def run(self, feeds: Feeds, fetches: Fetches) -> list[Array]: ...

    def close(self) -> None: ...


class Servable:
    """A version that can answer.

    Whoever asks it calls `acquire` first and `release` when done, so that unloading waits for requests in flight.

    Attributes:
        name, version: of the model.
        signatures: by key.
        run: asks the model from the event loop: by way of the runner's threads, or of the batcher.
        session: asks it at once, in the calling thread (warm-up).
    """

    def __init__(
        self, name: str, version: int, signatures: Mapping[str, Signature], session: Session, run: Run
    ) -> None:
        self.name = name
        self.version = version
        self.signatures = signatures
        self.session = session
        self.run = run
        self._users = 0
        self._retired = False
        self._change = threading.Condition()

    def acquire(self) -> bool:
        """Counts one more user; False once the version is being unloaded."""
        with self._change:
            if self._retired:
                return False
            self._users += 1
            return True

    def release(self) -> None:
        """Counts one user less."""
        with self._change:
            self._users -= 1
            if self._users == 0 and self._retired:
                self._change.notify_all()

    def retire(self) -> None:
        """Refuses new users, waits without limit for the last one, then frees the model's memory."""
        with self._change:
            self._retired = True
            self._change.wait_for(lambda: self._users == 0)
        self.session.close()
