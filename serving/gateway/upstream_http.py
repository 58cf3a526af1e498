"""The model servers' REST ports: keep-alive connections, taken in turn, and what to do when a server is away.

Why not aiohttp's client: against the same stub a small request takes 17 to 22 us of CPU here, there 6 to 8 times as
much.

What is asked again: a request that no server can have begun to work on, because none could be connected to; and, once,
on a fresh connection of the next server, one whose connection was closed before a byte of the answer. A server that
closes idle connections does just that; one that died may have worked on it, and that is no harm: inference changes
nothing. Once and not more, lest a request that kills servers kills all of them. And, once, what a server does not have:
one that was just started opens its port when every model has one version, so it may still be loading the one that is
asked for, which the others have.
"""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import partial

from serving.errors import InputError
from serving.gateway.upstream_connection import Answer, Connection, CutError
from serving.gateway.upstream_target import Target
from serving.status import Code, StatusError

_NOT_FOUND = 404
_PROBE = b"/v1/models"  # answered by every model server, if only with an error


class _AwayError(Exception):
    """A server could not be connected to."""


class HttpUpstream:
    """Asks model servers. Of one event loop, the one that runs when it is made."""

    def __init__(
        self, targets: Sequence[str], *, connections: int = 256, connect_s: float = 1.0, answer_bytes: int = 256 << 20
    ) -> None:
        """
        Args:
            targets: `host:port` or `http://host[:port]`, asked in turn.
            connections: to each, at most; who needs another waits for one, up to the deadline.
            connect_s: in which a server has to accept a connection, or it is away. Less than requests' deadlines:
                else a server that does not even refuse is never found out.
            answer_bytes: the largest answer.

        Raises:
            InputError: one of the targets is no address, or there is none.
        """
        if not targets:
            raise InputError("No model server is given to forward requests to")
        self._loop = asyncio.get_running_loop()
        self._targets = [Target(address) for address in targets]
        self._turn = 0
        self._closed = False
        self._connections = connections
        self._connect_s = connect_s
        self._answer_bytes = answer_bytes

    async def ask(self, method: bytes, path: bytes, headers: bytes, body: bytes, timeout_s: float) -> Answer:
        """What a model server answers, whatever its status is.

        Args:
            path: with the query, as it goes over the wire.
            headers: further lines with their ends; Host and Content-Length are added.
            timeout_s: for everything.

        Raises:
            StatusError: UNAVAILABLE: no server could be connected to, or one broke off or sent what is no answer.
                DEADLINE_EXCEEDED.
        """
        end = self._loop.time() + timeout_s
        failed: set[Target] = set()
        repeated = False
        lacking: Answer | None = None
        for _ in range(len(self._targets) + 1):
            target = self._next(failed)
            if target is None or (lacking is not None and target in failed):
                break
            if target.idle and not repeated:
                connection = target.idle.pop()
            else:
                try:
                    connection = await self._connection(target, end)
                except _AwayError:
                    failed.add(target)
                    continue
            try:
                answer = await connection.ask(_head(method, path, target.host_line, headers, len(body)), body, end)
            except CutError as cut:
                if repeated or cut.heard:
                    said = f"Model server {target.name} broke off before its answer was complete"
                    raise StatusError(Code.UNAVAILABLE, said) from cut
                repeated = True
            except asyncio.CancelledError:
                connection.abort()
                raise
            else:
                target.give(connection)
                if answer.status != _NOT_FOUND or lacking is not None or len(self._targets) == 1:
                    return answer
                lacking = answer
            failed.add(target)
        if lacking is not None:
            return lacking
        raise self._all_away()

    async def answers(self, timeout_s: float = 0.5) -> bool:
        """Whether any server answers anything at all, asked anew, on a connection of its own."""
        probes = [self._loop.create_task(self._probe(target, timeout_s)) for target in self._targets]
        try:
            for probe in asyncio.as_completed(probes):
                if await probe:
                    return True
            return False
        finally:
            for one in probes:
                one.cancel()

    async def close(self) -> None:
        """Drops all connections; what is under way ends with UNAVAILABLE."""
        self._closed = True
        for target in self._targets:
            for waiting in target.waiting:
                if not waiting.done():
                    waiting.set_exception(_stopping())
            for connection in tuple(target.all):
                connection.drop(_stopping())
        await asyncio.sleep(0)  # the loop closes the sockets in its next round

    def _next(self, failed: Collection[Target]) -> Target | None:
        """The target whose turn it is; rather one that is not full, and one that is away only where all others are.

        Args:
            failed: asked in vain by this request, so that they come last: a process that is killed closes its
                connections one by one, and takes new ones until it closes its port.

        Returns:
            None: all are away.

        Raises:
            StatusError: UNAVAILABLE, the gateway is stopping.
        """
        if self._closed:
            raise _stopping()
        targets, now = self._targets, self._loop.time()
        full: Target | None = None
        away: Target | None = None
        again: Target | None = None
        for _ in targets:
            self._turn = (self._turn + 1) % len(targets)
            target = targets[self._turn]
            if target.down_until > now:
                away = target if target not in failed else away
            elif target in failed:
                again = target
            elif target.idle or target.slots < self._connections:
                return target
            else:
                full = full or target
        return full or away or again

    async def _connection(self, target: Target, end: float) -> Connection:
        """A new connection, or one that another request has just done with.

        Raises:
            _AwayError. StatusError: DEADLINE_EXCEEDED.
        """
        if target.slots < self._connections:
            target.slots += 1
        else:
            given = await self._wait(target, end)
            if given is not None:
                return given
        try:
            return await self._connect(target, end)
        except BaseException:
            target.free()
            raise

    async def _wait(self, target: Target, end: float) -> Connection | None:
        """What the target gives first: a connection, or a slot (None).

        Raises:
            StatusError: DEADLINE_EXCEEDED.
        """
        waiting: asyncio.Future[Connection | None] = self._loop.create_future()
        target.waiting.append(waiting)
        try:
            async with asyncio.timeout_at(end):
                return await waiting
        except BaseException as error:
            if (
                waiting.done() and not waiting.cancelled() and waiting.exception() is None
            ):  # it was given in the moment of giving up
                given = waiting.result()
                target.free() if given is None else target.give(given)
            if isinstance(error, TimeoutError):
                raise _too_late() from error
            raise

    async def _connect(self, target: Target, end: float) -> Connection:
        """A new connection; the caller has its slot.

        Raises:
            _AwayError. StatusError: DEADLINE_EXCEEDED.
        """
        limit = self._loop.time() + self._connect_s
        make = partial(Connection, self._loop, target.lose, self._answer_bytes)
        try:
            async with asyncio.timeout_at(min(end, limit)):
                _, connection = await self._loop.create_connection(make, target.host, target.port)
            if not connection.usable:
                raise ConnectionResetError("closed at once")
        except OSError as error:  # of which TimeoutError is one
            now = self._loop.time()
            if isinstance(error, TimeoutError) and now >= end:
                raise _too_late() from error
            target.refused(now)
            raise _AwayError from error
        target.accepted()
        target.all.add(connection)
        return connection

    async def _probe(self, target: Target, timeout_s: float) -> bool:
        make = partial(Connection, self._loop, lambda _: None, self._answer_bytes)
        head = _head(b"GET", _PROBE, target.host_line, b"", 0)
        with suppress(OSError, StatusError, CutError):
            async with asyncio.timeout(timeout_s):
                _, connection = await self._loop.create_connection(make, target.host, target.port)
                try:
                    await connection.ask(head, b"", self._loop.time() + timeout_s)
                    return True
                finally:
                    connection.abort()
        return False

    def _all_away(self) -> StatusError:
        names = ", ".join(target.name for target in self._targets)
        return StatusError(Code.UNAVAILABLE, f"No model server can be reached: {names}")


def _head(method: bytes, path: bytes, host_line: bytes, headers: bytes, size: int) -> bytes:
    return b"%b %b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n" % (method, path, host_line, headers, size)


def _stopping() -> StatusError:
    return StatusError(Code.UNAVAILABLE, "The gateway is stopping")


def _too_late() -> StatusError:
    return StatusError(Code.DEADLINE_EXCEEDED, "No model server took the request in time")
