"""The gRPC door when something goes wrong: failing and hanging canaries, deadlines, callers who leave, overload."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from serving.gateway.grpc_front import PREDICTION
from serving.http2 import frames
from serving.http2.frames import Reason, frame, number
from tests.serving.gateway.grpc_stub import Answer, Door, Fault, Stub, door, failing, hanging, predict, stub, wait_for
from tests.serving.http2.raw import client, request
from tests.serving.model_server.grpc_running import LIMIT_S, loop

Code = grpc.StatusCode
PREDICT = f"/{PREDICTION}/Predict"


@pytest.fixture(scope="module")
def started() -> Iterator[Stub]:
    with stub() as server:
        yield server


@pytest.fixture
def server(started: Stub) -> Stub:
    started.seen.clear()
    started.faults.clear()
    return started


@pytest.fixture
def front(server: Stub) -> Iterator[Door]:
    with door(server.target, timeout_s=20.0, shadow_timeout_s=0.3) as made:
        made.plan(1.0)
        yield made


def asked(server: Stub) -> list[bytes]:
    """The labels that the stub was asked for, in this order."""
    return [b"canary" if b"canary" in one.content else b"stable" for one in server.seen]


@pytest.mark.parametrize(
    "code", [Code.INTERNAL, Code.NOT_FOUND, Code.INVALID_ARGUMENT, Code.UNAVAILABLE, Code.DATA_LOSS, Code.CANCELLED]
)
def test_what_the_canary_fails_stable_answers(server: Stub, front: Door, code: grpc.StatusCode) -> None:
    server.faults[2] = failing(code)
    answer = front.call(predict(), ("x-user-id", "u1"), ("x-request-id", "r"))
    assert (answer.code, answer.version) == (Code.OK, 1)
    assert answer.trailing == {"x-request-id": "r", "x-pressline-version": "1", "x-pressline-variant": "stable"}
    (exchange,) = front.recorded
    assert (exchange.routed.variant, exchange.code, exchange.fell_back) == ("canary", code.name, True)
    assert exchange.response == b""


def test_what_both_refuse_alike_is_the_clients_mistake(server: Stub, front: Door) -> None:
    server.faults |= {1: failing(Code.INVALID_ARGUMENT, "stable's"), 2: failing(Code.INVALID_ARGUMENT, "canary's")}
    answer = front.call(predict())
    assert (answer.code, answer.details) == (Code.INVALID_ARGUMENT, "stable's")
    (exchange,) = front.recorded
    assert (exchange.routed.variant, exchange.code, exchange.fell_back) == ("canary", "INVALID_ARGUMENT", False)


def test_where_both_fail_in_their_own_ways_stables_error_is_told_and_the_canary_has_failed(
    server: Stub, front: Door
) -> None:
    server.faults |= {1: failing(Code.FAILED_PRECONDITION, "stable's"), 2: failing(Code.INTERNAL, "canary's")}
    answer = front.call(predict())
    assert (answer.code, answer.details) == (Code.FAILED_PRECONDITION, "stable's")
    (exchange,) = front.recorded
    assert (exchange.code, exchange.fell_back) == ("INTERNAL", True)


def test_a_hanging_canary_leaves_stable_the_time_to_answer(server: Stub, front: Door) -> None:
    server.faults[2] = hanging
    answer = front.call(predict(), timeout_s=2.0)
    assert (answer.code, answer.version) == (Code.OK, 1)
    (exchange,) = front.recorded
    assert (exchange.code, exchange.fell_back) == ("DEADLINE_EXCEEDED", True)
    assert server.seen[0].left_s is not None
    assert server.seen[0].left_s < 1.5  # gRPC sends it rounded up


def test_stable_that_fails_is_not_asked_twice_nor_is_the_canary(server: Stub, front: Door) -> None:
    front.plan(0.0)
    server.faults[1] = failing(Code.INTERNAL, "broken")
    answer = front.call(predict())
    assert (answer.code, answer.details) == (Code.INTERNAL, "broken")
    assert asked(server) == [b"stable"]
    assert [(one.code, one.routed.variant) for one in front.recorded] == [("INTERNAL", "stable")]


def test_a_server_gets_the_callers_deadline_and_never_more_than_the_doors(server: Stub, front: Door) -> None:
    front.plan(0.0)
    for timeout_s in (5.0, 1000.0, None):
        front.call(predict(), timeout_s=timeout_s)
    left_s = [seen.left_s for seen in server.seen]
    assert all(left is not None and left <= 1.1 * limit for left, limit in zip(left_s, (5.0, 20.0, 20.0), strict=True))
    assert left_s[1] is not None
    assert left_s[1] > 5.0


def test_a_deadline_that_passes_is_told_recorded_and_ends_the_servers_work(server: Stub, front: Door) -> None:
    front.plan(0.0)
    server.faults[1] = hanging
    assert front.call(predict(), timeout_s=0.3).code == Code.DEADLINE_EXCEEDED
    wait_for(lambda: front.recorded)
    assert [(one.code, one.fell_back) for one in front.recorded] == [("DEADLINE_EXCEEDED", False)]
    wait_for(server.seen[0].cancelled.is_set)
    wait_for(lambda: not front.admission.in_flight)


def test_the_doors_own_limit_is_a_deadline_as_well(server: Stub) -> None:
    server.faults[1] = hanging
    with door(server.target, timeout_s=0.2) as front:
        front.plan(0.0)
        answer = front.call(predict(), ("x-request-id", "r"))
    assert answer.code == Code.DEADLINE_EXCEEDED
    assert answer.trailing["x-request-id"] == "r"


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_caller_who_leaves_ends_the_servers_work_and_blames_nobody(server: Stub, front: Door, share: float) -> None:
    front.plan(share)
    server.faults |= {1: hanging, 2: hanging}
    with grpc.insecure_channel(front.target) as channel:
        call = channel.unary_unary(PREDICT).future(predict(), timeout=LIMIT_S)
        wait_for(lambda: server.seen)
        call.cancel()
        wait_for(server.seen[0].cancelled.is_set)
    wait_for(lambda: front.recorded)
    assert [(one.code, one.fell_back) for one in front.recorded] == [("CANCELLED", False)]
    wait_for(lambda: not front.admission.in_flight)


def test_a_caller_who_leaves_while_stable_is_asked_instead_does_not_blame_the_canary(server: Stub, front: Door) -> None:
    server.faults |= {1: hanging, 2: failing(Code.INVALID_ARGUMENT)}
    with grpc.insecure_channel(front.target) as channel:
        call = channel.unary_unary(PREDICT).future(predict(), timeout=LIMIT_S)
        wait_for(lambda: len(server.seen) == 2)
        call.cancel()
        wait_for(lambda: front.recorded)
    assert [(one.routed.variant, one.code, one.fell_back) for one in front.recorded] == [("canary", "CANCELLED", False)]


def test_more_than_may_be_under_way_is_refused_with_a_time_to_come_back(server: Stub) -> None:
    server.faults[1] = hanging
    with door(server.target, max_in_flight=1) as front, grpc.insecure_channel(front.target) as channel:
        front.plan(0.0)
        first = channel.unary_unary(PREDICT).future(predict(), timeout=LIMIT_S)
        wait_for(lambda: server.seen)
        answer = front.call(predict(), ("x-request-id", "r"))
        assert answer.code == Code.RESOURCE_EXHAUSTED
        assert answer.trailing == {"x-request-id": "r", "retry-after": "1", "grpc-retry-pushback-ms": "1000"}
        server.faults.clear()
        first.cancel()
        wait_for(lambda: not front.admission.in_flight)
        assert front.call(predict()).code == Code.OK


def test_a_closed_door_says_unavailable(server: Stub, front: Door) -> None:
    front.admission.close()
    answer = front.call(predict())
    assert answer.code == Code.UNAVAILABLE
    assert answer.trailing["retry-after"] == "1"


def test_a_copy_goes_to_the_canary_whose_answer_nobody_sees(server: Stub, front: Door) -> None:
    front.plan(0.0, shadow=1.0)
    answer = front.call(predict(), ("x-user-id", "u1"), ("x-request-id", "r"))
    assert (answer.version, answer.trailing["x-pressline-variant"]) == (1, "stable")
    wait_for(lambda: len(front.recorded) == 2)
    own, copy = front.recorded
    assert (own.routed.variant, own.shadow, own.version) == ("stable", False, 1)
    assert (copy.routed.variant, copy.shadow, copy.version, copy.code) == ("canary", True, 2, "OK")
    assert (copy.request_id, copy.routed.key_hash) == (own.request_id, own.routed.key_hash)
    assert asked(server) == [b"stable", b"canary"]


@pytest.mark.parametrize(("fault", "code"), [(failing(Code.INTERNAL), "INTERNAL"), (hanging, "DEADLINE_EXCEEDED")])
def test_a_copy_that_fails_harms_nobody(server: Stub, front: Door, fault: Fault, code: str) -> None:
    front.plan(0.0, shadow=1.0)
    server.faults[2] = fault
    assert front.call(predict()).code == Code.OK
    wait_for(lambda: len(front.recorded) == 2)
    assert [(one.shadow, one.code) for one in front.recorded] == [(False, "OK"), (True, code)]
    wait_for(lambda: not front.shadow.in_flight)


def test_what_stable_refuses_is_not_copied(server: Stub, front: Door) -> None:
    front.plan(0.0, shadow=1.0)
    server.faults[1] = failing(Code.INVALID_ARGUMENT)
    assert front.call(predict()).code == Code.INVALID_ARGUMENT
    assert front.call(predict(label="stable")).code == Code.INVALID_ARGUMENT
    assert asked(server) == [b"stable", b"stable"]


def test_copies_beyond_their_limit_are_dropped(server: Stub) -> None:
    server.faults[2] = hanging
    with door(server.target, shadow_in_flight=2, shadow_timeout_s=LIMIT_S) as front:
        front.plan(0.0, shadow=1.0)
        for _ in range(5):
            assert front.call(predict()).code == Code.OK
        assert (front.shadow.in_flight, front.shadow.dropped) == (2, 3)


def test_hundreds_of_callers_at_once_all_get_their_own_answer(server: Stub, front: Door) -> None:
    front.plan(0.5)
    results: list[list[Answer]] = [[] for _ in range(8)]

    def ask(into: list[Answer], number: int) -> None:
        into.extend(front.call(predict(), ("x-request-id", f"{number}-{n}")) for n in range(25))

    threads = [threading.Thread(target=ask, args=(into, number)) for number, into in enumerate(results)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    for caller, into in enumerate(results):
        assert [one.trailing["x-request-id"] for one in into] == [f"{caller}-{n}" for n in range(25)]
        assert all(one.code == Code.OK and str(one.version) == one.trailing["x-pressline-version"] for one in into)
    assert len(front.recorded) == 200


def test_callers_who_leave_before_their_call_is_looked_at_take_no_room(server: Stub) -> None:
    """The call and its end come in one piece, so that the work on it is dropped before it begins."""
    with door(server.target, max_in_flight=5) as front, client(int(front.target.rpartition(":")[2])) as peer:
        front.plan(0.0)
        for stream in range(1, 41, 2):
            reset = frame(frames.RST_STREAM, 0, stream, number(Reason.CANCEL))
            peer.send(request(stream, predict(), path=PREDICT.encode()) + reset)
        peer.send(frame(frames.PING, 0, 0, bytes(8)))
        peer.wait(frames.PING)
        assert front.call(predict()).code == Code.OK
        assert front.admission.in_flight == 0


def test_a_call_with_two_messages_is_refused_and_the_door_goes_on(server: Stub, front: Door) -> None:
    async def ask_twice() -> Any:
        async with grpc.aio.insecure_channel(front.target) as channel:
            call = channel.stream_unary(PREDICT)(iter([predict(), predict()]))
            try:
                return await asyncio.wait_for(call, 5)
            except grpc.aio.AioRpcError as error:
                return error.code()
            except TimeoutError:
                return None

    assert loop().run(ask_twice()) is not None
    assert front.call(predict()).code == Code.OK
