"""Reading HTTP/2's frames: from the bytes that come to headers, data and what else the other side says."""

import asyncio
import logging

from serving.http2 import frames
from serving.http2.frames import Reason, ViolationError, number_in
from serving.http2.hpack import Decoder, Headers

log = logging.getLogger(__name__)

LIST_BYTES = 64 << 10  # of a stream's headers
BLOCK_FRAMES = 64  # that these may come in
_FRAME_BYTES = frames.FRAME_BYTES


class Reader(asyncio.Protocol):
    """The half of a connection that listens. Subclasses say what is done with what is heard.

    Attributes:
        lost: whether nothing more is heard or said.
        greeted: whether the other side has sent its settings, which come first.
    """

    def __init__(self, table_bytes: int) -> None:
        """
        Args:
            table_bytes: of the other side's table of headers.
        """
        self.lost = self.greeted = False
        self._decoder = Decoder(table_bytes, LIST_BYTES)
        self._rest = b""
        self._block: tuple[int, int, list[bytes]] | None = None  # stream, flags and pieces of headers under way

    def end(self, reason: Reason, message: str = "") -> None:
        """Tells the other side why, and closes."""
        raise NotImplementedError

    def on_headers(self, stream: int, headers: Headers, ended: bool) -> None:
        """A stream's headers, or its trailers."""
        raise NotImplementedError

    def on_data(self, stream: int, data: bytes, ended: bool) -> None:
        """A piece of a stream's message."""
        raise NotImplementedError

    def on_reset(self, stream: int, reason: int) -> None:
        """The other side ends a stream."""
        raise NotImplementedError

    def on_goaway(self, last: int, reason: int) -> None:
        """The other side takes no streams behind `last`."""

    def on_credit(self, stream: int, more: int) -> None:
        """So many more bytes may be sent on a stream, or (0) on all together."""
        raise NotImplementedError

    def on_ping(self, flags: int, payload: bytes) -> None:
        """A PING, or the answer to one."""
        raise NotImplementedError

    def on_settings(self, payload: bytes) -> None:
        """The other side's settings, or (empty) that it has taken ours."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        if self.lost:
            return
        if self._rest:
            data = self._rest + data
        try:
            self._rest = data[self._read(data) :]
        except ViolationError as violation:
            log.info("An HTTP/2 connection ends: %s", violation)
            self.end(violation.reason, str(violation))

    def _read(self, data: bytes) -> int:
        """Takes the frames that are complete; where they end."""
        at, end, unpack = 0, len(data), frames.HEAD.unpack_from
        while end - at >= frames.HEAD_BYTES and not self.lost:
            upper, lower, kind, flags, stream = unpack(data, at)
            size = upper << 8 | lower
            if size > _FRAME_BYTES:
                raise ViolationError(Reason.FRAME_SIZE_ERROR, f"a frame of {size} bytes; {_FRAME_BYTES} are allowed")
            start = at + frames.HEAD_BYTES
            if end < start + size:
                break
            at = start + size
            self._take(kind, flags, stream & frames.LARGEST_WINDOW, data[start:at])
        return at

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if not self.greeted and kind != frames.SETTINGS:
            raise ViolationError(Reason.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if self._block is not None and kind != frames.CONTINUATION:
            raise ViolationError(Reason.PROTOCOL_ERROR, "other frames come between those of headers")
        if kind == frames.DATA:
            self.take_data(flags, _call(stream), payload)
        elif kind == frames.HEADERS:
            self._take_headers(flags, _call(stream), payload)
        elif kind == frames.WINDOW_UPDATE:
            self.on_credit(stream, number_in(payload) & frames.LARGEST_WINDOW)
        elif kind == frames.RST_STREAM:
            self.on_reset(_call(stream), number_in(payload))
        elif kind == frames.CONTINUATION:
            self._take_continuation(flags, stream, payload)
        elif kind == frames.PUSH_PROMISE:
            raise ViolationError(Reason.PROTOCOL_ERROR, "nothing may be pushed")
        elif kind in _OF_ALL:
            if stream:
                raise ViolationError(Reason.PROTOCOL_ERROR, "a frame for the connection comes on a stream")
            self._take_for_all(kind, flags, payload)

    def _take_for_all(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == frames.GOAWAY:
            self.on_goaway(number_in(payload[:4]) & frames.LARGEST_WINDOW, number_in(payload[4:8]))
        elif kind == frames.PING:
            if len(payload) != frames.PING_BYTES:
                raise ViolationError(Reason.FRAME_SIZE_ERROR, "a PING of another length")
            self.on_ping(flags, payload)
        elif len(payload) % frames.SETTING_BYTES or (payload and flags & frames.ACK):
            raise ViolationError(Reason.FRAME_SIZE_ERROR, "settings of another length")
        elif not flags & frames.ACK:
            self.greeted = True
            self.on_settings(payload)

    def take_data(self, flags: int, stream: int, payload: bytes) -> None:
        """A frame of data."""
        data = frames.unpadded(payload) if flags & frames.PADDED else payload
        self.on_data(stream, data, bool(flags & frames.END_STREAM))

    def _take_headers(self, flags: int, stream: int, payload: bytes) -> None:
        if flags & frames.PADDED:
            payload = frames.unpadded(payload)
        if flags & frames.PRIORITIZED:
            payload = payload[frames.PRIORITY_BYTES :]
        if flags & frames.END_HEADERS:
            self.on_headers(stream, self._decoded(payload), bool(flags & frames.END_STREAM))
        else:
            self._block = stream, flags, [payload]

    def _take_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream:
            raise ViolationError(Reason.PROTOCOL_ERROR, "CONTINUATION of no headers")
        _, first, pieces = self._block
        pieces.append(payload)
        if len(pieces) > BLOCK_FRAMES or sum(map(len, pieces)) > LIST_BYTES:
            raise ViolationError(Reason.ENHANCE_YOUR_CALM, "too many headers")
        if flags & frames.END_HEADERS:
            self._block = None
            self.on_headers(stream, self._decoded(b"".join(pieces)), bool(first & frames.END_STREAM))

    def _decoded(self, block: bytes) -> Headers:
        try:
            return self._decoder.decode(block)
        except ValueError as error:
            raise ViolationError(Reason.COMPRESSION_ERROR, str(error)) from error


_OF_ALL = (frames.SETTINGS, frames.PING, frames.GOAWAY)


def _call(stream: int) -> int:
    if not stream:
        raise ViolationError(Reason.PROTOCOL_ERROR, "stream 0 is not a call")
    return stream
