"""The model servers' gRPC ports, asked in turn, and what to do when one of them is away.

What is asked again, of another server where there is one: requests that got UNAVAILABLE, because its queue is full, or
NOT_FOUND, because it was just started and still loads what the others have; and those whose connection was lost. A
server that died may have worked on the request, and that is no harm: inference changes nothing.
"""

import asyncio
import ssl
from collections.abc import Collection, Sequence

from serving.http2.grpc_client import ClientConnection, LostError
from serving.status import Code, StatusError

ANSWER_BYTES = 2**31 - 1 - (1 << 20)  # of the largest; what clients may send is the door's to limit
CONNECT_S = 1.0  # in which a server has to show that it is there
BACK_OFF_S = 0.1  # for which nobody tries to connect after it did not
PAUSE_S = 1.0  # for which a server that is away, or hangs, is left alone where there are others
TRIES_WHERE_LOST = 2  # of a request whose server died with it: it may be what kills servers
HANDED_BACK = 20  # times that a request may meet a connection which has just had its last one
TRIES_WHERE_REFUSED = 2  # servers that are asked when they are there and refuse, lest an overload be multiplied
_REFUSALS = frozenset({Code.UNAVAILABLE, Code.NOT_FOUND})
_UNIX = "unix:"


class _AwayError(Exception):
    """A server cannot be connected to."""


class _Target:
    """One model server.

    Attributes:
        name: host:port.
        heard_s: loop's clock: when it last answered anything.
        down_until_s: loop's clock: others are asked before.
        suspect: whether nothing has been heard of it since it was found to be away.
    """

    def __init__(self, name: str, tls: ssl.SSLContext | None, server_name: str) -> None:
        self.name = name
        self.heard_s = self.down_until_s = 0.0
        self.suspect = False
        self._tls = tls
        self._server_name = server_name
        self._loop = asyncio.get_running_loop()
        self._connections: list[ClientConnection] = []
        self._opening: asyncio.Task[ClientConnection] | None = None
        self._refused_until_s = 0.0

    def connection(self) -> ClientConnection | None:
        """One that has room; None where one has to be opened."""
        for connection in self._connections:
            if connection.has_room:
                return connection
        return None

    async def open(self, end_s: float) -> None:
        """Opens a connection, one for all who wait for it.

        Raises:
            _AwayError.
            StatusError: DEADLINE_EXCEEDED.
        """
        now_s = self._loop.time()
        if now_s < self._refused_until_s:
            raise _AwayError
        if self._opening is None:
            self._opening = self._loop.create_task(self._open())
            self._opening.add_done_callback(self._opened)
        done, _ = await asyncio.wait((self._opening,), timeout=end_s - now_s)
        if not done:
            raise _too_late()
        (opening,) = done
        if opening.cancelled() or opening.exception() is not None:
            raise _AwayError

    def answered(self, now_s: float) -> None:
        """It is there."""
        self.heard_s = now_s
        if self.suspect:
            self.suspect, self.down_until_s = False, 0.0

    def leave_alone(self, now_s: float) -> None:
        """It is away."""
        self.suspect, self.down_until_s = True, now_s + PAUSE_S

    def begin_anew(self) -> None:
        """Makes no more calls on the connections that there are: nothing comes on them."""
        for connection in tuple(self._connections):
            connection.retire()
        self._connections.clear()

    async def close(self) -> None:
        """Ends its connections."""
        if self._opening is not None:
            self._opening.cancel()
        for connection in tuple(self._connections):
            connection.abort()

    async def _open(self) -> ClientConnection:
        host, _, port = self.name.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        is_unix = self.name.startswith(_UNIX)
        made = ClientConnection("localhost" if is_unix else self.name, self._tls is not None, self._lose, ANSWER_BYTES)
        its_name = (self._server_name or host) if self._tls is not None else None
        try:
            async with asyncio.timeout(CONNECT_S):
                if is_unix:
                    await self._loop.create_unix_connection(lambda: made, self.name.removeprefix(_UNIX))
                else:
                    await self._loop.create_connection(
                        lambda: made, host, int(port), ssl=self._tls, server_hostname=its_name
                    )
                await made.settled
        except BaseException:
            if hasattr(made, "transport"):
                made.abort()
            raise
        return made

    def _opened(self, opening: "asyncio.Task[ClientConnection]") -> None:
        self._opening = None
        if opening.cancelled():
            return
        if opening.exception() is not None:
            self._refused_until_s = self._loop.time() + BACK_OFF_S
        else:
            self._connections.append(opening.result())

    def _lose(self, connection: ClientConnection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)


class GrpcUpstream:
    """Asks model servers. Of one event loop, the one that runs when it is made."""

    def __init__(self, targets: Sequence[str], tls: ssl.SSLContext | None = None, server_name: str = "") -> None:
        """Connects with the first request.

        Args:
            targets: `host:port` or `unix:path`, at least one.
            tls: None speaks plain text.
            server_name: to expect in the servers' certificates in place of their host; empty for the host.
        """
        self._loop = asyncio.get_running_loop()
        self._targets = [_Target(name, tls, server_name) for name in targets]
        self._turn = 0
        self._refused_tries = min(TRIES_WHERE_REFUSED, len(targets))

    async def ask(self, path: str, request: bytes, timeout_s: float) -> bytes:
        """What a model server answers.

        Args:
            path: of the RPC: /package.Service/Method.
            timeout_s: for everything.

        Raises:
            StatusError: the server's own, the last one's where several were asked; UNAVAILABLE: none could be reached.
                DEADLINE_EXCEEDED.
        """
        began_s = self._loop.time()
        end_s = began_s + timeout_s
        away = refused = lost = handed_back = 0
        failed: set[_Target] = set()
        error = StatusError(Code.UNAVAILABLE, "No model server can be reached")
        while away <= len(self._targets) and refused < self._refused_tries and lost < TRIES_WHERE_LOST:
            target = self._next(failed)
            try:
                connection = target.connection()
                while connection is None:
                    await target.open(end_s)
                    connection = target.connection()
                response = await self._call(connection, path, request, end_s)
            except _AwayError:
                target.leave_alone(self._loop.time())
                failed.add(target)
                away += 1
            except LostError as loss:
                error = StatusError(Code.UNAVAILABLE, f"The connection to model server {target.name} was lost")
                handed_back += loss.untouched
                if not loss.untouched:
                    failed.add(target)
                lost += not loss.untouched or handed_back > HANDED_BACK
            except StatusError as refusal:
                error = refusal
                self._judge(target, refusal.code, began_s)
                failed.add(target)
                refused += 1
                if refusal.code not in _REFUSALS:
                    break
            else:
                target.answered(self._loop.time())
                return response
        raise error

    async def close(self) -> None:
        """Ends the connections; what is under way ends with UNAVAILABLE."""
        for target in self._targets:
            await target.close()
        await asyncio.sleep(0)  # the loop closes the sockets in its next round

    async def _call(self, connection: ClientConnection, path: str, request: bytes, end_s: float) -> bytes:
        left_s = end_s - self._loop.time()
        if left_s <= 0:
            raise _too_late()
        call, answer = connection.ask(path, request, left_s)
        timer = self._loop.call_at(end_s, _expire, answer)
        try:
            return await answer
        except BaseException:
            connection.drop(call)
            raise
        finally:
            timer.cancel()

    def _next(self, failed: Collection[_Target]) -> _Target:
        """The server whose turn it is, but for those that are to be left alone, if there are others.

        Args:
            failed: what this request was asked of in vain, the last choice: a process that is killed closes its
                connections one by one, and takes new ones until it closes its port.
        """
        targets, now_s, left_alone = self._targets, self._loop.time(), None
        self._turn = (self._turn + 1) % len(targets)
        for number in range(len(targets)):
            target = targets[(self._turn + number) % len(targets)]
            if target in failed:
                continue
            if target.down_until_s <= now_s:
                self._turn = (self._turn + number) % len(targets)
                if target.suspect and len(targets) > 1:  # this request finds out, and others meanwhile go elsewhere
                    target.leave_alone(now_s)
                return target
            left_alone = left_alone or target
        return left_alone or targets[self._turn]

    def _judge(self, target: _Target, code: Code, began_s: float) -> None:
        """Takes note of what an error tells of the server."""
        now_s = self._loop.time()
        if code is not Code.DEADLINE_EXCEEDED:
            target.answered(now_s)
        elif target.heard_s < began_s:  # it has said nothing at all meanwhile: it hangs, or the network swallows all
            target.leave_alone(now_s)
            target.begin_anew()


def _expire(answer: "asyncio.Future[bytes]") -> None:
    if not answer.done():
        answer.set_exception(_too_late())


def _too_late() -> StatusError:
    return StatusError(Code.DEADLINE_EXCEEDED, "No model server answered in time")
