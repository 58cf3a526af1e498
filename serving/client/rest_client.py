"""The client for TensorFlow Serving's REST API; imports neither TensorFlow nor gRPC."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from urllib.parse import quote

import orjson
import urllib3

from serving.client import TIMEOUT_S, Metadata, Prediction, Version, rest_json
from serving.client.retry import RETRY, Retry
from serving.model_server.signature import DEFAULT, Array
from serving.status import Code, StatusError

CONNECTIONS = 16  # kept open; more threads than that open further ones for a single request
FRESH_S = 30.0  # how long the signatures of a version that wasn't named by its number are believed
CODES: Mapping[int, Code] = MappingProxyType(
    {
        400: Code.INVALID_ARGUMENT,
        401: Code.UNAUTHENTICATED,
        403: Code.PERMISSION_DENIED,
        404: Code.NOT_FOUND,
        409: Code.ABORTED,
        429: Code.RESOURCE_EXHAUSTED,
        499: Code.CANCELLED,
        500: Code.INTERNAL,
        501: Code.UNIMPLEMENTED,
        502: Code.UNAVAILABLE,  # a proxy's
        503: Code.UNAVAILABLE,
        504: Code.DEADLINE_EXCEEDED,
    }
)


class RestClient:
    """serving.client.Client over HTTP, with connections that are kept open.

    HTTP has fewer status codes than gRPC: FAILED_PRECONDITION and OUT_OF_RANGE come back as INVALID_ARGUMENT,
    ALREADY_EXISTS as ABORTED, UNKNOWN and DATA_LOSS as INTERNAL. The deadline bounds the wait for each piece of an
    answer: a server that sends single bytes can take longer.
    """

    def __init__(self, url: str, *, retry: Retry = RETRY, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            url: `http://host:8501`.
            clock: seconds, for the age of signatures.
        """
        self._models = f"{url.rstrip('/')}/v1/models/"
        self._pool = urllib3.PoolManager(maxsize=CONNECTIONS, retries=False)
        self._retry = retry
        self._clock = clock
        self._signatures: dict[str, tuple[Metadata, float]] = {}

    def predict(
        self,
        model: str,
        inputs: Mapping[str, Array],
        *,
        version: int | None = None,
        label: str | None = None,
        signature: str | None = None,
        output_filter: Sequence[str] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> Prediction:
        """See Client; the server computes and sends every output, `output_filter` picks from them here."""
        path = _path(model, version, label)
        body = rest_json.encode(inputs, signature)
        end = self._clock() + timeout_s
        content = self._ask("POST", f"{path}:predict", body, timeout_s)
        outputs = self._decoded(content, path, signature or DEFAULT, end, forever=version is not None)
        for alias in output_filter:
            if alias not in outputs:
                said = f"output tensor alias not found in signature: {alias} "
                expected = f"Outputs expected to be in the set {{{','.join(outputs)}}}."
                raise StatusError(Code.INVALID_ARGUMENT, said + expected)
        return Prediction({alias: outputs[alias] for alias in output_filter or outputs}, version)

    def status(self, model: str, *, version: int | None = None, timeout_s: float = TIMEOUT_S) -> tuple[Version, ...]:
        """See Client."""
        return rest_json.versions(self._ask("GET", _path(model, version, None), None, timeout_s))

    def metadata(
        self, model: str, *, version: int | None = None, label: str | None = None, timeout_s: float = TIMEOUT_S
    ) -> Metadata:
        """See Client."""
        return self._metadata(_path(model, version, label), timeout_s)

    def close(self) -> None:
        """See Client."""
        self._pool.clear()

    def _decoded(self, content: bytes, path: str, signature: str, end: float, *, forever: bool) -> dict[str, Array]:
        """What the server answered, by the signatures that are known, or by new ones where those do not fit."""
        known, since = self._signatures.get(path, (None, 0.0))
        if known is not None and (forever or self._clock() - since < FRESH_S):
            with contextlib.suppress(StatusError):  # another version answered than the one that they are of
                return rest_json.decode(content, rest_json.outputs(known, signature))
        known = self._metadata(path, end - self._clock())
        self._signatures[path] = known, self._clock()
        return rest_json.decode(content, rest_json.outputs(known, signature))

    def _metadata(self, path: str, timeout_s: float) -> Metadata:
        return rest_json.metadata(self._ask("GET", f"{path}/metadata", None, timeout_s))

    def _ask(self, method: str, path: str, body: bytes | None, timeout_s: float) -> bytes:
        return self._retry.call(lambda left_s: self._try(method, self._models + path, body, left_s), timeout_s)

    def _try(self, method: str, url: str, body: bytes | None, left_s: float) -> bytes:
        try:
            timeout = urllib3.Timeout(total=left_s)
            answer = self._pool.request(method, url, body=body, timeout=timeout, redirect=False)
        except urllib3.exceptions.NewConnectionError as error:  # it is a TimeoutError to urllib3
            raise StatusError(Code.UNAVAILABLE, f"{url}: {error}") from error
        except urllib3.exceptions.TimeoutError as error:
            raise StatusError(Code.DEADLINE_EXCEEDED, f"{url}: {error}") from error
        except urllib3.exceptions.LocationValueError as error:
            raise StatusError(Code.INVALID_ARGUMENT, f"{url}: {error}") from error
        except urllib3.exceptions.HTTPError as error:
            raise StatusError(Code.UNAVAILABLE, f"{url}: {error}") from error
        if answer.status == 200:
            return answer.data
        raise StatusError(CODES.get(answer.status, Code.UNKNOWN), _reason(answer.status, answer.data))


def _path(model: str, version: int | None, label: str | None) -> str:
    if version is not None and label is not None:
        raise StatusError(Code.INVALID_ARGUMENT, f"Ask for version {version} or for label {label}, not for both.")
    if version is not None:
        return f"{quote(model, safe='')}/versions/{version}"
    return quote(model, safe="") + (f"/labels/{quote(label, safe='')}" if label is not None else "")


def _reason(http_status: int, content: bytes) -> str:
    """The server's message, or the start of what came where that isn't TF Serving's JSON."""
    try:
        error = orjson.loads(content)["error"]
    except (ValueError, TypeError, KeyError):
        error = None
    return error if isinstance(error, str) else f"HTTP {http_status}: {content[:200].decode('utf-8', 'replace')}"
