"""What the gateway takes on and what it refuses."""

import asyncio

from serving.gateway.admission import Admission
from serving.status import Code
from tests.serving.gateway.rest_fakes import run


def test_what_is_over_the_number_in_flight_is_refused_until_one_leaves() -> None:
    admission = Admission(max_in_flight=2)
    assert admission.enter() is None
    assert admission.enter() is None
    refusal = admission.enter()
    assert refusal is not None
    assert (refusal.code, refusal.retry_after_s > 0) == (Code.RESOURCE_EXHAUSTED, True)
    assert admission.in_flight == 2
    admission.leave()
    assert admission.enter() is None


def test_what_is_over_the_bytes_is_refused_but_the_only_request_is_taken_whatever_its_size() -> None:
    admission = Admission(max_bytes=100)
    assert admission.enter(1000) is None
    refusal = admission.enter(1)
    assert refusal is not None
    assert refusal.code is Code.RESOURCE_EXHAUSTED
    admission.leave(1000)
    assert admission.enter(60) is None
    assert admission.enter(40) is None
    assert admission.enter(1) is not None
    assert admission.enter(0) is None


def test_after_closing_everything_is_refused_and_the_wait_ends_with_the_last_request() -> None:
    async def close() -> None:
        admission = Admission()
        admission.enter(5)
        admission.close()
        refusal = admission.enter()
        assert refusal is not None
        assert refusal.code is Code.UNAVAILABLE
        assert not await admission.drained(0.01)
        waiting = asyncio.create_task(admission.drained(30))
        await asyncio.sleep(0)
        admission.leave(5)
        assert await waiting

    run(close())


def test_closing_when_nothing_is_under_way_is_done_at_once() -> None:
    async def close() -> None:
        admission = Admission()
        admission.close()
        assert admission.closed
        assert await admission.drained(30)

    run(close())
