"""Users who ask without a pause while the plan changes. Not a test module."""

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator, Sequence

from tests.serving.deploy.proxies import ask, caller
from tests.serving.model_server.conformance.process import until

Ask = Callable[[str], str]  # a user's key -> the variant; raises where the request failed


class Load:
    """Some clients, each with its own users and one connection that stays open.

    Attributes:
        met: user -> the variants of the answers, in order.
        failures: what went wrong.
    """

    def __init__(
        self, users: Sequence[str], clients: int, connect: Callable[[], "contextlib.AbstractContextManager[Ask]"]
    ) -> None:
        self.met: dict[str, list[str]] = {user: [] for user in users}
        self.failures: list[str] = []
        self._connect = connect
        self._rounds = [0] * clients
        self._end = threading.Event()
        shares = [users[number::clients] for number in range(clients)]
        self._threads = [threading.Thread(target=self._run, args=one) for one in enumerate(shares)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def settle(self) -> dict[str, str]:
        """Lets every user ask again, twice; what each met last."""
        before = list(self._rounds)
        # A round that has begun may still be on the plan before.
        until(lambda: all(now > then + 2 for now, then in zip(self._rounds, before, strict=True)), "all ask again", 30)
        return {user: met[-1] for user, met in self.met.items()}

    def _run(self, number: int, users: Sequence[str]) -> None:
        try:
            with self._connect() as asks:
                while not self._end.is_set():
                    for user in users:
                        self.met[user].append(asks(user))
                    self._rounds[number] += 1
        except Exception as error:
            self.failures.append(repr(error))
            self._rounds[number] += 1_000_000  # nobody shall wait for it


@contextlib.contextmanager
def load(
    users: Sequence[str], clients: int, connect: Callable[[], "contextlib.AbstractContextManager[Ask]"]
) -> Iterator[Load]:
    """Load for the length of a `with`; no request may have failed."""
    made = Load(users, clients, connect)
    made.start()
    try:
        yield made
    finally:
        made.stop()
    assert made.failures == []


@contextlib.contextmanager
def over_rest(listen: str | None) -> Iterator[Ask]:
    """Asks one proxy."""
    assert listen is not None
    client = http.client.HTTPConnection(listen, timeout=20)

    def asks(user: str) -> str:
        answer = ask(client, "/v1/models/clicks:predict", user)
        assert answer.status == 200, answer
        return answer.variant

    with contextlib.closing(client):
        yield asks


@contextlib.contextmanager
def over_grpc(listen: str | None) -> Iterator[Ask]:
    """Asks one proxy."""
    with caller(listen) as client:
        yield lambda user: client.call(user)[1]["x-pressline-variant"]
