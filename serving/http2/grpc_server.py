"""A gRPC port for unary calls: HTTP/2 by hand on the event loop, about 30 us of CPU a call, where grpc.aio takes 300.

Streaming calls are not for it: a method answers one message with one.
"""

import asyncio
import logging
from functools import partial

from serving.http2 import frames, hpack
from serving.http2 import grpc_messages as messages
from serving.http2.calls import Call, Reply
from serving.http2.connection import Connection, Stream
from serving.http2.frames import Reason, ViolationError, frame, number
from serving.http2.hpack import Headers
from serving.http2.incoming import Incoming, Shared
from serving.http2.reading import LIST_BYTES
from serving.status import Code, StatusError

log = logging.getLogger(__name__)

STREAMS = 1000  # calls at a time on a connection
RESETS = 2000  # calls that a client may begin and drop on a connection between two looks
MOST_RECEIVED_BYTES = 1 << 30  # of all connections' messages that are not whole; what is more is refused
UNSENT_BYTES = 4 << 20  # that a client may leave to be sent before nothing more is read
SILENT_S = 60.0  # in which a call's message has to go on
_END = frames.END_HEADERS | frames.END_STREAM
_HEAD = b"\x88" + hpack.encode([(b"content-type", b"application/grpc"), (b"grpc-accept-encoding", messages.ACCEPTED)])
_GOOD = hpack.encode([(b"grpc-status", b"0")])
_NOT_GRPC = hpack.encode([(b":status", b"415")])
_DRAINING = b"draining"  # of a PING: when it is answered, the client knows that it is to open no more streams


class ServerConnection(Connection):
    """One client."""

    streams: dict[int, Incoming]  # type: ignore[assignment]

    def __init__(self, shared: Shared) -> None:
        super().__init__(hpack.TABLE_BYTES)
        self._shared = shared
        self._refused_from: int | None = None  # while it ends: streams from here on are not looked at
        self._resets = 0
        self._greeting = b""
        self._since = shared.now  # of the connection, or since when it takes no answers
        self._unsent_bytes = 0  # when that was looked at

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(UNSENT_BYTES)
        self._shared.connections.add(self)
        window = min(self._shared.message_bytes + 2 * frames.FRAME_BYTES, frames.LARGEST_WINDOW)
        said = frames.settings(max_concurrent_streams=STREAMS, initial_window_size=window, header_list_size=LIST_BYTES)
        self.write(said + frame(frames.WINDOW_UPDATE, 0, 0, number(frames.LARGEST_WINDOW - frames.WINDOW)))

    def pause_writing(self) -> None:
        """A client that does not take its answers is not asked what more it wants."""
        if not self.lost:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        if not self.lost:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if len(self._greeting) < len(frames.PREFACE):
            self._greeting += data
            data = self._greeting[len(frames.PREFACE) :]
            self._greeting = self._greeting[: len(frames.PREFACE)]
            if not frames.PREFACE.startswith(self._greeting):
                self.close()
            if self.lost or not data:
                return
        super().data_received(data)

    # What Connection calls

    def on_headers(self, stream: int, headers: Headers, ended: bool) -> None:
        known = self.streams.get(stream)
        if known is not None:
            if not ended or known.task is not None:
                raise ViolationError(Reason.PROTOCOL_ERROR, "headers come twice")
            self._complete(known, self._release(known))
            return
        if not stream & 1:
            raise ViolationError(Reason.PROTOCOL_ERROR, "a client's streams have odd numbers")
        if stream <= self.last_taken or (self._refused_from is not None and stream >= self._refused_from):
            return  # of one that was answered before it was complete
        self.last_taken = stream
        if len(self.streams) >= STREAMS:
            self.write(frame(frames.RST_STREAM, 0, stream, number(Reason.REFUSED_STREAM)))
            return
        metadata = dict(headers)
        made = Incoming(stream, self.stream_window, metadata, self._shared.now)
        self.streams[stream] = made
        if not metadata.get(b"content-type", b"").startswith(b"application/grpc"):
            self._drop(made, frame(frames.HEADERS, _END, stream, _NOT_GRPC), ended)
        elif ended:
            self._complete(made, b"")

    def on_data(self, stream: int, data: bytes, ended: bool) -> None:
        known = self.streams.get(stream)
        if known is None:
            if stream > self.last_taken and self._refused_from is None:
                raise ViolationError(Reason.PROTOCOL_ERROR, "data come before headers")
            return
        if known.task is not None:
            raise ViolationError(Reason.STREAM_CLOSED, "data come behind the end")
        if ended and not known.received:
            self._complete(known, data)
            return
        shared = self._shared
        known.received += data
        known.heard = shared.now
        shared.received_bytes += len(data)
        if ended:
            self._complete(known, self._release(known))
            return
        size = max(messages.declared_bytes(known.received), len(known.received) - messages.PREFIX_BYTES)
        if size > shared.message_bytes:
            self._refuse(known, messages.too_large(size, shared.message_bytes))
        elif shared.received_bytes > MOST_RECEIVED_BYTES:
            self._refuse(known, StatusError(Code.RESOURCE_EXHAUSTED, "Too many large messages are on their way"))

    def on_reset(self, stream: int, reason: int) -> None:
        known = self.streams.get(stream)
        if known is not None:
            if known.task is not None:
                known.task.cancel()
            self._forget(known)
        self._resets += 1

    def on_pong(self, payload: bytes) -> None:
        if payload == _DRAINING:
            self.refuse_more()

    def on_sent(self, stream: Stream) -> None:
        self._forget(self.streams[stream.id])

    def on_end(self) -> None:
        for stream in tuple(self.streams.values()):
            if stream.task is not None:
                stream.task.cancel()
            self._forget(stream)
        shared = self._shared
        shared.connections.discard(self)
        if not shared.connections:
            shared.emptied.set()

    # What the server calls

    def drain(self) -> None:
        """Asks the client to open no more streams, and ends when the open ones have."""
        if not self.lost:
            goaway = number(frames.LARGEST_WINDOW) + number(Reason.NO_ERROR)
            self.write(frame(frames.GOAWAY, 0, 0, goaway) + frame(frames.PING, 0, 0, _DRAINING))

    def refuse_more(self) -> None:
        """Takes no streams behind those that are known."""
        if not self.lost and self._refused_from is None:
            self._refused_from = self.last_taken + 1
            self.write(frame(frames.GOAWAY, 0, 0, number(self.last_taken) + number(Reason.NO_ERROR)))
            self._close_if_done()

    def abort(self) -> None:
        """Drops the connection and what is under way."""
        self.transport.abort()

    def check(self) -> None:
        """Ends what is over its limits."""
        now, resets, self._resets = self._shared.now, self._resets, 0
        unsent_bytes = self.transport.get_write_buffer_size()
        if self.greeted and not 0 < self._unsent_bytes <= unsent_bytes:
            self._since = now
        self._unsent_bytes = unsent_bytes
        if now - self._since > SILENT_S:
            self.abort()
        elif resets > RESETS:
            self.end(Reason.ENHANCE_YOUR_CALM, "too many streams are begun and dropped")
        for stream in tuple(self.streams.values()):
            left = 0 if stream.unsent is None else len(stream.unsent)
            if left != stream.left:
                stream.left, stream.heard = left, now
            elif now - stream.heard > SILENT_S:
                if left:  # the client does not open its window
                    self._drop(stream, frame(frames.RST_STREAM, 0, stream.id, number(Reason.CANCEL)), True)
                elif stream.task is None:
                    self._refuse(stream, StatusError(Code.CANCELLED, f"No message came for {SILENT_S:g} s"))

    # The rest

    def _complete(self, stream: Incoming, content: bytes) -> None:
        """A call's message is whole."""
        metadata, shared = stream.metadata, self._shared
        try:
            message = messages.unframed(content, metadata.get(b"grpc-encoding", b""), shared.message_bytes)
        except StatusError as error:
            self._reply(stream, Reply(b"", (), error))
            return
        timeout = metadata.get(b"grpc-timeout")
        timeout_s = None if timeout is None else messages.timeout_read(timeout)
        try:
            answer = shared.answer(Call(metadata.get(b":path", b""), message, metadata, timeout_s))
        except Exception as defect:
            answer = _defect(defect)
        if isinstance(answer, Reply):
            self._reply(stream, answer)
        else:
            stream.task = shared.loop.create_task(answer)
            stream.task.add_done_callback(partial(self._finish, stream))

    def _finish(self, stream: Incoming, task: asyncio.Task[Reply]) -> None:
        if stream.id not in self.streams:  # the client has left
            if not task.cancelled():
                task.exception()  # else it would be complained about
            return
        if task.cancelled():
            self._reply(stream, Reply(b"", (), StatusError(Code.CANCELLED, "The call was cancelled")))
        else:
            defect = task.exception()
            self._reply(stream, task.result() if defect is None else _defect(defect))

    def _reply(self, stream: Incoming, reply: Reply) -> None:
        if reply.error is not None:
            self._drop(stream, _failure(stream.id, reply), True)
            return
        trailers = _GOOD + hpack.encode(reply.trailing) if reply.trailing else _GOOD
        head = frame(frames.HEADERS, frames.END_HEADERS, stream.id, _HEAD)
        self.send(stream, head, messages.framed(reply.message), frame(frames.HEADERS, _END, stream.id, trailers))
        if stream.unsent is None:
            self._forget(stream)

    def _drop(self, stream: Incoming, last: bytes, ended: bool) -> None:
        """Sends a stream's last frame; of one that has not `ended`, the client is told to send no more."""
        self.write(last if ended else last + frame(frames.RST_STREAM, 0, stream.id, number(Reason.NO_ERROR)))
        self._forget(stream)

    def _refuse(self, stream: Incoming, error: StatusError) -> None:
        """Answers a call whose message is not whole."""
        self._drop(stream, _failure(stream.id, Reply(b"", (), error)), False)

    def _release(self, stream: Incoming) -> bytes:
        """What has been received of a message, which no longer counts."""
        received, stream.received = bytes(stream.received), bytearray()
        self._shared.received_bytes -= len(received)
        return received

    def _forget(self, stream: Incoming) -> None:
        if stream.received:
            self._release(stream)
        self.streams.pop(stream.id, None)
        if self._refused_from is not None:
            self._close_if_done()

    def _close_if_done(self) -> None:
        if not self.streams:
            self.close()


def _defect(error: BaseException) -> Reply:
    log.error("A gRPC handler failed.", exc_info=error)
    return Reply(b"", (), StatusError(Code.INTERNAL, "A defect of this server"))


def _failure(stream: int, reply: Reply) -> bytes:
    error = reply.error or StatusError(Code.UNKNOWN, "")
    status = [(b"grpc-status", b"%d" % error.code), (b"grpc-message", messages.details_written(error.cut))]
    return frame(frames.HEADERS, _END, stream, _HEAD + hpack.encode([*status, *reply.trailing]))
