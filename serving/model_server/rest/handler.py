"""What the REST port answers: routes, models, metrics and JSON brought together."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from serving.http.message import Request, Response, page
from serving.model_server import classify, predict
from serving.model_server.metadata import signature_def_map
from serving.model_server.metrics import Metrics
from serving.model_server.models import Models, VersionStatus
from serving.model_server.predict import Plan
from serving.model_server.rest import features, json_reading, json_tensors, json_writing, routes
from serving.model_server.rest.inflate import inflate
from serving.model_server.rest.routes import Route
from serving.model_server.servable import Servable
from serving.model_server.signature import DEFAULT, Array
from serving.status import HTTP_STATUS, Code, StatusError, from_exception

log = logging.getLogger(__name__)
T = TypeVar("T")

LARGE_BYTES = 256 << 10  # bodies from here on are read in a thread
LARGE_ELEMENTS = 1 << 14  # of the outputs: answers from here on are written in a thread
LARGE_COMPRESSED_BYTES = 4 << 10  # 4 MiB inflated, at most
LARGE_AT_A_TIME = 2  # threads beside the event loop's that compete for the interpreter
_CORS = (
    b"Access-Control-Allow-Origin: *\r\n"
    b"Access-Control-Allow-Methods: POST, GET\r\n"
    b"Access-Control-Allow-Headers: Content-Type\r\n"
)


@dataclass(frozen=True)
class Options:
    """How requests are answered.

    Attributes:
        timeout_s: of a model's run; None for no limit.
        cors: whether every answer under /v1 has the headers that let pages of other origins read it.
        check_method: `--enable_signature_method_name_check`.
        metrics_path: where the metrics are; None for nowhere.
        inflated_bytes: of a compressed body; a longer one is taken for damaged.
    """

    timeout_s: float | None = 30.0
    cors: bool = False
    check_method: bool = False
    metrics_path: str | None = "/monitoring/prometheus/metrics"
    inflated_bytes: int = 100 << 20


class Handler:
    """Answers requests on one event loop."""

    def __init__(self, models: Models, metrics: Metrics, options: Options) -> None:
        self._models = models
        self._metrics = metrics
        self._options = options
        self._large = asyncio.Semaphore(LARGE_AT_A_TIME)
        self._cors_headers = _CORS if options.cors else b""
        self._headers = b"Content-Type: application/json\r\n" + self._cors_headers
        self._inference: dict[str, Callable[[Route, Request], Awaitable[bytes]]] = {
            "predict": self._predict,
            "classify": partial(self._ask_examples, classify.plan_classify, _classifications, "Classify"),
            "regress": partial(self._ask_examples, classify.plan_regress, _regressions, "Regress"),
        }

    def answer(self, request: Request) -> Response | Coroutine[Any, Any, Response]:
        """The answer to a request, or a coroutine for it where a model has to be asked. Neither raises an error."""
        began = time.perf_counter_ns()
        route = routes.find(request.method, request.target, self._options.metrics_path)
        infer = self._inference.get(route.action)
        if infer is not None:
            return self._infer(infer, route, request, began)
        if route.action == "unknown":
            return page(404)
        if route.action == "metrics":
            return self._tell_metrics(route)
        try:
            if route.action == "options":
                return self._success(route, self._allow(request), began)
            body = self._about(route)
        except Exception as error:
            return self._failure(route, error)
        return self._success(route, Response(200, self._headers, body), began)

    async def _infer(
        self, infer: Callable[[Route, Request], Awaitable[bytes]], route: Route, request: Request, began: int
    ) -> Response:
        try:
            body = await infer(route, request)
        except asyncio.CancelledError:  # the client has gone
            self._metrics.request_count.add(route.name, Code.CANCELLED.name)
            raise
        except Exception as error:
            return self._failure(route, error)
        return self._success(route, Response(200, self._headers, body), began)

    async def _predict(self, route: Route, request: Request) -> bytes:
        document, large = await self._document(request)
        name = json_reading.signature_name(document)
        servable = self._models.acquire(route.name, route.version, route.label)
        try:
            signature = servable.signatures.get(name or DEFAULT)
            if signature is None:
                raise json_reading.invalid(f'Serving signature name: "{name or DEFAULT}" not found in signature def')
            if not signature.inputs:
                raise json_reading.invalid(f"Failed to get input map for signature: {name or 'DEFAULT'}")
            if large:
                inputs, form = await self._in_thread(partial(json_tensors.read, document, signature.inputs))
            else:
                inputs, form = json_tensors.read(document, signature.inputs)
            plan = predict.plan(servable.signatures, name, inputs, check_method=self._options.check_method)
            outputs = await self._run(servable, plan, "Predict")
        finally:
            servable.release()
        if not plan.aliases:
            raise json_reading.invalid("Cannot convert empty tensor map to JSON")
        write = json_writing.predictions if form == "instances" else json_writing.outputs
        if sum([output.size for output in outputs]) < LARGE_ELEMENTS:
            return write(plan.aliases, outputs)
        return await self._in_thread(partial(write, plan.aliases, outputs))

    async def _ask_examples(
        self,
        make_plan: Callable[..., Plan],
        write: Callable[[Plan, Sequence[Array]], bytes],
        api: str,
        route: Route,
        request: Request,
    ) -> bytes:
        """Classify and regress."""
        document, large = await self._document(request)
        name = json_reading.signature_name(document)
        read = partial(features.read, document)
        serialized = await self._in_thread(read) if large else read()
        servable = self._models.acquire(route.name, route.version, route.label)
        try:
            plan = make_plan(servable.signatures, name, serialized, self._options.check_method)
            outputs = await self._run(servable, plan, api)
        finally:
            servable.release()
        return write(plan, outputs)

    async def _run(self, servable: Servable, plan: Plan, api: str) -> list[Array]:
        began = time.perf_counter_ns()
        outputs: list[Any] = await servable.run(plan.feeds, plan.fetches, self._options.timeout_s)
        took_us = (time.perf_counter_ns() - began) / 1000
        self._metrics.runtime_latency.observe(servable.name, api, "TF1", value=took_us)
        # TensorFlow hands out scalars as such, and those of strings as bytes.
        return [np.array(output, object) if type(output) is bytes else output for output in outputs]

    async def _document(self, request: Request) -> tuple[dict[str, Any], bool]:
        """The object that a request's body holds, and whether it is large."""
        body = request.body
        if b"gzip" in request.encoding:
            inflated = partial(inflate, body, self._options.inflated_bytes)
            body = inflated() if len(body) < LARGE_COMPRESSED_BYTES else await self._in_thread(inflated)
        if len(body) < LARGE_BYTES:
            return json_reading.parse(body), False
        return await self._in_thread(partial(json_reading.parse, body)), True

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """What takes long, done beside the event loop. (Parsing holds the interpreter, but only step by step.)"""
        async with self._large:
            return await asyncio.get_running_loop().run_in_executor(None, work)

    def _about(self, route: Route) -> bytes:
        """What can be told without asking a model."""
        if route.action == "status":
            return _status_json(self._models.statuses(route.name, route.version))
        if route.action == "metadata":
            servable = self._models.acquire(route.name, route.version, route.label)
            try:
                return _metadata_json(servable)
            finally:
                servable.release()
        raise json_reading.invalid(route.message)

    def _allow(self, request: Request) -> Response:
        """The answer to OPTIONS.

        Raises:
            StatusError: FAILED_PRECONDITION, no page asks.
        """
        if b"http://" not in request.origin and b"https://" not in request.origin:
            raise StatusError(Code.FAILED_PRECONDITION, "Origin header is missing in CORS preflight")
        return Response(200, self._cors_headers, b"")

    def _tell_metrics(self, route: Route) -> Response:
        if route.message:
            return Response(400, b"Content-Type: text/plain\r\n", route.message.encode())
        return Response(200, b"Content-Type: text/plain\r\n", self._metrics.exposition())

    def _success(self, route: Route, response: Response, began: int) -> Response:
        self._metrics.request_count.add(route.name, "OK")
        took_us = (time.perf_counter_ns() - began) / 1000
        self._metrics.request_latency.observe(route.name, route.method, "REST", value=took_us)
        return response

    def _failure(self, route: Route, error: Exception) -> Response:
        status = from_exception(error)
        if not isinstance(error, StatusError) and not hasattr(error, "error_code"):  # not TensorFlow's refusal either
            log.error("A request has failed because of a defect of this server.", exc_info=error)
        self._metrics.request_count.add(route.name, status.code.name)
        if route.action == "options":
            return Response(HTTP_STATUS[status.code], self._cors_headers, b"")
        return Response(HTTP_STATUS[status.code], self._headers, json_writing.error(status.message))


def _classifications(plan: Plan, outputs: Sequence[Array]) -> bytes:
    return json_writing.classifications(classify.classifications(plan, outputs))


def _regressions(plan: Plan, outputs: Sequence[Array]) -> bytes:
    return json_writing.regressions(classify.regressions(plan, outputs))


def _status_json(statuses: Sequence[VersionStatus]) -> bytes:
    """A GetModelStatusResponse in protobuf's JSON, defaults printed."""
    versions = [
        {
            "version": str(one.version),
            "state": one.state.name,
            "status": {
                "error_code": "OK" if one.error is None else one.error.code.name,
                "error_message": "" if one.error is None else one.error.message,
            },
        }
        for one in statuses
    ]
    return (json.dumps({"model_version_status": versions}, indent=1) + "\n").encode()


def _metadata_json(servable: Servable) -> bytes:
    """A GetModelMetadataResponse in protobuf's JSON with the names of the proto and defaults printed.

    As upstream makes it: the Any is unpacked, and the parts are put together as text.
    """
    from google.protobuf import json_format

    spec = {"name": servable.name, "signature_name": "", "version": str(servable.version)}
    signatures: str = json_format.MessageToJson(
        signature_def_map(servable.signatures),
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        indent=1,
    )
    text = f'{{\n"model_spec":{json.dumps(spec, indent=1)}\n,\n"metadata": {{"signature_def": {signatures}\n}}\n}}\n'
    return text.encode()
