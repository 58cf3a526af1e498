"""What the gateway itself answers: feedback, tallies, metrics, health."""

from dataclasses import replace

import pytest

from serving.gateway.rest_front import RestFront
from serving.gateway.settings import Settings
from serving.traffic_plan import ModelPlan, Target, TrafficPlan
from tests.serving.gateway.rest_fakes import Door, headers_of


@pytest.mark.parametrize(
    ("target", "body"),
    [("/v1/tallies", b'{"instance": "x"}'), ("/metrics", b"a_metric 1\n"), ("/metrics?name=a", b"a_metric 1\n")],
)
def test_counts_can_be_read(target: str, body: bytes) -> None:
    answer = Door(token=b"s3cret").say(target, b"", method="GET")
    assert (answer.status, answer.body) == (200, body)
    assert headers_of(answer)["content-type"].startswith(("application/json", "text/plain"))


def test_feedback_is_handed_on() -> None:
    answer = Door().say("/v1/feedback", b"{}")
    assert (answer.status, answer.body) == (202, b"took {}")


def test_feedback_needs_the_token_when_there_is_one() -> None:
    door = Door(token=b"s3cret")
    for given in (b"", b"Bearer wrong"):
        answer = door.say("/v1/feedback", b"{}", authorization=given)
        assert (answer.status, headers_of(answer)["www-authenticate"]) == (401, "bearer")
    assert door.say("/v1/feedback", b"{}", authorization=b"Bearer s3cret").status == 202
    assert door.say("/v1/models/m:predict").status == 200


def test_without_impressions_there_is_no_feedback() -> None:
    door = Door()
    door.front = RestFront(replace(door.parts, feedback=None), Settings())
    assert door.say("/v1/feedback", b"{}").status == 501


@pytest.mark.parametrize(
    ("target", "method", "allowed"),
    [("/v1/feedback", "GET", "post"), ("/metrics", "POST", "get"), ("/healthz", "DELETE", "get")],
)
def test_another_method_is_told_the_right_one(target: str, method: str, allowed: str) -> None:
    answer = Door().say(target, method=method)
    assert (answer.status, headers_of(answer)["allow"]) == (405, allowed)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_it_is_alive_whatever_is_away(method: str) -> None:
    door = Door()
    door.upstream.alive = False
    door.watch.plan = TrafficPlan()
    assert door.say("/healthz", b"", method=method).status == 200
    assert door.say("/readyz", b"", method=method).status == 503


def test_it_is_ready_when_there_is_a_plan_and_a_model_server_answers() -> None:
    door = Door()
    assert door.say("/readyz", b"", method="GET").status == 200
    door.watch.plan = TrafficPlan(0, {"m": ModelPlan("m", Target(1))})
    assert door.say("/readyz", b"", method="GET").status == 200
    door.upstream.alive = False
    assert door.say("/readyz", b"", method="GET").body == b"No model server answers\n"
    door.upstream.alive = True
    door.watch.plan = TrafficPlan()
    assert door.say("/readyz", b"", method="GET").body == b"No traffic plan has been read yet\n"


def test_it_is_no_longer_ready_when_it_stops() -> None:
    door = Door()
    door.admission.close()
    assert door.say("/readyz", b"", method="GET").body == b"The gateway is stopping\n"
    assert door.say("/healthz", b"", method="GET").status == 200
