"""Shadow mode over REST: the canary gets copies, and users notice nothing."""

import asyncio
from dataclasses import replace

from serving.gateway.upstream_connection import Answer
from tests.serving.gateway.rest_fakes import JSON, STABLE, Door, headers_of, right, run, until

PREDICT = "/v1/models/m:predict"


def copying(door: Door) -> Door:
    door.router.stable = replace(STABLE, copy=True)
    return door


def test_a_copy_goes_to_the_canary_and_is_recorded_apart() -> None:
    door = copying(Door(shadow_timeout_s=2.5))
    answer = door.say(PREDICT, b"{1}", x_request_id=b"r-1")
    assert headers_of(answer)["x-pressline-variant"] == "stable"
    assert door.upstream.paths == ["/v1/models/m/labels/stable:predict", "/v1/models/m/labels/canary:predict"]
    assert (door.upstream.asked[1].body, door.upstream.asked[1].timeout_s) == (b"{1}", 2.5)
    own, copy = door.recorded.exchanges
    assert (own.shadow, own.routed.variant) == (False, "stable")
    assert (copy.shadow, copy.routed.variant, copy.request_id) == (True, "canary", "r-1")
    assert (copy.code, copy.response) == ("OK", b"answer to /v1/models/m/labels/canary:predict")


def test_a_copy_that_fails_is_recorded_and_is_not_asked_of_stable() -> None:
    door = copying(Door(lambda path: Answer(500, JSON, b"{}") if b"canary" in path else right(path)))
    assert door.say(PREDICT).status == 200
    assert len(door.upstream.asked) == 2
    copy = door.recorded.exchanges[1]
    assert (copy.shadow, copy.code, copy.fell_back, copy.response) == (True, "INTERNAL", False, b"")


def test_what_stable_refuses_is_not_copied() -> None:
    door = copying(Door(lambda path: Answer(400, JSON, b"{}")))
    door.say(PREDICT)
    assert len(door.upstream.asked) == 1


def test_the_user_does_not_wait_for_copies_and_those_over_the_limit_are_dropped() -> None:
    async def says(path: bytes) -> Answer:
        if b"canary" in path:
            await asyncio.Event().wait()
        return right(path)

    async def ask() -> None:
        door = copying(Door(says))
        for _ in range(4):
            assert (await door.ask(PREDICT)).status == 200
        await until(lambda: len(door.upstream.asked) == 5)
        assert (door.shadow.in_flight, door.shadow.dropped) == (1, 3)
        assert door.admission.in_flight == 0
        await door.shadow.close()
        assert len(door.recorded.exchanges) == 4  # a copy that was cut off says nothing about the canary

    run(ask())
