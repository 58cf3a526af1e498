"""The load generator's own process: `python -m tests.benchmarks.load_program SPEC`, one JSON line at the end.

Open loop: requests are due at a constant rate, whatever the answers do, and a request's time counts from when it was
due, so that what waits for a stalled server is seen. Closed loop: as many requests at a time as there is room for.
It writes a record of three int64 for each request: when it was due and what it took (nanoseconds, the first since the
start; -1: never answered), and 1 for a good answer, 0 for another.
"""

import base64
import ctypes
import gc
import json
import pickle
import select
import sys
import time
from array import array
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.benchmarks.load_http1 import Http1Connection
from tests.benchmarks.load_http2 import Http2Connection

PR_SET_TIMERSLACK = 29
NEVER = -1
Connection = Http1Connection | Http2Connection


@dataclass(frozen=True)
class Spec:
    """What to do.

    Attributes:
        host, port: of the server.
        grpc: else REST.
        path: of the POST, or /package.Service/Method.
        bodies: a pickled list of bytes; requests take them in turn.
        connections: opened before the first request.
        streams: calls at a time on each; 1 for REST.
        rate: requests due a second; 0 for a closed loop.
        seconds: how long requests become due.
        grace_s: how long what is under way then is waited for.
        records: the file to write.
        keys: different users that the requests come from, named in `x-user-id`; 0 for none.
    """

    host: str
    port: int
    grpc: bool
    path: str
    bodies: str
    connections: int
    streams: int
    rate: float
    seconds: float
    grace_s: float
    records: str
    keys: int = 0


class Drive:
    """One run over a spec's connections."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        bodies: list[bytes] = pickle.loads(Path(spec.bodies).read_bytes())
        self.different = len(bodies)
        self.bodies = [bodies[number % len(bodies)] for number in range(max(spec.keys, len(bodies)))]
        self.connections = [self._connect() for _ in range(spec.connections)]
        self.due, self.took, self.good = array("q"), array("q"), array("q")
        self.due_tickets: deque[int] = deque()  # due and not yet sent
        self.first_complaint = ""
        self.sample = (0, b"")  # the number of a body and its answer
        self.epoll = select.epoll()
        self.by_file: dict[int, Connection] = {}
        for connection in self.connections:
            self._watch(connection)
        self.writing: set[int] = set()
        self.began = 0

    def run(self) -> None:
        """Until all is answered, or the grace is over."""
        spec, clock = self.spec, time.perf_counter_ns
        self.began = clock()
        end, last = round(spec.seconds * 1e9), round((spec.seconds + spec.grace_s) * 1e9)
        total, gap = round(spec.rate * spec.seconds), 1e9 / spec.rate if spec.rate else 0.0
        room = [connection for connection in self.connections for _ in range(connection.room)]
        open_loop = bool(spec.rate)
        while True:
            now = clock() - self.began
            if open_loop:
                while len(self.due) < total and len(self.due) * gap <= now:
                    self._fall_due(round(len(self.due) * gap))
            elif now < end:
                for _ in range(len(room) - len(self.due_tickets)):
                    self._fall_due(now)
            while room and self.due_tickets:
                ticket = self.due_tickets.popleft()
                self._ask(room.pop(), ticket)
            answered = self.took_all()
            more = len(self.due) < total if open_loop else now < end
            if now > last or (answered and not more):
                return
            until = (len(self.due) * gap if open_loop and more else last) - (clock() - self.began)
            # epoll counts in milliseconds; a select on it counts in microseconds
            if not select.select([self.epoll], [], [], max(until, 0) / 1e9)[0]:
                continue
            for file, event in self.epoll.poll(0):
                self._serve(self.by_file[file], event, room)

    def took_all(self) -> bool:
        """Nothing is due or under way."""
        return not self.due_tickets and not any(connection.tickets for connection in self.connections)

    def _fall_due(self, when: int) -> None:
        self.due_tickets.append(len(self.due))
        self.due.append(when)
        self.took.append(NEVER)
        self.good.append(0)

    def _ask(self, connection: Connection, ticket: int) -> None:
        try:
            connection.ask(ticket, ticket % len(self.bodies))
        except OSError:
            return  # reading says it again, and counts what is lost
        self._watch_writing(connection)

    def _serve(self, connection: Connection, event: int, room: list[Connection]) -> None:
        try:
            if event & select.EPOLLOUT:
                connection.flush()
            answers = connection.read() if event & ~select.EPOLLOUT else []
        except BlockingIOError:
            return
        except OSError as error:
            self._replace(connection, str(error), room)
            return
        now = time.perf_counter_ns() - self.began
        for ticket, complaint, answer in answers:
            self.took[ticket] = now - self.due[ticket]
            if complaint:
                self.first_complaint = self.first_complaint or complaint
            else:
                self.good[ticket] = 1
                self.sample = (ticket % len(self.bodies) % self.different, answer)
            room.append(connection)
        self._watch_writing(connection)

    def _replace(self, lost: Connection, why: str, room: list[Connection]) -> None:
        """What was under way on the lost connection has failed; a new one takes its place."""
        self.first_complaint = self.first_complaint or why
        now = time.perf_counter_ns() - self.began
        for ticket in lost.tickets.values() if isinstance(lost.tickets, dict) else lost.tickets:
            self.took[ticket] = now - self.due[ticket]
        self.epoll.unregister(lost.socket)
        del self.by_file[lost.socket.fileno()]
        self.writing.discard(lost.socket.fileno())
        lost.socket.close()
        room[:] = [connection for connection in room if connection is not lost]
        fresh = self._connect()
        self.connections[self.connections.index(lost)] = fresh
        self._watch(fresh)
        room.extend([fresh] * fresh.room)

    def _connect(self) -> Connection:
        address = (self.spec.host, self.spec.port)
        if self.spec.grpc:
            return Http2Connection(address, self.spec.path, self.bodies, self.spec.streams, bool(self.spec.keys))
        return Http1Connection(address, self.spec.path, self.bodies, bool(self.spec.keys))

    def _watch(self, connection: Connection) -> None:
        self.by_file[connection.socket.fileno()] = connection
        self.epoll.register(connection.socket, select.EPOLLIN)

    def _watch_writing(self, connection: Connection) -> None:
        file = connection.socket.fileno()
        if bool(connection.unsent) != (file in self.writing):
            self.writing.symmetric_difference_update({file})
            self.epoll.modify(file, select.EPOLLIN | (select.EPOLLOUT if connection.unsent else 0))


def main(arguments: list[str]) -> int:
    """The exit code: 0 when it ran to its end, whatever the server answered."""
    spec = Spec(**json.loads(arguments[0]))
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1000)  # ns; the default of 50 us would be seen at low rates
    drive = Drive(spec)
    gc.disable()
    busy = time.process_time()
    drive.run()
    seconds = (time.perf_counter_ns() - drive.began) / 1e9
    busy = time.process_time() - busy
    with Path(spec.records).open("wb") as records:
        for column in (drive.due, drive.took, drive.good):
            column.tofile(records)
    which, answer = drive.sample
    said = {
        "spec": asdict(spec),
        "began_s": drive.began / 1e9,
        "busy": busy / seconds,
        "first_complaint": drive.first_complaint,
        "sample_body": which,
        "sample_answer": base64.b64encode(answer).decode(),
    }
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
