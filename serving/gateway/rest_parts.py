"""What the REST door is put together from."""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from serving.gateway.access import Access
from serving.gateway.admission import Admission
from serving.gateway.exchange import Recorder, Routed
from serving.gateway.shadow import Shadow
from serving.gateway.upstream_connection import Answer
from serving.http.message import Request, Response
from serving.traffic_plan import TrafficPlan


class Router(Protocol):
    """serving.gateway.routing.Router."""

    def route(self, model: str, key: bytes | None, override: bytes | None) -> Routed: ...

    def fallback(self, routed: Routed) -> Routed | None: ...

    def shadow(self, routed: Routed) -> Routed | None: ...


class Upstream(Protocol):
    """serving.gateway.upstream_http.HttpUpstream."""

    def ask(
        self, method: bytes, path: bytes, headers: bytes, body: bytes, timeout_s: float
    ) -> Coroutine[Any, Any, Answer]: ...

    def answers(self) -> Coroutine[Any, Any, bool]: ...


class Watch(Protocol):
    """serving.gateway.plan_watch.PlanWatch."""

    @property
    def plan(self) -> TrafficPlan: ...


class Feedback(Protocol):
    """serving.impressions.feedback.Feedback."""

    def answer(self, request: Request) -> Coroutine[Any, Any, Response]: ...


class Counting(Protocol):
    """serving.gateway.counting.Counting."""

    def tallies(self) -> bytes: ...


class Metrics(Protocol):
    """serving.gateway.metrics.GatewayMetrics."""

    def shed(self, reason: str = ...) -> None: ...

    def page(self) -> bytes: ...


class Settings(Protocol):
    """serving.gateway.settings.Settings, whose `--help` tells what they mean."""

    @property
    def key_field(self) -> str: ...

    @property
    def timeout_s(self) -> float: ...

    @property
    def canary_time_share(self) -> float: ...

    @property
    def shadow_timeout_s(self) -> float: ...


@dataclass(frozen=True)
class Parts:
    """See the protocols.

    Attributes:
        feedback: None where no impressions are kept that it could be joined to.
    """

    router: Router
    watch: Watch
    upstream: Upstream
    recorder: Recorder
    admission: Admission
    access: Access
    feedback: Feedback | None
    counting: Counting
    metrics: Metrics
    shadow: Shadow
