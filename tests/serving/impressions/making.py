"""Exchanges, and a recorder's counts that remember, for the tests of the log."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from serving.gateway.exchange import Exchange, Routed
from serving.http.message import Request, Response

T0 = 1_700_000_000  # 2023-11-14T22:13:20Z
HOUR = "date=2023-11-14/hour=22"
ROUTED = Routed(
    model="clicks", variant="stable", version=3, label="stable", how="key", key_hash=7, rollout=5, step=1, copy=False
)
EXCHANGE = Exchange(
    routed=ROUTED,
    request_id="r-1",
    protocol="REST",
    api="predict",
    began_unix_s=float(T0),
    latency_s=0.002,
    code="OK",
    version=3,
    request=b'{"instances": [{"x": 1}]}',
    response=b'{"predictions": [0.25]}',
)


def exchange(request_id: str = "r-1", **changes: Any) -> Exchange:
    """A successful REST request of stable's, changed; `routed` may be a dict of changes itself."""
    routed = replace(ROUTED, **changes.pop("routed", {}))
    return replace(EXCHANGE, request_id=request_id, routed=routed, **changes)


class Counts:
    """What a recorder told, in place of Counting."""

    def __init__(self) -> None:
        self.counted: list[Exchange] = []
        self.numbers: list[tuple[Exchange, NDArray[np.float64]]] = []
        self.dropped: Counter[str] = Counter()

    def count(self, exchange: Exchange) -> None:
        self.counted.append(exchange)

    def predictions(self, exchange: Exchange, numbers: NDArray[np.float64]) -> None:
        self.numbers.append((exchange, numbers))

    def drop(self, count: int, reason: str) -> None:
        self.dropped[reason] += count


def wait_for(condition: Callable[[], object], limit_s: float = 30.0) -> None:
    """Until it is so."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def post(body: Any, encoding: bytes = b"", method: str = "POST") -> Request:
    """A request to /v1/feedback; the body is bytes, or anything that JSON can carry."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return Request(method, b"/v1/feedback", content, encoding, b"")


def answered(asked: Coroutine[Any, Any, Response]) -> tuple[int, Any]:
    """(status, JSON of the body)"""
    response = asyncio.run(asked)
    return response.status, orjson.loads(response.body)
