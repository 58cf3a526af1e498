"""Trying again: what, how often, how long. No clock runs here and nobody sleeps."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.client.retry import Retry
from serving.status import Code, StatusError


class Time:
    """A clock that only sleeping moves, and the pauses that were slept."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


class Attempt:
    """Fails with these codes, one after the other, then succeeds; takes `takes_s` each time."""

    def __init__(self, time: Time, *codes: Code, takes_s: float = 0.0) -> None:
        self.time, self.codes, self.takes_s = time, list(codes), takes_s
        self.left: list[float] = []

    def __call__(self, left_s: float) -> str:
        self.left.append(left_s)
        self.time.now += self.takes_s
        if self.codes:
            raise StatusError(self.codes.pop(0), "refused")
        return "answer"


def retry(time: Time, tries: int | None = 5, jitter: float = 1.0) -> Retry:
    return Retry(tries, 0.1, 0.3, lambda: time.now, time.sleep, lambda: jitter)


def test_what_is_unavailable_is_tried_again_with_growing_pauses_up_to_the_longest() -> None:
    time = Time()
    assert retry(time).call(Attempt(time, *[Code.UNAVAILABLE] * 4), 10.0) == "answer"
    assert time.pauses == pytest.approx([0.1, 0.2, 0.3, 0.3])


def test_chance_takes_up_to_half_of_a_pause() -> None:
    time = Time()
    retry(time, jitter=0.0).call(Attempt(time, Code.UNAVAILABLE), 10.0)
    assert time.pauses == pytest.approx([0.05])


@pytest.mark.parametrize("code", [code for code in Code if code not in (Code.OK, Code.UNAVAILABLE)])
def test_nothing_else_is_tried_again(code: Code) -> None:
    time = Time()
    attempt = Attempt(time, code)
    with pytest.raises(StatusError) as caught:
        retry(time).call(attempt, 10.0)
    assert (caught.value.code, len(attempt.left), time.pauses) == (code, 1, [])


def test_the_last_try_says_why() -> None:
    time = Time()
    attempt = Attempt(time, *[Code.UNAVAILABLE] * 9)
    with pytest.raises(StatusError) as caught:
        retry(time, tries=3).call(attempt, 10.0)
    assert (caught.value.code, len(attempt.left)) == (Code.UNAVAILABLE, 3)


def test_without_time_nothing_is_tried() -> None:
    time = Time()
    attempt = Attempt(time)
    with pytest.raises(StatusError) as caught:
        retry(time).call(attempt, 0.0)
    assert (caught.value.code, attempt.left) == (Code.DEADLINE_EXCEEDED, [])


@given(
    timeout_s=st.floats(0.01, 3.0),
    takes_s=st.floats(0.0, 1.0),
    jitter=st.floats(0.0, 1.0),
    failures=st.integers(0, 30),
)
def test_no_try_begins_after_the_deadline_and_each_knows_what_is_left(
    timeout_s: float, takes_s: float, jitter: float, failures: int
) -> None:
    time = Time()
    end = time.now + timeout_s
    attempt = Attempt(time, *[Code.UNAVAILABLE] * failures, takes_s=takes_s)
    with contextlib.suppress(StatusError):
        retry(time, None, jitter).call(attempt, timeout_s)
    assert attempt.left[0] == pytest.approx(timeout_s)
    assert all(left > 0 for left in attempt.left)
    assert time.now <= end + takes_s
