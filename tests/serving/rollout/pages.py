"""A status page of a made-up controller, and what it says. Not a test module."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from serving.rollout.report import ModelFacts, ReplicaFacts
from serving.rollout.status_page import StatusPage
from serving.rollout.store import Store

LIMIT_S = 30
FACTS = ModelFacts(
    steps=3,
    share=0.25,
    shadow=0.5,
    outcome="inconclusive",
    reason="82 of 200 samples",
    evidence={"samples": {"canary": 82}, "p": 0.31},
    replicas=(ReplicaFacts("10.0.0.1:8500", True, False, {7: "AVAILABLE", 8: "LOADING"}, "slow"),),
)


@dataclass
class Facts:
    """status_page.Live."""

    known: dict[str, ModelFacts] = field(default_factory=dict)
    here: bool = True

    def leads(self) -> bool:
        return self.here

    def facts(self, model: str) -> ModelFacts | None:
        return self.known.get(model)


@dataclass(frozen=True)
class Heard:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        return json.loads(self.body)


@contextmanager
def page(store: Store, facts: Facts | None = None, token: bytes | None = None) -> Iterator[int]:
    with StatusPage(store, facts or Facts({"clicks": FACTS}), token, port=0) as served:
        yield served.port


def ask(port: int, path: str, body: bytes | None = None, method: str | None = None, **headers: str) -> Heard:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return Heard(answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Heard(error.code, dict(error.headers), error.read())
