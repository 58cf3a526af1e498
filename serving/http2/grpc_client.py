"""One HTTP/2 connection to a gRPC server, for unary calls: about 40 us of CPU a call, where grpc.aio takes 300."""

import asyncio
from collections.abc import Callable

from serving.http2 import frames, hpack
from serving.http2 import grpc_messages as messages
from serving.http2.connection import Connection, Stream
from serving.http2.frames import Reason, ViolationError, frame, number
from serving.http2.hpack import Headers
from serving.http2.reading import LIST_BYTES
from serving.status import Code, StatusError

AGENT = b"pressline"
STREAMS = 1 << 30  # at a time, until the server says how many it takes
LAST_STREAM = (1 << 31) - 1
_NO_TABLE = 0  # of headers: then servers spell theirs out, and the same block means the same whenever it comes
_TIMEOUT = b"\x00\x0cgrpc-timeout"


class LostError(Exception):
    """The connection ended before the call's answer.

    Attributes:
        untouched: whether the server has said that it did not begin to work on it.
    """

    def __init__(self, untouched: bool) -> None:
        super().__init__("the call was refused" if untouched else "the connection was lost")
        self.untouched = untouched


class _Outgoing(Stream):
    """A call. `answer` is for its message; `encoding` of what comes."""

    __slots__ = ("answer", "encoding", "pieces", "size")

    def __init__(self, number: int, window: int, answer: "asyncio.Future[bytes]") -> None:
        super().__init__(number, window)
        self.answer = answer
        self.encoding: bytes | None = None  # until the headers have come
        self.pieces: list[bytes] = []
        self.size = 0


class ClientConnection(Connection):
    """Asks. Of the event loop that runs when it is made.

    Attributes:
        usable: whether more calls may be made on it.
        settled: done when the server has shown that it speaks HTTP/2; LostError where it does not.
    """

    streams: dict[int, _Outgoing]  # type: ignore[assignment]

    def __init__(
        self,
        authority: str,
        secure: bool,
        lost: Callable[["ClientConnection"], None],
        answer_bytes: int,
    ) -> None:
        """
        Args:
            authority: host and port.
            secure: whether it speaks TLS.
            lost: called when the connection has ended.
            answer_bytes: of the largest message that is taken.
        """
        super().__init__(_NO_TABLE)
        self.usable = True
        self.settled: asyncio.Future[None] = self._loop.create_future()
        self._lost = lost
        self._answer_bytes = answer_bytes
        self._next = 1
        self._most = STREAMS
        self._authority = authority.encode()
        self._scheme = b"https" if secure else b"http"
        self._heads: dict[str, bytes] = {}  # by path

    # What callers call

    @property
    def has_room(self) -> bool:
        """Whether one more call may be made now."""
        return self.usable and len(self.streams) < self._most

    def ask(self, path: str, message: bytes, timeout_s: float) -> "tuple[int, asyncio.Future[bytes]]":
        """Begins a call; only where there is room.

        Args:
            path: /package.Service/Method.
            timeout_s: that the server is told; to hold it is the caller's, see `drop`.

        Returns:
            The call's number, and what will be its answer's message. That raises StatusError (the server's own, or
            INTERNAL and RESOURCE_EXHAUSTED for an answer that cannot be read or is too large) and LostError.
        """
        head = self._heads.get(path)
        if head is None:
            head = self._heads[path] = self._head(path)
        id_, self._next = self._next, self._next + 2
        if self._next > LAST_STREAM:
            self.usable = False
        answer: asyncio.Future[bytes] = self._loop.create_future()
        stream = self.streams[id_] = _Outgoing(id_, self.stream_window, answer)
        timeout = messages.timeout_written(timeout_s)
        block = b"%b%b%c%b" % (head, _TIMEOUT, len(timeout), timeout)
        headers = frame(frames.HEADERS, frames.END_HEADERS, id_, block)
        self.send(stream, headers, messages.framed(message), b"")
        return id_, answer

    def drop(self, call: int) -> None:
        """Ends a call whose answer is no longer wanted."""
        if self.streams.pop(call, None) is not None:
            self.write(frame(frames.RST_STREAM, 0, call, number(Reason.CANCEL)))
            self._close_if_done()

    def retire(self) -> None:
        """Takes no more calls, and ends when the last one has its answer."""
        self.usable = False
        self._close_if_done()

    def abort(self) -> None:
        """Drops the connection and its calls."""
        self.usable = False
        self.transport.abort()

    # What asyncio and Connection call

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        window = frames.LARGEST_WINDOW
        said = frames.settings(
            header_table_size=_NO_TABLE, enable_push=0, initial_window_size=window, header_list_size=LIST_BYTES
        )
        more = frame(frames.WINDOW_UPDATE, 0, 0, number(window - frames.WINDOW))
        self.write(frames.PREFACE + said + more)

    def on_greeting(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)

    def on_most_streams(self, most: int) -> None:
        self._most = most

    def on_headers(self, stream: int, headers: Headers, ended: bool) -> None:
        known = self.streams.get(stream)
        if known is None:
            if stream >= self._next or not stream & 1:
                raise ViolationError(Reason.PROTOCOL_ERROR, "headers of a stream that was not opened")
            return
        fields = dict(headers)
        if ended:
            self._end(known, fields)
            return
        status = fields.get(b":status", b"")
        if status == b"200":
            known.encoding = fields.get(b"grpc-encoding", b"")
        elif status[:1] != b"1":
            self._fail(known, messages.of_http(status))

    def on_data(self, stream: int, data: bytes, ended: bool) -> None:
        known = self.streams.get(stream)
        if known is None:
            return
        known.pieces.append(data)
        known.size += len(data)
        if known.size > self._answer_bytes + messages.PREFIX_BYTES:
            self._fail(known, messages.too_large(known.size, self._answer_bytes))
        elif ended:
            self._fail(known, StatusError(Code.UNKNOWN, "The answer has no status"))

    def on_reset(self, stream: int, reason: int) -> None:
        known = self.streams.pop(stream, None)
        if known is not None and not known.answer.done():
            known.answer.set_exception(messages.of_reset(reason))
        self._close_if_done()

    def on_goaway(self, last: int, reason: int) -> None:
        self.usable = False
        for stream in tuple(self.streams.values()):
            if stream.id > last:
                del self.streams[stream.id]
                if not stream.answer.done():
                    stream.answer.set_exception(LostError(True))
        self._close_if_done()

    def on_end(self) -> None:
        self.usable = False
        if not self.settled.done():
            self.settled.set_exception(LostError(True))
        streams, self.streams = tuple(self.streams.values()), {}
        for stream in streams:
            if not stream.answer.done():
                stream.answer.set_exception(LostError(False))
        self._lost(self)

    # The rest

    def _head(self, path: str) -> bytes:
        """The headers that are the same in all calls of an RPC; those with a colon have to be first."""
        return hpack.encode(
            [
                *((b":method", b"POST"), (b":scheme", self._scheme)),
                *((b":path", path.encode()), (b":authority", self._authority)),
                *((b"te", b"trailers"), (b"content-type", b"application/grpc"), (b"user-agent", AGENT)),
            ]
        )

    def _end(self, stream: _Outgoing, fields: dict[bytes, bytes]) -> None:
        """Its trailers have come."""
        del self.streams[stream.id]
        if not stream.answer.done():
            try:
                stream.answer.set_result(self._message(stream, fields))
            except StatusError as error:
                stream.answer.set_exception(error)
        if stream.unsent is not None:  # an error, before the server had all of the request
            self.write(frame(frames.RST_STREAM, 0, stream.id, number(Reason.CANCEL)))
        if not self.usable:
            self._close_if_done()

    def _message(self, stream: _Outgoing, fields: dict[bytes, bytes]) -> bytes:
        status = fields.get(b"grpc-status")
        if status is None:
            if stream.encoding is None:
                raise messages.of_http(fields.get(b":status", b""))
            raise StatusError(Code.UNKNOWN, "The answer has no status")
        error = messages.of_trailers(status, fields.get(b"grpc-message", b""))
        if error is not None:
            raise error
        pieces = stream.pieces
        content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return messages.unframed(content, stream.encoding or b"", self._answer_bytes)

    def _fail(self, stream: _Outgoing, error: StatusError) -> None:
        if not stream.answer.done():
            stream.answer.set_exception(error)
        self.drop(stream.id)

    def _close_if_done(self) -> None:
        if not self.usable and not self.streams:
            self.close()
