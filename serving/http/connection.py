"""HTTP/1.1 and 1.0 on the server's event loop: one asyncio protocol over httptools' parser.

Why not a framework: this protocol takes 10 to 14 us of CPU a request, a whole request to a trivial model about 50;
FastAPI on uvicorn stands beside it in `make bench NAME=serving`. A request costs one run of the parser, one task and
one write. And the paths, the 404 page and the headers can be TF Serving's to the letter. Head and body always leave in
one write: sent apart, they cost a keep-alive proxy 40 ms a request (Nagle's algorithm against delayed acknowledgement).

Requests of one connection are answered one after the other, in order; more of them may be sent ahead. Reading stops
while too many wait, and nothing further is begun while the client does not take its answers.
"""

import asyncio
import logging
from collections import deque
from typing import cast

import httptools

from serving.http.message import REASONS, Request, Response, Turn, page
from serving.http.shared import Shared

log = logging.getLogger(__name__)

LARGE_BYTES = 1 << 16  # a body from here on is not copied behind its head, but written together with it
LINGER_S = 2.0  # how long a refused client's bytes are still read, lest a reset destroys the answer on its way
_STARTS = {code: f"HTTP/1.1 {code} {reason}\r\n".encode() for code, reason in REASONS.items()}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE, _KEEP = b"Connection: close\r\n", b"Connection: keep-alive\r\n"
_IDLE, _HEAD, _BODY = "idle", "head", "body"  # what of a request has come: nothing, part of its head, part of its body


class _RefusedError(Exception):
    """Ends the parser's run; the connection knows what to answer."""


class Connection(asyncio.Protocol):
    """One client.

    Attributes:
        transport: its socket.
    """

    transport: asyncio.Transport
    # What has come of the request that is being read:
    _stage: str
    _since: float  # when that stage began
    _target: bytes
    _encoding: bytes
    _origin: bytes
    _kept: dict[bytes, bytes]
    _expects: bool  # the client waits to be told to send the body
    _body: list[bytes]
    _body_bytes: int
    _head_bytes: int  # of what the parser has passed on
    _head_pieces_bytes: int  # of what has come while the head was incomplete

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._parser = httptools.HttpRequestParser(self)
        self._ahead: deque[Turn] = deque()
        self._turn: Turn | None = None  # that is being worked on
        self._task: asyncio.Task[Response] | None = None
        self._blocked = False  # the client takes no more answers for now
        self._unsent = 0  # bytes, when that was last looked at
        self._reading = True
        self._last = False  # nothing that still comes counts
        self._ended = False  # the last answer has been written
        self._refusal = 400
        self._heard = shared.now  # when the last byte came or went
        self._begin(_IDLE)

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._shared.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.lose(self)
        self._last = self._ended = True
        self._ahead.clear()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._heard = self._shared.now
        if self._last:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(501)  # unless the request was complete: then its answer is the last
        except httptools.HttpParserError:
            self._refuse(self._refusal)
        else:
            if self._stage is _HEAD:
                self._head_pieces_bytes += len(data)
                if self._head_pieces_bytes > self._shared.limits.head_bytes:
                    self._refuse(431)

    def eof_received(self) -> bool:
        """A client may close its sending half first: what it asked for is answered still."""
        self._last = True
        return not self._ended and (self._turn is not None or bool(self._ahead))

    def pause_writing(self) -> None:
        self._blocked = True
        self._heard = self._shared.now

    def resume_writing(self) -> None:
        self._blocked = False
        self._heard = self._shared.now
        self._work()

    # What the parser calls

    def on_message_begin(self) -> None:
        self._begin(_HEAD)

    def on_url(self, url: bytes) -> None:
        self._target = self._target + url if self._target else url
        self._head_bytes += len(url)
        if self._head_bytes > self._shared.limits.head_bytes:
            self._raise(431)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._shared.limits.head_bytes:
            self._raise(431)
        if len(name) in self._shared.noted_lengths and self._stage is _HEAD:  # else it is a trailer
            self._note(name.lower(), value)

    def on_headers_complete(self) -> None:
        self._stage = _BODY
        if self._expects and self._turn is None and not self._ahead:
            self._allow_body()

    def on_body(self, body: bytes) -> None:
        self._expects = False
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > self._shared.limits.body_bytes:
            self._raise(413)

    def on_message_complete(self) -> None:
        parser, body = self._parser, self._body
        content = body[0] if len(body) == 1 else b"".join(body)
        request = Request(parser.get_method().decode(), self._target, content, self._encoding, self._origin, self._kept)
        # Nobody upgrades here, but the parser stops behind a request that asks for it.
        self._last = parser.should_upgrade() or not parser.should_keep_alive()
        self._ahead.append(Turn(request, self._last, parser.get_http_version() == "1.0"))
        self._stage, self._since, self._body, self._expects = _IDLE, self._shared.now, [], False
        if self._reading and len(self._ahead) > self._shared.limits.ahead:
            self._reading = False
            self.transport.pause_reading()
        self._work()

    # What the server calls

    def close_when_done(self) -> None:
        """Closes at once where nothing is under way, else after what is."""
        if self._turn is None and not self._ahead and self._stage is _IDLE and not self._ended:
            self._end()

    def abort(self) -> None:
        """Drops the connection and what is under way."""
        self.transport.abort()

    def check(self) -> None:
        """Ends the connection if it is over one of its limits in time."""
        limits, now = self._shared.limits, self._shared.now
        unsent = self.transport.get_write_buffer_size()
        if unsent < self._unsent:
            self._heard = now
        self._unsent = unsent
        silent_s = now - self._heard
        if self._ended or self._blocked:
            if silent_s > limits.write_s or (not unsent and now - self._since > LINGER_S):
                self.abort()
        elif self._turn is not None or self._ahead:
            self._since = now  # the next request's time begins when its turn comes
        elif self._stage is _IDLE:
            if silent_s > limits.idle_s:
                self._end()
        elif now - self._since > limits.head_s if self._stage is _HEAD else silent_s > limits.body_s:
            self._refuse(408)

    # The rest

    def _begin(self, stage: str) -> None:
        self._stage = stage
        self._since = self._shared.now
        self._target = self._encoding = self._origin = b""
        self._kept = {}
        self._body = []
        self._body_bytes = self._head_bytes = self._head_pieces_bytes = 0
        self._expects = False

    def _note(self, name: bytes, value: bytes) -> None:
        if name == b"content-encoding":
            self._encoding = value
        elif name == b"origin":
            self._origin = value
        elif name == b"expect":
            self._expects = value.lower() == b"100-continue" and self._parser.get_http_version() != "1.0"
        elif name == b"content-length" and int(value) > self._shared.limits.body_bytes:
            self._raise(413)
        elif name in self._shared.keep:
            self._kept[name] = value

    def _raise(self, status: int) -> None:
        self._refusal = status
        raise _RefusedError

    def _refuse(self, status: int) -> None:
        """Answers with an error after everything that came before, then closes."""
        if not self._last:
            self._last = True
            self._ahead.append(Turn(page(status), True, False))
            self._work()

    def _allow_body(self) -> None:
        self._expects = False
        if not self._ended:  # the answer before may have been the last: of a client that has closed its sending half
            self.transport.write(_CONTINUE)

    def _work(self) -> None:
        """Begins requests until one takes its time, the client has to take its answers first, or none waits."""
        while self._ahead and self._turn is None and not self._blocked:
            turn = self._ahead.popleft()
            asked = turn.asked
            answer = asked if isinstance(asked, Response) else self._shared.answer(asked)
            if isinstance(answer, Response):
                self._write(answer, turn)
            else:
                self._turn = turn
                self._task = self._shared.loop.create_task(answer)
                self._task.add_done_callback(self._finish)
        if not self._reading and len(self._ahead) <= self._shared.limits.ahead // 2 and not self._ended:
            self._reading = True
            self.transport.resume_reading()
        if self._expects and self._turn is None and not self._ahead:
            self._allow_body()

    def _finish(self, task: asyncio.Task[Response]) -> None:
        turn, self._turn, self._task = self._turn, None, None
        if task.cancelled() or turn is None:
            self.transport.abort()
            return
        error = task.exception()
        if error is not None:
            log.error("A request handler failed.", exc_info=error)
        self._write(page(500) if error else task.result(), turn)
        self._work()

    def _write(self, response: Response, turn: Turn) -> None:
        shared, body = self._shared, response.body
        if self._ended:
            return
        last = turn.last or response.close
        if not last and not self._ahead:
            last = self._last or (shared.closing and self._stage is _IDLE)
        connection = _CLOSE if last else _KEEP if turn.is_1_0 else b""
        head = b"%b%b%b%bContent-Length: %d\r\n\r\n" % (
            _STARTS[response.status],
            response.headers,
            shared.date,
            connection,
            len(body),
        )
        if isinstance(turn.asked, Request) and turn.asked.method == "HEAD":
            self.transport.write(head)
        elif len(body) < LARGE_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))
        if last:
            self._end()

    def _end(self) -> None:
        """Closes after what has been written. Of a request that was cut short, the rest is read and thrown away."""
        cut_short = self._stage is not _IDLE
        self._last = self._ended = True
        self._since = self._shared.now
        self._ahead.clear()
        if not cut_short or not self.transport.can_write_eof():  # TLS cannot close one half
            self.transport.close()
            return
        self.transport.write_eof()
        if not self._reading:
            self._reading = True
            self.transport.resume_reading()
