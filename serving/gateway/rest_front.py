"""The REST door: TF Serving's routes, and a variant for each request that names neither version nor label.

Bodies pass as they came, both ways; only the path is rewritten. Beside the model servers' routes there are
POST /v1/feedback, GET /v1/tallies, GET /metrics, GET /healthz and GET /readyz.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import lru_cache, partial
from typing import Any

from serving.gateway.admission import Refusal
from serving.gateway.exchange import Routed
from serving.gateway.metrics import CONTENT_TYPE
from serving.gateway.request_id import request_id
from serving.gateway.rest_answers import CORS, JSON, TEXT, failure, not_allowed
from serving.gateway.rest_inference import Inference, ask
from serving.gateway.rest_key import key_in
from serving.gateway.rest_parts import Parts, Settings
from serving.gateway.rest_paths import placed
from serving.gateway.upstream_connection import Answer
from serving.http.message import Request, Response, page
from serving.model_server.rest import routes
from serving.model_server.rest.inflate import inflate
from serving.model_server.rest.routes import Route
from serving.status import Code, StatusError

_KEY, _VARIANT, _ID, _AUTHORIZATION = b"x-user-id", b"x-pressline-variant", b"x-request-id", b"authorization"
KEEP = (_KEY, _VARIANT, _ID, _AUTHORIZATION)  # headers that serving.http.server shall keep
INFLATED_BYTES = 100 << 20  # of a compressed body, at most: TF Serving's own limit
LARGE_COMPRESSED_BYTES = 4 << 10  # from here on inflated in a thread

_PAGE = b"Content-Type: %b\r\n" % CONTENT_TYPE.encode()

_Answered = Response | Coroutine[Any, Any, Response]
_Work = Callable[[Route, Request], Coroutine[Any, Any, Response]]


class RestFront:
    """Answers requests on one event loop."""

    def __init__(self, parts: Parts, settings: Settings, *, cors: bool = False) -> None:
        """
        Args:
            cors: whether pages of other origins may read what is said under /v1.
        """
        self._parts = parts
        self._settings = settings
        self._cors = CORS if cors else b""
        self._work: dict[str, _Work] = {"status": self._tell, "metadata": self._tell}
        self._work |= dict.fromkeys(("predict", "classify", "regress"), self._infer)
        self._own: dict[bytes, tuple[str, Callable[[Request], _Answered]]] = {
            b"/v1/feedback": ("POST", self._feedback),
            b"/v1/tallies": ("GET", lambda _: Response(200, JSON, parts.counting.tallies())),
            b"/metrics": ("GET", lambda _: Response(200, _PAGE, parts.metrics.page())),
            b"/healthz": ("GET", lambda _: Response(200, TEXT, b"alive\n")),
            b"/readyz": ("GET", lambda _: self._ready()),
        }

    def answer(self, request: Request) -> _Answered:
        """The answer to a request, or a coroutine for it."""
        route = routes.find(request.method, request.target)
        work = self._work.get(route.action)
        if work is not None:
            return self._admitted(work, route, request)
        if route.action == "options":
            return Response(200, self._cors, b"")
        own = self._own.get(request.target.partition(b"?")[0])
        if own is not None:
            method, answer = own
            right = request.method == method or (request.method == "HEAD" and method == "GET")
            return answer(request) if right else not_allowed(method)
        if route.action == "unknown":
            return page(404)
        return self._failure(StatusError(Code.INVALID_ARGUMENT, route.message), request)

    async def _admitted(self, work: _Work, route: Route, request: Request) -> Response:
        admission = self._parts.admission
        size_bytes = len(request.body) + (_inflated_bytes(request) if request.encoding else 0)
        refusal = admission.enter(size_bytes)
        if refusal is not None:
            return self._shed(refusal, request)
        try:
            return await work(route, request)
        finally:
            admission.leave(size_bytes)

    async def _infer(self, route: Route, request: Request) -> Response:
        name = _id(request)
        plain = await _inflated(request) if request.encoding else request.body
        try:
            routed = self._route(route, request, plain)
        except StatusError as error:
            return self._response(failure(error), name)
        inference = Inference(self._parts, request, route.action, name, plain)
        answer, answered = await inference.answer(routed, self._settings)
        if routed.copy and answer.status == 200:
            self._parts.shadow.run(partial(inference.copy, routed, self._settings.shadow_timeout_s))
        return self._response(answer, name, _variant_lines(answered.variant, answered.version))

    def _route(self, route: Route, request: Request, plain: bytes) -> Routed:
        """Where an inference goes.

        Raises:
            StatusError: its override or its key is refused.
        """
        if route.version is not None or route.label is not None:
            return Routed(route.name, "", route.version, route.label, "unplanned", None, None, 0, False)
        key, field = request.headers.get(_KEY), self._settings.key_field
        if not key and field:
            key = key_in(plain, field)
        return self._parts.router.route(route.name, key, request.headers.get(_VARIANT))

    async def _tell(self, route: Route, request: Request) -> Response:
        """Status, which is of all versions; and metadata, of stable where the request does not say of what."""
        target = request.target
        if route.action == "metadata" and route.version is None and route.label is None:
            target = placed(target, self._parts.router.route(route.name, None, b"stable"))
        answer = await ask(self._parts.upstream, b"GET", target, b"", b"", self._settings.timeout_s)
        return self._response(answer, _id(request))

    async def _feedback(self, request: Request) -> Response:
        parts = self._parts
        if not parts.access.allows(request.headers.get(_AUTHORIZATION)):
            message = "Feedback needs the bearer token in the header authorization"
            return self._failure(StatusError(Code.UNAUTHENTICATED, message), request)
        if parts.feedback is None:
            message = "This gateway keeps no impressions that feedback could belong to"
            return self._failure(StatusError(Code.UNIMPLEMENTED, message), request)
        refusal = parts.admission.enter(len(request.body))
        if refusal is not None:
            return self._shed(refusal, request)
        try:
            answer = await parts.feedback.answer(request)
        finally:
            parts.admission.leave(len(request.body))
        return answer._replace(headers=answer.headers + self._cors)

    async def _ready(self) -> Response:
        plan = self._parts.watch.plan
        if self._parts.admission.closed:
            return Response(503, TEXT, b"The gateway is stopping\n")
        if not plan.generation and not plan.models:
            return Response(503, TEXT, b"No traffic plan has been read yet\n")
        if not await self._parts.upstream.answers():
            return Response(503, TEXT, b"No model server answers\n")
        return Response(200, TEXT, b"ready\n")

    def _shed(self, refusal: Refusal, request: Request) -> Response:
        self._parts.metrics.shed()
        return self._failure(StatusError(refusal.code, refusal.message), request)

    def _failure(self, error: StatusError, request: Request) -> Response:
        return self._response(failure(error), _id(request))

    def _response(self, answer: Answer, name: str, variant: bytes = b"") -> Response:
        own = b"X-Request-Id: %b\r\n%b%b" % (name.encode(), variant, self._cors)
        return Response(answer.status, answer.headers + own, answer.body)


def _id(request: Request) -> str:
    return request_id(request.headers.get(_ID))


@lru_cache(256)
def _variant_lines(variant: str, version: int | None) -> bytes:
    if not variant:
        return b""
    return f"X-Pressline-Version: {version}\r\nX-Pressline-Variant: {variant}\r\n".encode()


def _inflated_bytes(request: Request) -> int:
    """How long a compressed body says it is, 0 where it is not compressed or says what is not allowed.

    The claim is the stream's last word, so that memory can be counted before it is used; a body that is longer than it
    says is damaged.
    """
    claimed = int.from_bytes(request.body[-4:], "little") if b"gzip" in request.encoding else 0
    return claimed if claimed <= INFLATED_BYTES else 0


async def _inflated(request: Request) -> bytes:
    """The body as it was before it was compressed; empty where it is damaged, which the model server will say."""
    if b"gzip" not in request.encoding:
        return request.body
    work = partial(inflate, request.body, _inflated_bytes(request))
    return work() if len(request.body) < LARGE_COMPRESSED_BYTES else await asyncio.to_thread(work)
