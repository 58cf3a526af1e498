"""Simulated users: real people's records, ranked by whatever version answers; they like what they liked in real life.

A visit is a real user with some of the films that this user has rated. The gateway is asked for the scores of all, and
the visitor is shown the one with the highest: the feedback is whether the real user liked it. So a version that ranks
worse is liked less, and nothing about the answer is made up.
"""

import http.client
import itertools
import json
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.errors import InputError

LABEL = "liked"
FILMS = 6  # a visit
FEEDBACK_S = 0.25  # between two lots
PATIENCE_S = 10.0


@dataclass(frozen=True)
class Visit:
    """One request and what the visitor likes.

    Attributes:
        body: of the request, JSON.
        liked: of each film in it.
    """

    body: bytes
    liked: tuple[int, ...]


@dataclass
class Seen:
    """What users saw so far; the threads add to it under `lock`.

    Attributes:
        asked, failed: requests, and those of them without a good answer.
        complaint: about the first that failed.
        likes, shown: by variant.
    """

    asked: int = 0
    failed: int = 0
    complaint: str = ""
    likes: dict[str, int] = field(default_factory=dict)
    shown: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


def visits(spans: Sequence[Path], example: Mapping[str, Any], seed: int, most: int = 4000) -> list[Visit]:
    """Visits of the users in these spans, in a random order that the seed decides.

    Args:
        spans: folders with Parquet files of raw records.
        example: one instance that the model takes: its columns, and which of them are lists.

    Raises:
        InputError: there is no span, or a column of the model is not in it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = [file for span in spans for file in sorted(span.glob("*.parquet"))]
    if not files:
        raise InputError("there are no records to simulate users with; `make run` fetches them")
    table = pa.concat_tables([pq.read_table(file) for file in files])
    missing = sorted({*example, LABEL} - set(table.column_names))
    if missing:
        raise InputError(f"{files[0]} has no column {', '.join(missing)}; the demonstration is of the task clicks")
    of_user: dict[str, list[dict[str, Any]]] = {}
    for record in table.to_pylist():
        of_user.setdefault(record["user_id"], []).append(record)
    chance = random.Random(seed)
    able = sorted(user for user, records in of_user.items() if len(records) >= FILMS)
    return [_visit(chance.sample(of_user[chance.choice(able)], FILMS), example) for _ in range(most)]


def _visit(records: list[dict[str, Any]], example: Mapping[str, Any]) -> Visit:
    widths = {name: max(len(_listed(record[name])) for record in records) for name in example}
    instances = [{name: _fitted(record[name], example[name], widths[name]) for name in example} for record in records]
    body = json.dumps({"instances": instances}).encode()
    return Visit(body, tuple(int(record[LABEL]) for record in records))


def _fitted(value: Any, like: Any, width: int) -> Any:
    """A value as the signature wants it; lists of one request have one length, the empty text fills them up."""
    if not isinstance(like, list):
        return value
    values = _listed(value)
    return values + [""] * (width - len(values))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


class Users:
    """Visitors that come at a steady rate until `stop`."""

    def __init__(self, port: int, model: str, of: Sequence[Visit], rate: float, threads: int = 4) -> None:
        """Lets them come.

        Args:
            port: of the gateway's REST.
            rate: visits a second, all threads together.
        """
        self.seen = Seen()
        self._port, self._model = port, model
        self._ended = threading.Event()
        self._numbers = itertools.count()
        self._threads = [
            threading.Thread(target=self._come, args=(of[part::threads], threads / rate), daemon=True)
            for part in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Returns when the last one has left."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _come(self, of: Sequence[Visit], every_s: float) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        feedback: list[dict[str, Any]] = []
        due = told = time.monotonic()
        for visit in _endless(of, self._ended):
            due = max(due + every_s, time.monotonic() - 1.0)  # late ones are made up for, but not for ever
            self._ended.wait(max(0.0, due - time.monotonic()))
            feedback += self._visit(connection, visit)
            if time.monotonic() - told > FEEDBACK_S and feedback:
                told = time.monotonic()
                if self._post(connection, "/v1/feedback", json.dumps(feedback).encode(), {})[0] == 200:
                    feedback = []
        connection.close()

    def _visit(self, connection: http.client.HTTPConnection, visit: Visit) -> list[dict[str, Any]]:
        visitor = f"visitor-{next(self._numbers)}"
        path = f"/v1/models/{self._model}:predict"
        status, headers, body = self._post(connection, path, visit.body, {"x-user-id": visitor})
        variant = headers.get("x-pressline-variant", "")
        seen = self.seen
        with seen.lock:
            seen.asked += 1
            if status != 200:
                seen.failed += 1
                seen.complaint = seen.complaint or f"{status}: {body[:200]!r}"
                return []
        scores = [float(row[0]) for row in json.loads(body)["predictions"]]
        best = max(range(len(scores)), key=lambda row: scores[row] if scores[row] == scores[row] else -1.0)
        with seen.lock:
            seen.shown[variant] = seen.shown.get(variant, 0) + 1
            seen.likes[variant] = seen.likes.get(variant, 0) + visit.liked[best]
        return [{"request_id": headers["x-request-id"], "label": LABEL, "value": visit.liked[best]}]

    def _post(
        self, connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return 0, {}, repr(error).encode()


def _endless(of: Sequence[Visit], ended: threading.Event) -> Iterator[Visit]:
    while not ended.is_set():
        yield from itertools.takewhile(lambda _: not ended.is_set(), of)
