"""HTTP/2's frames (RFC 9113, section 6): their numbers, and how they are written."""

import enum
import struct

HEAD = struct.Struct(">HBBBI")  # the length's upper 16 bits, its lower 8, kind, flags, stream
HEAD_BYTES = 9
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_BYTES = 1 << 14  # of a payload, before and without another agreement
WINDOW = (1 << 16) - 1  # before another agreement
LARGEST_WINDOW = (1 << 31) - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x4, 0x8, 0x20
PING_BYTES, SETTING_BYTES = 8, 6
PRIORITY_BYTES = 5  # that a prioritized stream's headers begin with
ACK = 0x1  # of SETTINGS and PING
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, FRAME_SIZE, HEADER_LIST_SIZE = range(1, 7)


class Reason(enum.IntEnum):
    """Why a stream or a connection ends (section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class ViolationError(Exception):
    """The other side breaks the protocol, and the connection ends.

    Attributes:
        reason: that it is told.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame, whole."""
    size = len(payload)
    return HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def settings(**values: int) -> bytes:
    """A SETTINGS frame; names as above, in lower case."""
    pairs = (struct.pack(">HI", globals()[name.upper()], value) for name, value in values.items())
    return frame(SETTINGS, 0, 0, b"".join(pairs))


def number(value: int) -> bytes:
    """The payload of a WINDOW_UPDATE or a RST_STREAM."""
    return value.to_bytes(4)


def number_in(payload: bytes) -> int:
    """What `number` wrote. Raises ViolationError."""
    if len(payload) != 4:
        raise ViolationError(Reason.FRAME_SIZE_ERROR, "a number is not 4 bytes")
    return int.from_bytes(payload)


def unpadded(payload: bytes) -> bytes:
    """The payload of a PADDED frame without its padding. Raises ViolationError."""
    if not payload or payload[0] >= len(payload):
        raise ViolationError(Reason.PROTOCOL_ERROR, "there is more padding than payload")
    return payload[1 : len(payload) - payload[0]]


def grown(window: int, more: int) -> int:
    """A window that grows, or shrinks where `more` is negative. Raises ViolationError."""
    window += more
    if window > LARGEST_WINDOW:
        raise ViolationError(Reason.FLOW_CONTROL_ERROR, "a window grows beyond its limit")
    return window
