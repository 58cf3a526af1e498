"""What an exchange counts as: for the controller, and for Prometheus."""

import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.gateway import counting as module
from serving.gateway.counting import Counting
from serving.gateway.exchange import Exchange, Routed
from serving.gateway.metrics import GatewayMetrics
from serving.tallies import Tally, TallyKey, from_json, latency_bucket, prediction_bucket
from serving.traffic_plan import Variant

STABLE = Routed("clicks", "stable", 3, "stable", "key", 99, 7, 2, False)
CANARY = replace(STABLE, variant="canary", version=4, label="canary")
S, C = (TallyKey("clicks", 7, 2, variant, version) for variant, version in (("stable", 3), ("canary", 4)))
UNPLANNED = Routed("other", "", None, None, "unplanned", None, None, 0, False)
CODES = ("OK", "INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "INVALID_ARGUMENT", "CANCELLED")


def exchange(
    routed: Routed, code: str = "OK", latency_s: float = 0.01, shadow: bool = False, fell_back: bool = False
) -> Exchange:
    version = routed.version
    return Exchange(routed, "id", "REST", "predict", 0.0, latency_s, code, version, b"", b"", shadow, fell_back)


def counting() -> Counting:
    return Counting(GatewayMetrics())


def read(made: Counting) -> dict[TallyKey, Tally]:
    return from_json(made.tallies())[1]


def counted(*exchanges: Exchange) -> dict[TallyKey, Tally]:
    """The tallies of these exchanges alone."""
    made = counting()
    for one in exchanges:
        made.count(one)
    return read(made)


def test_a_request_is_its_variants_by_key_or_at_random() -> None:
    by_chance = replace(CANARY, how="random", key_hash=None)
    bucket = latency_bucket(10.0)
    assert counted(exchange(STABLE), exchange(STABLE), exchange(CANARY), exchange(by_chance)) == {
        S: Tally(keyed=2, latency={bucket: 2}),
        C: Tally(keyed=1, random=1, latency={bucket: 2}),
    }


def test_without_a_canary_requests_with_a_key_are_keyed_as_well() -> None:
    only = replace(STABLE, how="only", rollout=None, step=0)
    found = counted(exchange(only), exchange(replace(only, key_hash=None)))[TallyKey("clicks", None, 0, "stable", 3)]
    assert (found.keyed, found.random) == (1, 1)


def test_each_step_rollout_and_version_has_its_own_tally() -> None:
    others = [replace(STABLE, step=3), replace(STABLE, rollout=8), replace(STABLE, version=5), STABLE]
    assert len(counted(*(exchange(one) for one in others))) == 4


@pytest.mark.parametrize("code", ["OK", "INTERNAL"])
def test_testers_are_counted_apart_from_everything(code: str) -> None:
    tester = exchange(replace(CANARY, how="override"), code)
    assert counted(tester, tester) == {C: Tally(by_override=2)}


def test_a_copy_is_a_request_of_the_canary_and_told_apart() -> None:
    found = counted(exchange(CANARY, shadow=True), exchange(CANARY))
    assert (found[C].requests, found[C].shadow) == (2, 1)


def test_a_request_that_stable_answered_for_the_canary_is_an_error_of_the_canary() -> None:
    found = counted(exchange(CANARY, "UNAVAILABLE", fell_back=True), exchange(CANARY, "NOT_FOUND", fell_back=True))
    assert found == {
        C: Tally(keyed=2, errors={"UNAVAILABLE": 1, "NOT_FOUND": 1}, fell_back=2, latency={latency_bucket(10.0): 2})
    }


@pytest.mark.parametrize("routed", [STABLE, CANARY])
def test_the_clients_own_mistakes_are_nobodys_errors(routed: Routed) -> None:
    found = counted(exchange(routed, "INVALID_ARGUMENT"), exchange(routed, "CANCELLED"), exchange(routed, "INTERNAL"))
    (tally,) = found.values()
    assert (tally.requests, tally.errors) == (3, {"INTERNAL": 1})


def test_what_the_canary_refuses_of_requests_that_stable_answered_is_its_error() -> None:
    assert counted(exchange(CANARY, "INVALID_ARGUMENT", shadow=True))[C].errors == {"INVALID_ARGUMENT": 1}


def test_what_no_plan_names_is_in_no_tally_but_on_the_page() -> None:
    made = counting()
    made.count(exchange(UNPLANNED))
    made.predictions(exchange(UNPLANNED), np.array([0.5]))
    assert read(made) == {}
    page = made._metrics.page().decode()
    assert 'requests_total{code="OK",model="other",protocol="REST",variant="",version=""} 1.0' in page
    assert 'prediction_count{model="other",variant="",version=""} 1.0' in page


def test_versions_that_clients_make_up_are_not_shown() -> None:
    made = counting()
    for version in range(100):
        made.count(exchange(replace(UNPLANNED, version=version), "NOT_FOUND"))
    made.count(exchange(replace(UNPLANNED, version=5)))
    page = made._metrics.page().decode()
    assert page.count("pressline_gateway_requests_total{") == 2
    assert 'code="NOT_FOUND",model="other",protocol="REST",variant="",version=""} 100.0' in page
    assert 'code="OK",model="other",protocol="REST",variant="",version="5"} 1.0' in page


def test_the_page_tells_the_same_story(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FOUND", 3)  # what is remembered may be forgotten, what is counted not
    made = counting()
    for one in (
        *(exchange(STABLE), exchange(CANARY, "INTERNAL", fell_back=True), exchange(CANARY, shadow=True)),
        *(exchange(replace(CANARY, how="override")), exchange(STABLE), replace(exchange(STABLE), protocol="GRPC")),
    ):
        made.count(one)
    page = made._metrics.page().decode()
    for line in (
        'requests_total{code="OK",model="clicks",protocol="REST",variant="stable",version="3"} 2.0',
        'requests_total{code="OK",model="clicks",protocol="GRPC",variant="stable",version="3"} 1.0',
        'requests_total{code="INTERNAL",model="clicks",protocol="REST",variant="canary",version="4"} 1.0',
        'requests_total{code="OK",model="clicks",protocol="REST",variant="shadow",version="4"} 1.0',
        'fallbacks_total{model="clicks",protocol="REST",variant="canary",version="4"} 1.0',
        'assignments_total{how="key"} 4.0',
        'assignments_total{how="override"} 1.0',
    ):
        assert f"pressline_gateway_{line}" in page


def test_the_version_that_answered_is_shown_where_it_is_not_the_plans() -> None:
    made = counting()
    made.count(replace(exchange(STABLE), version=4))
    assert 'variant="stable",version="4"} 1.0' in made._metrics.page().decode()
    assert list(read(made)) == [S]


def test_numbers_in_answers_are_counted_by_bucket() -> None:
    made = counting()
    made.predictions(exchange(CANARY), np.array([[0.25, -3.0], [0.25, 0.0]], np.float32))
    made.predictions(exchange(CANARY), np.array([7], np.int64))
    made.predictions(exchange(CANARY), np.array([]))
    expected = {prediction_bucket(0.25): 2, prediction_bucket(-3.0): 1, 0: 1, prediction_bucket(7.0): 1}
    assert read(made) == {C: Tally(sampled=3, predictions=expected)}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_answers_with_numbers_that_are_none_are_counted_once_each(bad: float) -> None:
    made = counting()
    for numbers in ([bad, bad, 1.0], [1.0, 1.0], [bad]):
        made.predictions(exchange(CANARY), np.array(numbers))
    assert read(made)[C] == Tally(sampled=3, not_finite=2, predictions={prediction_bucket(1.0): 3})


def test_numbers_for_testers_are_left_out_and_those_of_copies_are_the_canarys() -> None:
    made = counting()
    made.predictions(exchange(replace(CANARY, how="override")), np.array([0.5, np.nan]))
    assert read(made) == {}
    made.predictions(exchange(CANARY, shadow=True), np.array([0.5]))
    assert read(made)[C].sampled == 1


def test_the_callers_array_may_be_used_again() -> None:
    made, numbers = counting(), np.array([0.5])
    made.predictions(exchange(CANARY), numbers)
    numbers[0] = 9.0
    assert read(made)[C].predictions == {prediction_bucket(0.5): 1}


def test_one_answer_with_very_many_numbers_and_many_answers_are_counted_whole() -> None:
    made = counting()
    made.predictions(exchange(CANARY), np.full(100_000, 0.5))
    for _ in range(2 * module.BATCH + 1):
        made.predictions(exchange(CANARY), np.array([0.5]))
    found = read(made)[C]
    assert found.sampled == 2 * module.BATCH + 2
    assert found.predictions == {prediction_bucket(0.5): 100_001 + 2 * module.BATCH}


variants: st.SearchStrategy[Variant] = st.sampled_from(["stable", "canary"])


@given(st.lists(st.tuples(variants, st.sampled_from(CODES), st.floats(0, 10), st.booleans()), max_size=30))
def test_everything_is_counted_once(story: list[tuple[Variant, str, float, bool]]) -> None:
    found = counted(
        *(
            exchange(CANARY if variant == "canary" else STABLE, code, latency_s, fell_back=back and variant == "canary")
            for variant, code, latency_s, back in story
        )
    )
    for key, variant in ((S, "stable"), (C, "canary")):
        tally, own = found.get(key, Tally()), [one for one in story if one[0] == variant]
        assert tally.keyed == sum(tally.latency.values()) == len(own)
        assert sum(tally.errors.values()) <= sum(code != "OK" for _, code, _, _ in own)


def test_each_process_has_an_instance_of_its_own_that_people_can_tell_apart() -> None:
    one, other = Counting(GatewayMetrics(), "host-a"), Counting(GatewayMetrics(), "host-a")
    assert one.instance != other.instance
    assert one.instance.startswith("host-a-")
    assert from_json(one.tallies()) == (one.instance, {})


def test_the_start_is_told() -> None:
    before = time.time()
    assert before - 1 <= json.loads(counting().tallies())["started_unix_s"] <= time.time() + 1


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_tallies_of_former_rollouts_go_after_a_while_and_not_before() -> None:
    clock = Clock()
    made = Counting(GatewayMetrics(), clock=clock)
    made.count(exchange(STABLE))
    made.predictions(exchange(CANARY), np.array([0.5]))
    newer = replace(STABLE, rollout=8, step=1)
    clock.now += 60
    made.count(exchange(newer))
    assert len(read(made)) == 3
    clock.now += module.KEPT_S - 10
    made.count(exchange(newer))
    assert len(read(made)) == 3
    clock.now += 20
    assert list(read(made)) == [TallyKey("clicks", 8, 1, "stable", 3)]
    made.count(exchange(STABLE))
    made.predictions(exchange(CANARY), np.array([0.5]))
    assert (read(made)[S].keyed, read(made)[C].sampled) == (1, 1)  # late ones begin anew


def test_the_rollout_under_way_is_kept_however_long_nobody_comes() -> None:
    clock = Clock()
    made = Counting(GatewayMetrics(), clock=clock)
    for step in (1, 2):
        made.count(exchange(replace(CANARY, step=step)))
    clock.now += 100 * module.KEPT_S
    assert len(read(made)) == 2


def test_hundreds_of_rollouts_leave_a_few_tallies_even_if_nobody_asks_for_them() -> None:
    clock = Clock()
    made = Counting(GatewayMetrics(), clock=clock)
    for rollout in range(500):
        clock.now += module.KEPT_S
        for routed in (STABLE, CANARY):
            made.count(exchange(replace(routed, rollout=rollout)))
    assert max(len(made._tallies), len(made._moved), len(made._found)) <= 8


def test_the_page_ends_with_the_versions_that_are_gone() -> None:
    clock = Clock()
    made = Counting(GatewayMetrics(), clock=clock)
    for version in range(1, 100):
        clock.now += module.KEPT_S
        routed = replace(CANARY, rollout=version, version=version)
        made.count(exchange(routed))
        made.predictions(exchange(routed), np.array([0.5]))
    made.count(exchange(UNPLANNED))
    page = made._metrics.page().decode()
    assert 'requests_total{code="OK",model="clicks",protocol="REST",variant="canary",version="99"} 1.0' in page
    assert 'requests_total{code="OK",model="other",protocol="REST",variant="",version=""} 1.0' in page
    assert page.count("pressline_gateway_requests_total{") <= 5
    assert page.count("pressline_gateway_prediction_count{") <= 5


def test_numbers_from_a_thread_and_requests_of_the_loop_are_all_counted_while_tallies_are_read() -> None:
    made = counting()

    def sample() -> None:
        for number in range(3000):
            made.predictions(exchange(replace(CANARY, step=number % 3)), np.array([0.5, number]))

    sampling = [threading.Thread(target=sample) for _ in range(2)]
    for thread in sampling:
        thread.start()
    for number in range(20_000):
        made.count(exchange(replace(CANARY, step=number % 5)))
        if number % 500 == 0:
            made.tallies()
    for thread in sampling:
        thread.join()
    found = read(made).values()
    assert sum(tally.keyed for tally in found) == 20_000
    assert sum(tally.sampled for tally in found) == 6000
    assert sum(sum(tally.predictions.values()) for tally in found) == 12_000
