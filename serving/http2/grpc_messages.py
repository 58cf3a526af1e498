"""What gRPC puts into HTTP/2: messages with their length before them, statuses, timeouts."""

import math
import struct
import zlib
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import quote_from_bytes, unquote_to_bytes

from serving.http2.frames import Reason
from serving.status import Code, StatusError

PREFIX_BYTES = 5
ACCEPTED = b"identity,gzip,deflate"
_PREFIX = struct.Struct(">BI")
_VISIBLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_LONGEST_S = 99_999_999 * 3600.0
_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}
_OF_HTTP = {
    HTTPStatus.BAD_REQUEST: Code.INTERNAL,
    HTTPStatus.UNAUTHORIZED: Code.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: Code.PERMISSION_DENIED,
    HTTPStatus.NOT_FOUND: Code.UNIMPLEMENTED,
    HTTPStatus.TOO_MANY_REQUESTS: Code.UNAVAILABLE,
    HTTPStatus.BAD_GATEWAY: Code.UNAVAILABLE,
    HTTPStatus.SERVICE_UNAVAILABLE: Code.UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT: Code.UNAVAILABLE,
}
_OF_RESET = {
    Reason.REFUSED_STREAM: Code.UNAVAILABLE,
    Reason.CANCEL: Code.CANCELLED,
    Reason.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    Reason.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}


def framed(message: bytes) -> bytes:
    """The message as it is sent, not compressed."""
    return _PREFIX.pack(0, len(message)) + message


def declared_bytes(start: bytes | bytearray) -> int:
    """How long the message is, by the first bytes of what is received; 0 where they are too few to tell."""
    return int.from_bytes(start[1:PREFIX_BYTES]) if len(start) >= PREFIX_BYTES else 0


def unframed(content: bytes, encoding: bytes, most_bytes: int) -> bytes:
    """The message of a call that has exactly one.

    Args:
        content: all of a stream's data.
        encoding: of the header grpc-encoding.
        most_bytes: of the message.

    Raises:
        StatusError: INTERNAL: there is not one message, or it cannot be decompressed. UNIMPLEMENTED: of that encoding
            nothing is known here. RESOURCE_EXHAUSTED: it is too large.
    """
    if len(content) < PREFIX_BYTES or declared_bytes(content) != len(content) - PREFIX_BYTES:
        raise StatusError(Code.INTERNAL, "Expected one message, whole")
    if len(content) - PREFIX_BYTES > most_bytes:
        raise too_large(len(content) - PREFIX_BYTES, most_bytes)
    if not content[0]:
        return content[PREFIX_BYTES:]
    bits = _WINDOW_BITS.get(encoding)
    if content[0] != 1 or bits is None:
        raise StatusError(
            Code.UNIMPLEMENTED, f"Messages may be {ACCEPTED.decode()}, not {encoding.decode('latin-1')!r}"
        )
    inflating = zlib.decompressobj(bits)
    try:
        message = inflating.decompress(content[PREFIX_BYTES:], most_bytes + 1)
    except zlib.error as error:
        raise StatusError(Code.INTERNAL, f"The message is damaged: {error}") from error
    if len(message) > most_bytes:
        raise too_large(len(message), most_bytes)
    if not inflating.eof:
        raise StatusError(Code.INTERNAL, "The message is cut short")
    return message


def too_large(size: int, most_bytes: int) -> StatusError:
    """A message is larger than allowed."""
    return StatusError(Code.RESOURCE_EXHAUSTED, f"Received message larger than max ({size} vs. {most_bytes})")


def details_written(details: str) -> bytes:
    """A status's text for the header grpc-message."""
    return quote_from_bytes(details.encode("utf-8", "replace"), _VISIBLE).encode()


def details_read(value: bytes) -> str:
    """What `details_written` wrote, or another peer."""
    return unquote_to_bytes(value).decode("utf-8", "replace") if value else ""


def timeout_written(seconds: float) -> bytes:
    """For the header grpc-timeout, rounded up to what it can say."""
    for unit, factor in ((b"u", 1e6), (b"m", 1e3), (b"S", 1.0)):
        count = math.ceil(seconds * factor)
        if count < 100_000_000:
            return b"%d%b" % (max(count, 1), unit)
    return b"99999999H"


@lru_cache(256)
def timeout_read(value: bytes) -> float | None:
    """Seconds of the header grpc-timeout; None where it says nothing that can be understood."""
    digits, unit = value[:-1], _UNITS.get(value[-1:])
    return int(digits) * unit if unit is not None and digits.isdigit() and len(digits) <= 8 else None


def of_reset(reason: int) -> StatusError:
    """What it means that the other side ended a stream."""
    known = Reason(reason) if reason in Reason.__members__.values() else Reason.INTERNAL_ERROR
    return StatusError(_OF_RESET.get(known, Code.INTERNAL), f"The stream was ended with {known.name}")


def of_http(status: bytes) -> StatusError:
    """What it means that the answer is none of gRPC's: something on the way has answered."""
    number = int(status) if status.isdigit() else 0
    code = _OF_HTTP.get(number, Code.UNKNOWN)  # type: ignore[call-overload]
    return StatusError(code, f"Received HTTP status {number} in place of an answer")


def of_trailers(status: bytes, details: bytes) -> StatusError | None:
    """The status of a call; None for success."""
    if status == b"0":
        return None
    number = int(status) if status.isdigit() else Code.UNKNOWN
    code = Code(number) if number in Code.__members__.values() else Code.UNKNOWN
    return StatusError(code, details_read(details))
