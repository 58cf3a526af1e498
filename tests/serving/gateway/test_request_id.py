"""Ids of requests, and the sample that is logged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.gateway.request_id import request_id, sampled


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128))
def test_the_clients_own_id_is_kept(given: str) -> None:
    assert request_id(given.encode()) == given


@pytest.mark.parametrize(
    "given", [None, b"", b" ", b"a b", b"a\tb", b"id\n", b"id\r\nx: y", b"x" * 129, b"\xc3\xa4", b"\x00", b"\x7f"]
)
def test_another_one_is_made_where_it_is_missing_or_no_good(given: bytes | None) -> None:
    made = request_id(given)
    assert made.isalnum()
    assert len(made) == 32


def test_no_two_are_the_same() -> None:
    assert len({request_id(None) for _ in range(10_000)}) == 10_000


@given(st.text())
def test_rate_zero_logs_none_and_rate_one_all(name: str) -> None:
    assert not sampled(name, 0.0)
    assert sampled(name, 1.0)


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_rate_logs_the_same_and_more(name: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert sampled(name, high) or not sampled(name, low)
    assert sampled(name, low) == sampled(name, low)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_the_rate_is_the_share_that_is_logged(rate: float) -> None:
    count = 20_000
    logged = sum(sampled(f"request-{number}", rate) for number in range(count))
    assert abs(logged - rate * count) < 4 * (count * rate * (1 - rate)) ** 0.5
