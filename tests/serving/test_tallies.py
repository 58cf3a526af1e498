"""Tallies: buckets, quantiles, sums, and their JSON."""

import json
import math
from collections import Counter
from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.tallies import (
    LATENCY_BUCKETS,
    LATENCY_GROWTH,
    PREDICTION_BUCKETS,
    Tally,
    TallyKey,
    add,
    from_json,
    latency_bucket,
    latency_upper_ms,
    prediction_bucket,
    prediction_buckets,
    prediction_value,
    quantile,
    to_json,
)

COUNTS = st.integers(0, 1 << 60)
TEXTS = st.text(max_size=20)
KEYS = st.builds(TallyKey, TEXTS, st.none() | COUNTS, COUNTS, TEXTS, st.none() | COUNTS)
TALLIES = st.builds(
    Tally,
    *[COUNTS] * 4,
    st.dictionaries(TEXTS, COUNTS, max_size=5),
    COUNTS,
    st.dictionaries(st.integers(0, LATENCY_BUCKETS - 1), COUNTS, max_size=5),
    st.dictionaries(st.integers(-PREDICTION_BUCKETS, PREDICTION_BUCKETS), COUNTS, max_size=5),
    *[COUNTS] * 2,
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
LATENCIES = st.floats(0.06, 100_000)


@given(st.floats(0, 150_000))
def test_a_latency_lies_within_its_bucket(ms: float) -> None:
    bucket = latency_bucket(ms)
    assert ms <= latency_upper_ms(bucket)
    assert bucket == 0 or ms > latency_upper_ms(bucket - 1)


def test_latency_buckets_grow_by_a_tenth_to_minutes_and_end() -> None:
    limits = [latency_upper_ms(bucket) for bucket in range(LATENCY_BUCKETS)]
    assert all(upper / lower == pytest.approx(LATENCY_GROWTH) for lower, upper in pairwise(limits))
    assert limits[0] == 0.05
    assert limits[-1] > 180_000
    assert latency_bucket(1e9) == latency_bucket(math.inf) == LATENCY_BUCKETS - 1
    assert latency_bucket(0.0) == latency_bucket(-1.0) == latency_bucket(math.nan) == 0


@given(st.lists(LATENCIES, min_size=1), st.floats(0, 1))
def test_a_quantile_is_at_most_a_bucket_off(latencies: list[float], q: float) -> None:
    exact = sorted(latencies)[max(0, math.ceil(q * len(latencies)) - 1)]
    found = quantile(Counter(latency_bucket(ms) for ms in latencies), q)
    assert exact / LATENCY_GROWTH * 0.999 <= found <= exact * LATENCY_GROWTH * 1.001


@given(st.dictionaries(st.integers(0, 159), st.integers(0, 1000), min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_quantiles_ascend(latency: dict[int, int], one: float, other: float) -> None:
    low, high = sorted((one, other))
    if any(latency.values()):
        assert quantile(latency, low) <= quantile(latency, high)


def test_a_quantile_is_interpolated_within_its_bucket() -> None:
    lower, upper = latency_upper_ms(9), latency_upper_ms(10)
    assert quantile({10: 100}, 0.25) == pytest.approx(lower + (upper - lower) / 4)
    assert quantile({0: 4}, 0.5) == pytest.approx(0.025)
    assert quantile({3: 99, 90: 1}, 0.99) == pytest.approx(latency_upper_ms(3))
    assert quantile({10: 1, 3: 1}, 1.0) == pytest.approx(upper)


def test_there_is_no_quantile_of_nothing_and_none_beyond_one() -> None:
    assert math.isnan(quantile({}, 0.5))
    assert math.isnan(quantile({5: 0}, 0.5))
    for q in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="from 0 to 1"):
            quantile({5: 1}, q)


@given(FINITE)
def test_a_prediction_is_within_a_hundredth_of_its_buckets_value(value: float) -> None:
    bucket = prediction_bucket(value)
    assert -PREDICTION_BUCKETS <= bucket <= PREDICTION_BUCKETS
    assert prediction_bucket(-value) == -bucket
    if 1e-12 <= abs(value) <= 1e12:
        assert prediction_value(bucket) == pytest.approx(value, rel=0.0101)
    elif abs(value) < 1e-12:
        assert bucket == 0


@given(FINITE, FINITE)
def test_prediction_buckets_keep_the_order(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert prediction_bucket(low) <= prediction_bucket(high)


@given(st.lists(FINITE))
def test_many_predictions_at_once_have_the_same_buckets(values: list[float]) -> None:
    found = prediction_buckets(np.array(values, np.float64))
    assert found.tolist() == [prediction_bucket(value) for value in values]


@pytest.mark.parametrize("bucket", [*range(-PREDICTION_BUCKETS, PREDICTION_BUCKETS + 1, 399), -1, 0, 1])
def test_a_buckets_value_is_in_it(bucket: int) -> None:
    assert prediction_bucket(prediction_value(bucket)) == bucket


@given(TALLIES, TALLIES, TALLIES)
def test_tallies_add_up_in_any_order_and_nothing_is_their_zero(a: Tally, b: Tally, c: Tally) -> None:
    assert add(a, b) == add(b, a)
    assert add(add(a, b), c) == add(a, add(b, c))
    assert add(a, Tally()) == a


@given(TALLIES, TALLIES)
def test_a_sum_changes_neither_and_is_apart_from_both(a: Tally, b: Tally) -> None:
    before = to_json("", {TallyKey("a", None, 0, "", None): a, TallyKey("b", None, 0, "", None): b})
    both = add(a, b)
    assert both.requests == a.requests + b.requests
    for held in (both.errors, both.latency, both.predictions):
        held.clear()
    assert to_json("", {TallyKey("a", None, 0, "", None): a, TallyKey("b", None, 0, "", None): b}) == before


@given(TEXTS, st.dictionaries(KEYS, TALLIES, max_size=4), st.floats(0, 1e12))
def test_what_was_said_is_read(instance: str, tallies: dict[TallyKey, Tally], started: float) -> None:
    assert from_json(to_json(instance, tallies, started)) == (instance, tallies)


def said() -> dict[str, Any]:
    """Good tallies as they go over the wire."""
    tally = Tally(keyed=3, errors={"INTERNAL": 1}, latency={4: 3}, predictions={-7: 2, 9: 1}, sampled=3)
    found: dict[str, Any] = json.loads(to_json("g-1", {TallyKey("clicks", 7, 2, "canary", 4): tally}, 1.5))
    return found


def test_fields_that_a_newer_gateway_adds_are_passed_over() -> None:
    newer = said()
    newer["more"] = newer["tallies"][0]["more"] = {"a": []}
    assert from_json(json.dumps(newer).encode()) == from_json(json.dumps(said()).encode())


@pytest.mark.parametrize("name", [one.name for one in (*fields(TallyKey), *fields(Tally))])
@pytest.mark.parametrize("value", [-1, 1.5, True, [], [1], 1e300, 1 << 70, {"a": -1}, {"1": "x"}, {"1": None}, {"": 1}])
def test_a_wrong_value_is_refused(name: str, value: Any) -> None:
    wrong = said()
    wrong["tallies"][0][name] = value
    if not (name == "errors" and value == {"": 1}):
        with pytest.raises(ValueError, match="not a gateway's tallies"):
            from_json(json.dumps(wrong).encode())


@pytest.mark.parametrize("name", [one.name for one in (*fields(TallyKey), *fields(Tally))])
def test_a_missing_value_is_refused(name: str) -> None:
    wrong = said()
    del wrong["tallies"][0][name]
    with pytest.raises(ValueError, match=name):
        from_json(json.dumps(wrong).encode())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("format", 2), ("instance", 1), ("tallies", None), ("tallies", [1]), ("tallies", {"a": 1})),
        *(("tallies", said()["tallies"] * 2), ("format", None)),
    ],
)
def test_a_wrong_frame_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match="not a gateway's tallies"):
        from_json(json.dumps(said() | {name: value}).encode())


@pytest.mark.parametrize(("name", "bucket"), [("latency", "160"), ("latency", "-1"), ("predictions", "2793")])
def test_a_bucket_that_is_none_is_refused(name: str, bucket: str) -> None:
    wrong = said()
    wrong["tallies"][0][name] = {bucket: 1}
    with pytest.raises(ValueError, match="buckets from"):
        from_json(json.dumps(wrong).encode())


@given(st.binary())
def test_garbage_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        from_json(content)


def test_a_torn_answer_is_refused_wherever_it_is_torn() -> None:
    whole = to_json("g-1", {TallyKey("m", 1, 1, "stable", 1): Tally(keyed=1)})
    for size in range(len(whole)):
        with pytest.raises(ValueError):
            from_json(whole[:size])


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"format": 1, "instance": NaN}', b"\xff", b'"\\ud800"'])
def test_hostile_answers_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        from_json(content)
