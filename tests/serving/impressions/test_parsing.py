"""What clients may send as feedback."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.impressions.parsing import TooManyError, parse

NOW = 1_790_000_000_000_000


def read(body: Any) -> list[Any]:
    return parse(body if isinstance(body, bytes) else orjson.dumps(body), NOW, 1000)


def test_what_is_left_out_has_its_default() -> None:
    assert read({"request_id": "r", "value": 1}) == [("r", 0, "click", 1.0, NOW)]
    given = {"request_id": "r", "value": 1, "label": "buy", "row": 3, "time": None}
    assert read(given) == [("r", 3, "buy", 1.0, NOW)]


@pytest.mark.parametrize("value", [True, False, 0, 1, -3, 2.5, 10**15])
def test_values_are_numbers_and_truths(value: float) -> None:
    (record,) = read({"request_id": "r", "value": value})
    assert record[3] == value
    assert type(record[3]) is float


@pytest.mark.parametrize(
    "time",
    [
        "2026-09-21T14:13:20Z",
        "2026-09-21T16:13:20+02:00",
        "2026-09-21 14:13:20",
        "20260921T141320.000",
        1_790_000_000,
        1_790_000_000.0,
    ],
)
def test_times_are_iso_8601_or_seconds(time: Any) -> None:
    assert read({"request_id": "r", "value": 1, "time": time})[0][4] == NOW
    assert read({"request_id": "r", "value": 1, "time": 1_790_000_000.25})[0][4] == NOW + 250_000


ONE, TWO = b'{"request_id": "a", "value": 1}', b'{"request_id": "b", "value": 0, "row": 1}'
BOTH = [("a", 0, "click", 1.0, NOW), ("b", 1, "click", 0.0, NOW)]


@pytest.mark.parametrize(
    "body",
    [
        b"[" + ONE + b"," + TWO + b"]",
        ONE + b"\n" + TWO,
        b"\n" + ONE + b"\r\n\r\n" + TWO + b"\n\n",
        b" [\n" + ONE + b",\n" + TWO + b"\n]\n",
    ],
)
def test_several_come_as_a_list_or_one_a_line(body: bytes) -> None:
    assert read(body) == BOTH


def test_one_object_may_have_several_lines() -> None:
    assert read(ONE.replace(b" ", b"\n") + b"\n") == BOTH[:1]


@pytest.mark.parametrize(
    ("record", "wrong"),
    [
        (7, "expected an object, got 7"),
        ([], "expected an object"),
        (None, "expected an object"),
        ({"value": 1}, "request_id is missing"),
        ({"request_id": "r"}, "value is missing"),
        ({"request_id": "r", "vaule": 1}, "'vaule' is not a field; did you mean value"),
        ({"request_id": "r", "value": 1, "zzz": 1}, "'zzz' is not a field; there are request_id,"),
        ({"request_id": "", "value": 1}, "request_id"),
        ({"request_id": "a b", "value": 1}, "request_id"),
        ({"request_id": "ü", "value": 1}, "request_id"),
        ({"request_id": "x" * 129, "value": 1}, "request_id"),
        ({"request_id": 7, "value": 1}, "request_id .* got 7"),
        ({"request_id": "r", "value": "1"}, "value .* got '1'"),
        ({"request_id": "r", "value": None}, "value"),
        ({"request_id": "r", "value": 1, "label": ""}, "label"),
        ({"request_id": "r", "value": 1, "label": "a\nb"}, "label"),
        ({"request_id": "r", "value": 1, "label": None}, "label"),
        ({"request_id": "r", "value": 1, "row": -1}, "row"),
        ({"request_id": "r", "value": 1, "row": 1.0}, "row"),
        ({"request_id": "r", "value": 1, "row": True}, "row"),
        ({"request_id": "r", "value": 1, "row": 2**31}, "row"),
        ({"request_id": "r", "value": 1, "time": "yesterday"}, "time .* got 'yesterday'"),
        ({"request_id": "r", "value": 1, "time": 1_790_000_000_000}, "seconds since 1970, before 2100"),
        ({"request_id": "r", "value": 1, "time": -1}, "time"),
        ({"request_id": "r", "value": 1, "time": "0001-01-01T00:00:00+14:00"}, "time"),
        ({"request_id": "r", "value": 1, "time": True}, "time"),
        ({"request_id": "r", "value": 1, "time": {}}, "time"),
    ],
)
def test_a_mistake_is_named_with_its_record(record: Any, wrong: str) -> None:
    good = {"request_id": "good", "value": 1}
    with pytest.raises(ValueError, match=f"record 1: .*{wrong}"):
        read([good, record, good])


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"request_id": "r", "value": NaN}', "not JSON"),
        (b'{"request_id": "r", "value": 1e999}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "there is no feedback"),
        (ONE + b"\n{", "record 1: its line is not JSON"),
        (ONE + b"\n7", "record 1: expected an object"),
    ],
)
def test_a_body_that_is_no_feedback_is_refused(body: bytes, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        read(body)


def test_more_than_may_be_are_told_apart_and_many_mistakes_are_told_in_short() -> None:
    with pytest.raises(TooManyError, match="1001 records"):
        read([{"request_id": "r", "value": 1}] * 1001)
    with pytest.raises(ValueError, match="and 990 more") as raised:
        read([{"request_id": "r" * 1000, "value": 1}] * 1000)
    assert len(str(raised.value)) < 4000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["request_id", "value", "time", "row", "label"]) | st.text(), inner, max_size=6
        )
    ),
    max_leaves=10,
)


@given(st.binary(max_size=50) | JSON.map(lambda value: repr(value).replace("'", '"').encode()))
def test_anything_is_read_or_refused(body: bytes) -> None:
    try:
        records = read(body)
    except ValueError:
        return
    for request_id, row, label, value, time in records:
        assert [type(one) for one in (request_id, row, label, value, time)] == [str, int, str, float, int]
