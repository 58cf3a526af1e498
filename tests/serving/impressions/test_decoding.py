"""What is logged of REST's requests and answers."""

import gzip
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.impressions import decoding
from tests.serving.impressions.making import exchange

MOST = 1 << 16


def test_a_request_is_kept_as_it_was_sent() -> None:
    body = b'{"instances":[ {"x": NaN} ]} and more'
    assert decoding.request(exchange(request=body), MOST) == body
    assert decoding.request(exchange(request=gzip.compress(body)), MOST) == body


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_a_failed_request_is_kept_only_where_it_is_json(body: bytes) -> None:
    with pytest.raises(ValueError):
        decoding.request(exchange(request=body, code="INVALID_ARGUMENT"), MOST)
    good = b'{"instances": [Infinity]}'
    assert decoding.request(exchange(request=good, code="INVALID_ARGUMENT"), MOST) == good


def test_a_gzip_stream_that_grows_too_large_or_is_damaged_is_refused() -> None:
    for content in (gzip.compress(bytes(MOST + 1)), gzip.compress(b"{}" * 9)[:-4], b"\x1f\x8b"):
        with pytest.raises(ValueError, match="gzip"):
            decoding.request(exchange(request=content), MOST)


@pytest.mark.parametrize(
    ("body", "numbers"),
    [
        (b'{"predictions": [0.5, 1]}', [0.5, 1]),
        (b'{"predictions": [[0.5, NaN], [Infinity, -Infinity]]}', [0.5, math.nan, math.inf, -math.inf]),
        (b'{"predictions": [{"b": 2, "a": [1]}, {"b": 4, "a": [3]}]}', [1, 2, 3, 4]),
        (b'{"predictions": [[1], [2, 3]]}', [1, 2, 3]),
        (b'{"predictions": ["a", "b"]}', []),
        (b'{"predictions": [true, false]}', []),
        (b'{"predictions": []}', []),
        (b'{"outputs": 7}', [7]),
        (b'{"outputs": {"b": [3], "a": [[1, 2]], "yes": [true], "text": ["t"]}}', [1, 2, 3]),
        (b'{"results": [[["a", 0.25], ["b", 0.75]]]}', [0.25, 0.75]),
        (b'{"results": [1.5]}', [1.5]),
        (b'{"predictions": [9223372036854775807, 18446744073709551615]}', [2.0**63, 2.0**64]),
        (b'{"predictions": ["\xff", 1]}', [1]),
    ],
)
def test_the_numbers_of_an_answer_are_found_whatever_its_form(body: bytes, numbers: list[float]) -> None:
    assert decoding.answer(exchange(response=body), MOST) == body
    found = decoding.numbers(exchange(response=gzip.compress(body)), MOST, 100)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, numbers)


def test_no_more_numbers_than_asked_for() -> None:
    long = json.dumps({"predictions": [[1.0, 2.0]] * 100}).encode()
    ragged = json.dumps({"predictions": [[1.0], [2.0, 3.0]] * 100}).encode()
    several = json.dumps({"outputs": {"a": [1.0] * 100, "b": [2.0] * 100}}).encode()
    for body in (long, ragged, several):
        assert len(decoding.numbers(exchange(response=body), MOST, 7)) == 7


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"error": "no"}', b'{"predictions": [1e999999]} x', b"\xff"])
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        decoding.numbers(exchange(response=body), MOST, 10)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(st.sampled_from(["predictions", "outputs", "results"]), JSON)
def test_any_json_has_numbers_or_is_refused(key: str, value: Any) -> None:
    try:
        found = decoding.numbers(exchange(response=json.dumps({key: value}).encode()), MOST, 50)
    except ValueError:
        return
    assert found.ndim == 1
    assert len(found) <= 50
