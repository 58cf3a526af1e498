"""One keep-alive connection to a model server's REST port, and what comes back on it."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools

from serving.http.message import REASONS
from serving.status import Code, StatusError

HEAD_BYTES = 64 << 10  # of an answer
LARGE_BYTES = 1 << 16  # a body from here on is not copied behind its head
_KEPT = (b"content-type", b"content-encoding", b"retry-after")
_FRAMING = (b"content-length", b"transfer-encoding")
_LENGTHS = frozenset(map(len, _KEPT + _FRAMING))


class Answer(NamedTuple):
    """What a model server said.

    Attributes:
        status: one that has a reason phrase.
        headers: Content-Type, Content-Encoding and Retry-After as lines with their ends, where it sent them.
        body: whole, as it came.
    """

    status: int
    headers: bytes
    body: bytes


class CutError(Exception):
    """The server closed the connection before its answer was complete.

    Attributes:
        heard: whether it had begun to answer.
    """

    def __init__(self, heard: bool) -> None:
        super().__init__("heard" if heard else "not a byte was heard")
        self.heard = heard


class _GarbageError(Exception):
    """Ends the parser's run."""


class Connection(asyncio.Protocol):
    """Asks one thing at a time.

    Attributes:
        transport: its socket.
        usable: whether the next request may be sent.
    """

    transport: asyncio.Transport
    _headers: bytes

    def __init__(
        self, loop: asyncio.AbstractEventLoop, lost: Callable[["Connection"], None], answer_bytes: int
    ) -> None:
        """
        Args:
            lost: called once, when the connection is no more.
            answer_bytes: the largest body that is taken.
        """
        self.usable = True
        self._loop = loop
        self._lost = lost
        self._answer_bytes = answer_bytes
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[Answer] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard = False
        self._begin()

    # What the pool calls

    def ask(self, head: bytes, body: bytes, end: float) -> "asyncio.Future[Answer]":
        """Sends a request.

        Args:
            head: with the empty line behind it.
            end: of the wait, by the loop's clock.

        Returns:
            the answer; or CutError; or StatusError: DEADLINE_EXCEEDED, or UNAVAILABLE for what is no answer. Who gives
            up on it calls `abort`.
        """
        self._heard = False
        self._waiting = waiting = self._loop.create_future()
        if not self.usable:
            self._end(CutError(heard=False))
            return waiting
        self._timer = self._loop.call_at(end, self._expire)
        if len(body) < LARGE_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))
        return waiting

    def abort(self) -> None:
        """Drops the connection; a model server takes that for a client that has gone and stops working for it."""
        self.usable = False
        self._taken()
        self.transport.abort()

    def drop(self, error: StatusError) -> None:
        """Drops the connection under whoever still waits."""
        self._end(error)
        self.abort()

    def close(self) -> None:
        """Ends a connection on which nothing is under way."""
        self.usable = False
        self.transport.close()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._waiting is None:
            self.abort()  # nothing was asked
            return
        self._heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"The model server's answer is not HTTP: {error.__context__ or error}")
            return
        if not self._in_body and self._waiting is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._fail("The headers of the model server's answer are too long")

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        if self._waiting is not None:
            if self._in_body and not self._framed and exc is None:
                self._finish()  # of an answer without a length, this is the end
            else:
                self._end(CutError(self._heard))
        self._lost(self)

    # What the parser calls

    def on_message_begin(self) -> None:
        if self._waiting is None:
            raise _GarbageError("more came than was asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) not in _LENGTHS:
            return
        lower = name.lower()
        if lower in _KEPT:
            self._headers += b"%b: %b\r\n" % (name, value)
        elif lower in _FRAMING:
            self._framed = True

    def on_headers_complete(self) -> None:
        self._in_body = True

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > self._answer_bytes:
            raise _GarbageError(f"it is longer than {self._answer_bytes} bytes")

    def on_message_complete(self) -> None:
        parser = self._parser
        if 100 <= parser.get_status_code() < 200:  # an interim answer
            self._begin()
            return
        if not parser.should_keep_alive() or self.transport.get_write_buffer_size():
            self.usable = False
        self._finish()

    # The rest

    def _begin(self) -> None:
        self._in_body = self._framed = False
        self._headers = b""
        self._head_bytes = self._body_bytes = 0
        self._body: list[bytes] = []

    def _taken(self) -> "asyncio.Future[Answer] | None":
        """Whom the answer is for, if anybody still waits for it; its time is no longer counted."""
        waiting, self._waiting = self._waiting, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return None if waiting is None or waiting.done() else waiting

    def _finish(self) -> None:
        status, body = self._parser.get_status_code(), self._body
        if status not in REASONS:
            self._fail(f"The model server's answer is not HTTP: its status is {status}")
            return
        waiting = self._taken()
        if waiting is not None:
            waiting.set_result(Answer(status, self._headers, body[0] if len(body) == 1 else b"".join(body)))
        self._begin()

    def _end(self, error: Exception) -> None:
        waiting = self._taken()
        if waiting is not None:
            waiting.set_exception(error)

    def _fail(self, message: str) -> None:
        self.drop(StatusError(Code.UNAVAILABLE, message))

    def _expire(self) -> None:
        self.drop(StatusError(Code.DEADLINE_EXCEEDED, "The model server did not answer in time"))
