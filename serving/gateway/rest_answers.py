"""What the REST door itself says, and how it reads HTTP's status codes."""

import orjson

from serving.gateway.access import CHALLENGE
from serving.gateway.admission import RETRY_AFTER_S
from serving.gateway.upstream_connection import Answer
from serving.http.message import Response
from serving.status import HTTP_STATUS, Code, StatusError

OK = Code.OK.name
JSON, TEXT = b"Content-Type: application/json\r\n", b"Content-Type: text/plain\r\n"
CORS = (
    b"Access-Control-Allow-Origin: *\r\n"
    b"Access-Control-Allow-Methods: POST, GET\r\n"
    b"Access-Control-Allow-Headers: Content-Type, Authorization, X-User-Id, X-Request-Id, X-Pressline-Variant\r\n"
    b"Access-Control-Expose-Headers: X-Request-Id, X-Pressline-Version, X-Pressline-Variant\r\n"
)
_RETRY_AFTER = b"Retry-After: %d\r\n" % RETRY_AFTER_S
_MORE = {
    Code.RESOURCE_EXHAUSTED: _RETRY_AFTER,
    Code.UNAVAILABLE: _RETRY_AFTER,
    Code.UNAUTHENTICATED: CHALLENGE,
}
_NAMES = {status: code.name for code, status in HTTP_STATUS.items()} | {
    400: Code.INVALID_ARGUMENT.name,
    409: Code.ABORTED.name,
    500: Code.INTERNAL.name,
    502: Code.UNAVAILABLE.name,  # of a proxy before the model server
}
_NAMES_BY_CLASS = {2: OK, 4: Code.INVALID_ARGUMENT.name, 5: Code.INTERNAL.name}


def code_name(status: int) -> str:
    """The gRPC status code that goes with an HTTP status; of several the one that clients of TF Serving meet most."""
    return _NAMES.get(status) or _NAMES_BY_CLASS.get(status // 100, Code.UNKNOWN.name)


def failure(error: StatusError) -> Answer:
    """An error as TF Serving writes it, with what its status asks for: Retry-After, WWW-Authenticate."""
    body = b'{\n    "error": ' + orjson.dumps(error.message.encode("utf-8", "replace").decode()) + b"\n}"
    return Answer(HTTP_STATUS[error.code], JSON + _MORE.get(error.code, b""), body)


def not_allowed(method: str) -> Response:
    """To another method than the only one that there is."""
    return Response(405, TEXT + b"Allow: %b\r\n" % method.encode(), b"Only %b is answered here\n" % method.encode())
