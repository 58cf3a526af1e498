"""Traffic is never worse than stable: what happens when the canary fails, or everything is away, late or too much."""

import asyncio
from dataclasses import replace

import orjson
import pytest

from serving.gateway.upstream_connection import Answer
from serving.status import Code, StatusError
from tests.serving.gateway.rest_fakes import JSON, STABLE, Door, headers_of, right, run, until

PREDICT = "/v1/models/m:predict"
REFUSED = Answer(400, JSON, b'{"error": "what is this?"}')
BROKEN = Answer(500, JSON, b'{"error": "broken"}')


def failing(canary: Answer | StatusError, stable: Answer | StatusError | None = None, limit_s: float = 30.0) -> Door:
    """A door before a canary, and a stable version, that answer so."""

    def says(path: bytes) -> Answer:
        said = canary if b"canary" in path else stable
        if isinstance(said, StatusError):
            raise said
        return right(path) if said is None else said

    return Door(says, timeout_s=limit_s, canary_time_share=0.5)


@pytest.mark.parametrize(
    ("canary", "code"),
    [
        (BROKEN, "INTERNAL"),
        (REFUSED, "INVALID_ARGUMENT"),
        (Answer(404, JSON, b""), "NOT_FOUND"),
        (Answer(302, b"", b""), "UNKNOWN"),
        (StatusError(Code.UNAVAILABLE, "away"), "UNAVAILABLE"),
        (StatusError(Code.DEADLINE_EXCEEDED, "late"), "DEADLINE_EXCEEDED"),
    ],
)
def test_when_the_canary_fails_the_client_gets_stables_answer(canary: Answer | StatusError, code: str) -> None:
    door = failing(canary)
    answer = door.say(PREDICT, b"{}", x_user_id=b"canary", x_request_id=b"r-1")
    (exchange,) = door.recorded.exchanges
    assert (exchange.routed, exchange.code) == (door.router.canary, code)
    assert (answer.status, answer.body) == (200, b"answer to /v1/models/m/labels/stable:predict")
    assert headers_of(answer) == {
        "content-type": "application/json",
        "x-request-id": "r-1",
        "x-pressline-version": "1",
        "x-pressline-variant": "stable",
    }
    assert (exchange.fell_back, exchange.version, exchange.response) == (True, 2, b"")


def test_what_stable_refuses_likewise_was_the_clients_mistake() -> None:
    door = failing(REFUSED, Answer(400, JSON, b'{"error": "stable says what is wrong"}'))
    answer = door.say(PREDICT, x_user_id=b"canary")
    assert (answer.status, answer.body) == (400, b'{"error": "stable says what is wrong"}')
    assert headers_of(answer)["x-pressline-variant"] == "stable"
    (exchange,) = door.recorded.exchanges
    assert (exchange.routed.variant, exchange.code, exchange.fell_back) == ("canary", "INVALID_ARGUMENT", False)


def test_what_stable_refuses_otherwise_was_the_canarys_failure_too() -> None:
    door = failing(BROKEN, REFUSED)
    assert door.say(PREDICT, x_user_id=b"canary").status == 400
    (exchange,) = door.recorded.exchanges
    assert (exchange.code, exchange.fell_back) == ("INTERNAL", True)


def test_stable_is_asked_within_the_same_deadline_of_which_the_canary_has_a_part() -> None:
    door = failing(BROKEN, limit_s=10.0)
    door.say(PREDICT, x_user_id=b"canary")
    door.say(PREDICT, x_user_id=b"anna")
    first, second, stables_own = (one.timeout_s for one in door.upstream.asked)
    assert (first, stables_own) == (5.0, 10.0)
    assert 5.0 < second <= 10.0


def test_a_tester_sees_the_canarys_failure() -> None:
    door = failing(BROKEN)
    answer = door.say(PREDICT, x_pressline_variant=b"canary")
    assert (answer.status, headers_of(answer)["x-pressline-variant"]) == (500, "canary")
    assert len(door.upstream.asked) == 1
    assert not door.recorded.exchanges[0].fell_back


def test_stable_is_asked_as_the_plan_has_it_by_then() -> None:
    door = failing(BROKEN)

    def says(path: bytes) -> Answer:
        door.router.stable = replace(STABLE, version=5, label=None)
        return BROKEN if b"canary" in path else right(path)

    door.upstream.says = says
    answer = door.say(PREDICT, x_user_id=b"canary")
    assert headers_of(answer)["x-pressline-version"] == "5"
    assert door.upstream.paths[1] == "/v1/models/m/versions/5:predict"


@pytest.mark.parametrize(
    ("error", "status"), [(Code.UNAVAILABLE, 503), (Code.DEADLINE_EXCEEDED, 504)], ids=["away", "late"]
)
def test_when_nobody_answers_the_client_is_told(error: Code, status: int) -> None:
    door = failing(StatusError(error, "why"), StatusError(error, "why"))
    for user in (b"anna", b"canary"):
        answer = door.say(PREDICT, x_user_id=user, x_request_id=b"r-1")
        assert (answer.status, orjson.loads(answer.body)) == (status, {"error": "why"})
        assert ("retry-after" in headers_of(answer)) is (status == 503)
        assert headers_of(answer)["x-request-id"] == "r-1"
    assert [(one.code, one.fell_back) for one in door.recorded.exchanges] == [(error.name, False)] * 2
    about = door.say("/v1/models/m", b"", method="GET")
    assert about.status == status


def test_requests_over_the_limit_are_refused_at_once_and_counted() -> None:
    go = asyncio.Event()

    async def says(path: bytes) -> Answer:
        await go.wait()
        return right(path)

    async def flood() -> None:
        door = Door(says)
        waiting = [asyncio.create_task(door.ask(PREDICT)) for _ in range(2)]
        await until(lambda: len(door.upstream.asked) == 2)
        for target, method in ((PREDICT, "POST"), ("/v1/models/m", "GET"), ("/v1/feedback", "POST")):
            refused = await door.ask(target, method=method, x_request_id=b"r-1")
            assert refused.status == 429
            assert {"retry-after", "x-request-id"} < set(headers_of(refused))
            assert "error" in orjson.loads(refused.body)
        assert door.metrics.sheds == 3
        assert (await door.ask("/healthz", method="GET")).status == 200
        go.set()
        assert [(await one).status for one in waiting] == [200, 200]
        assert (await door.ask(PREDICT)).status == 200
        assert door.admission.in_flight == 0

    run(flood())


def test_after_the_door_is_closed_requests_are_sent_elsewhere() -> None:
    door = Door()
    door.admission.close()
    answer = door.say(PREDICT)
    assert (answer.status, "retry-after" in headers_of(answer)) == (503, True)


@pytest.mark.parametrize("stage", ["canary", "stable"])
def test_a_client_that_goes_away_is_recorded_as_such_and_leaves_room(stage: str) -> None:
    """Whether it waits for the canary or, after that has failed, for stable."""

    async def says(path: bytes) -> Answer:
        if stage.encode() in path:
            await asyncio.Event().wait()
        return BROKEN

    async def leave() -> None:
        door = Door(says)
        asking = asyncio.create_task(door.ask(PREDICT, x_user_id=b"canary"))
        await until(lambda: any(stage in path for path in door.upstream.paths))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        (exchange,) = door.recorded.exchanges
        assert (exchange.routed.variant, exchange.code, exchange.fell_back) == ("canary", "CANCELLED", False)
        assert door.admission.in_flight == 0

    run(leave())
