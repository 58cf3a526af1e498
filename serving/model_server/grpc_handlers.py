"""What stands between grpc.aio and a service: reading and writing messages, errors as statuses, counting."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from serving.model_server.metrics import Metrics
from serving.status import Code, StatusError, from_exception

Answer = Callable[[Any, float | None], Awaitable[Any]]  # (request, seconds that the caller waits) -> response
Handler = Callable[[bytes, Any], Awaitable[bytes]]  # (request, grpc.aio.ServicerContext) -> response

log = logging.getLogger(__name__)


def handler(message: Any, answer: Answer) -> Handler:
    """A unary handler.

    Args:
        message: class of the requests.
        answer: raises what the caller is refused with: StatusError or tf.errors.OpError; whatever else it raises is a
            defect, which is logged.
    """

    async def handle(content: bytes, context: Any) -> bytes:
        try:
            request = _read(message, content)
            response: bytes = (await answer(request, context.time_remaining())).SerializeToString()
        except Exception as error:
            await _refuse(context, _status(error))
        return response

    return handle


class Measured:
    """Handlers that count their requests, and time those that succeed."""

    def __init__(self, metrics: Metrics) -> None:
        self._count = metrics.request_count.add
        self._observe = metrics.request_latency.observe

    def handler(self, api: str, message: Any, answer: Answer) -> Handler:
        """As `handler`; requests that cannot be read are not counted, as upstream.

        Args:
            api: Predict, Classify or Regress.
        """
        count, observe = self._count, self._observe
        parse, now = message.FromString, time.perf_counter_ns

        async def handle(content: bytes, context: Any) -> bytes:
            began = now()
            try:
                request = parse(content)
            except Exception:
                await _refuse(context, _unreadable(message))
            name = request.model_spec.name
            try:
                response: bytes = (await answer(request, context.time_remaining())).SerializeToString()
            except asyncio.CancelledError:
                count(name, _cancelled(context).name)
                raise
            except Exception as error:
                status = _status(error)
                count(name, status.code.name)
                await _refuse(context, status)
            count(name, "OK")
            observe(name, api, "GRPC", value=(now() - began) / 1000)
            return response

        return handle


def _read(message: Any, content: bytes) -> Any:
    try:
        return message.FromString(content)
    except Exception:
        raise _unreadable(message) from None


def _unreadable(message: Any) -> StatusError:
    return StatusError(Code.INTERNAL, f"The request is not a {message.DESCRIPTOR.full_name}.")


def _cancelled(context: Any) -> Code:
    """Why grpc.aio cancelled a handler: it does so at the deadline, too."""
    return Code.DEADLINE_EXCEEDED if context.time_remaining() == 0 else Code.CANCELLED


def _status(error: Exception) -> StatusError:
    status = from_exception(error)
    if not isinstance(error, StatusError) and not hasattr(error, "error_code"):  # not the runtime's refusal either
        log.error("A request has failed because of a defect of this server.", exc_info=error)
    return status


async def _refuse(context: Any, status: StatusError) -> NoReturn:
    import grpc

    # Were the details no UTF-8, grpc.aio would send nothing at all, and the client wait for ever.
    details = status.cut.encode("utf-8", "replace").decode()
    await context.abort(grpc.StatusCode[status.code.name], details)
    raise AssertionError("abort raises")
