"""The one error family of the model server: TensorFlow's status codes with the text that a client will read."""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

LONGEST_BYTES = 1024  # of a message over gRPC; TF Serving cuts what is longer
TRUNCATED = "...TRUNCATED"


class Code(enum.IntEnum):
    """TensorFlow's error codes; gRPC's status codes have the same numbers."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


HTTP_STATUS: Mapping[Code, int] = MappingProxyType(
    {
        Code.OK: 200,
        Code.CANCELLED: 499,
        Code.INVALID_ARGUMENT: 400,
        Code.FAILED_PRECONDITION: 400,
        Code.OUT_OF_RANGE: 400,
        Code.UNAUTHENTICATED: 401,
        Code.PERMISSION_DENIED: 403,
        Code.NOT_FOUND: 404,
        Code.ALREADY_EXISTS: 409,
        Code.ABORTED: 409,
        Code.RESOURCE_EXHAUSTED: 429,
        Code.UNIMPLEMENTED: 501,
        Code.UNAVAILABLE: 503,
        Code.DEADLINE_EXCEEDED: 504,
        Code.UNKNOWN: 500,
        Code.INTERNAL: 500,
        Code.DATA_LOSS: 500,
    }
)


class StatusError(Exception):
    """A request, a load or a start that failed.

    Attributes:
        code: never OK.
        message: for the client, whole; `cut` shortens it where the protocol wants that.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        """As TensorFlow prints a status: `INVALID_ARGUMENT: what is wrong`."""
        return f"{self.code.name}: {self.message}"

    @property
    def cut(self) -> str:
        """The message as gRPC carries it: at most 1024 bytes of UTF-8, then a mark."""
        content = self.message.encode("utf-8", "replace")
        if len(content) <= LONGEST_BYTES:
            return self.message
        return content[:LONGEST_BYTES].decode("utf-8", "ignore") + TRUNCATED


def from_exception(error: BaseException) -> StatusError:
    """What was raised as a status: the code and text of a tf.errors.OpError; INTERNAL for a defect of ours."""
    if isinstance(error, StatusError):
        return error
    code: Any = getattr(error, "error_code", None)
    message: Any = getattr(error, "message", None)
    if isinstance(code, int) and isinstance(message, str) and code in Code.__members__.values() and code != Code.OK:
        return StatusError(Code(code), message)
    return StatusError(Code.INTERNAL, f"{type(error).__name__}: {error}")
