"""What both ends of an HTTP/2 connection have in common: settings, windows, sending.

Streams that are received are not held back: each carries one message, whose size is limited where it is put together.
"""

import asyncio
import struct
from typing import cast

from serving.http2 import frames
from serving.http2.frames import Reason, ViolationError, frame, number
from serving.http2.reading import Reader

CREDIT_BYTES = 1 << 30  # that are taken before the other side is allowed as many more
UNREAD_BYTES = 1 << 20  # of answers to PING and SETTINGS that the other side does not take


class Stream:
    """One call.

    Attributes:
        id: its number.
        window: bytes of data that may be sent now.
        unsent: what no window had room for yet.
        tail: what follows behind that; not of the windows' business.
    """

    __slots__ = ("id", "tail", "unsent", "window")

    def __init__(self, number: int, window: int) -> None:
        self.id = number
        self.window = window
        self.unsent: memoryview | None = None
        self.tail = b""


class Connection(Reader):
    """One side. Subclasses say what streams are.

    Attributes:
        transport: its socket.
        streams: those that are open.
        stream_window: bytes that may be sent on a new one.
        last_taken: the last stream of the other side's that was worked on.
    """

    transport: asyncio.Transport

    def __init__(self, table_bytes: int) -> None:
        super().__init__(table_bytes)
        self.streams: dict[int, Stream] = {}
        self.stream_window = frames.WINDOW
        self.last_taken = 0
        self._window = frames.WINDOW
        self._frame_bytes = frames.FRAME_BYTES
        self._taken = 0
        self._unwritten: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    # What subclasses say

    def on_greeting(self) -> None:
        """The other side has shown that it speaks HTTP/2."""

    def on_pong(self, payload: bytes) -> None:
        """The answer to a PING."""

    def on_most_streams(self, most: int) -> None:
        """The other side takes so many streams at a time."""

    def on_sent(self, stream: Stream) -> None:
        """All of a stream that had to wait for windows has been sent."""

    def on_end(self) -> None:
        """The connection is over."""

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.on_end()

    # What subclasses call

    def send(self, stream: Stream, head: bytes, message: bytes, tail: bytes) -> None:
        """Sends a message between frames that no window limits.

        Args:
            head: of the stream's own, before the message.
            tail: behind it; empty: then the message's last frame ends the stream.
        """
        size = len(message)
        if size <= self._window and size <= stream.window and size <= self._frame_bytes:
            self._window -= size
            flags = 0 if tail else frames.END_STREAM
            data = frames.HEAD.pack(size >> 8, size & 0xFF, frames.DATA, flags, stream.id)
            self.write(b"".join((head, data, message, tail)))
            return
        self.write(head)
        stream.unsent, stream.tail = memoryview(message), tail
        self._send_rest(stream)

    def write(self, data: bytes) -> None:
        """Sends frames, together with what else is written in this round of the event loop: a system call for each
        answer would cost as much as all of the rest."""
        if not self._unwritten:
            self._loop.call_soon(self._flush)
        self._unwritten.append(data)

    def end(self, reason: Reason, message: str = "") -> None:
        if not self.lost:
            said = number(self.last_taken) + number(reason) + message.encode()[:1000]
            self.write(frame(frames.GOAWAY, 0, 0, said))
            self.close()

    def close(self) -> None:
        """Closes when all that was written is sent; nothing more is heard."""
        if not self.lost:
            self._flush()
            self.lost = True
            self.transport.close()

    # What Reader calls

    def take_data(self, flags: int, stream: int, payload: bytes) -> None:
        self._taken += len(payload)
        if self._taken >= CREDIT_BYTES:
            self.write(frame(frames.WINDOW_UPDATE, 0, 0, number(self._taken)))
            self._taken = 0
        super().take_data(flags, stream, payload)

    def on_credit(self, stream: int, more: int) -> None:
        if not more:
            raise ViolationError(Reason.PROTOCOL_ERROR, "a window grows by nothing")
        if stream:
            found = self.streams.get(stream)
            if found is not None:
                found.window = frames.grown(found.window, more)
                self._send_rest(found)
            return
        self._window = frames.grown(self._window, more)
        for one in tuple(self.streams.values()):
            self._send_rest(one)

    def on_ping(self, flags: int, payload: bytes) -> None:
        if flags & frames.ACK:
            self.on_pong(payload)
        else:
            self._acknowledge(frame(frames.PING, frames.ACK, 0, payload))

    def on_settings(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                change, self.stream_window = value - self.stream_window, frames.grown(value, 0)
                for stream in tuple(self.streams.values()):
                    stream.window = frames.grown(stream.window, change)
                    self._send_rest(stream)
            elif name == frames.FRAME_SIZE:
                self._frame_bytes = max(value, frames.FRAME_BYTES)
            elif name == frames.MAX_CONCURRENT_STREAMS:
                self.on_most_streams(value)
        self._acknowledge(frame(frames.SETTINGS, frames.ACK, 0, b""))
        self.on_greeting()

    # The rest

    def _flush(self) -> None:
        data, self._unwritten = self._unwritten, []
        if data and not self.lost:
            self.transport.write(data[0] if len(data) == 1 else b"".join(data))

    def _acknowledge(self, data: bytes) -> None:
        if self.transport.get_write_buffer_size() > UNREAD_BYTES:
            raise ViolationError(Reason.ENHANCE_YOUR_CALM, "answers to PING and SETTINGS are not taken")
        self.write(data)

    def _send_rest(self, stream: Stream) -> None:
        """Sends what the windows have room for."""
        while stream.unsent is not None:
            left = len(stream.unsent)
            size = min(self._window, stream.window, self._frame_bytes, left)
            if size <= 0 and left:
                return
            self._window -= size
            stream.window -= size
            last = size == left
            flags = frames.END_STREAM if last and not stream.tail else 0
            data = frame(frames.DATA, flags, stream.id, bytes(stream.unsent[:size]))
            stream.unsent = None if last else stream.unsent[size:]
            self.write(data + stream.tail if last else data)
            if last:
                self.on_sent(stream)
