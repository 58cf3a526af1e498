import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model_server.rest.json_reading import LONGEST_DUMP, dump, parse, signature_name
from serving.status import Code, StatusError


def refusal(body: bytes) -> str:
    """Why a body is refused."""
    with pytest.raises(StatusError) as caught:
        parse(body)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"  \n", "JSON Parse error: The document is empty. at offset: 3"),
        (b"{", "JSON Parse error: Missing a name for object member. at offset: 1"),
        (b"{'a':1}", "JSON Parse error: Missing a name for object member. at offset: 1"),
        (b'{"a" 1}', "JSON Parse error: Missing a colon after a name of object member. at offset: 5"),
        (b'{"a":1 "b":2}', "JSON Parse error: Missing a comma or '}' after an object member. at offset: 7"),
        (b'{"a":[1 2]}', "JSON Parse error: Missing a comma or ']' after an array element. at offset: 8"),
        (b'{"a":[1,]}', "JSON Parse error: Invalid value. at offset: 8"),
        (b'{"a":nan}', "JSON Parse error: Invalid value. at offset: 6"),
        (b'{"a":"x', "JSON Parse error: Missing a closing quotation mark in string. at offset: 7"),
        (b'{"a":"\\x"}', "JSON Parse error: Invalid escape character in string. at offset: 6"),
        (b'{"a":"\\u12"}', "JSON Parse error: Incorrect hex digit after \\u escape in string. at offset: 6"),
        (b'{"a":"\\ud800"}', "JSON Parse error: The surrogate pair in string is invalid. at offset: 6"),
        (b'{"a":"\n"}', "JSON Parse error: Invalid encoding in string. at offset: 6"),
        (b'{"a":1e400}', "JSON Parse error: Number too big to be stored in double. at offset: 5"),
        (b'{"a":1.}', "JSON Parse error: Miss fraction part in number. at offset: 7"),
        (b'{"a":1e}', "JSON Parse error: Miss exponent in number. at offset: 7"),
        (b'{"a":"\xff"}', "JSON Parse error: Invalid encoding in string. at offset: 6"),
        ('{"é":x}'.encode(), "JSON Parse error: Invalid value. at offset: 6"),
        (b"\xef\xbb\xbf{", "JSON Parse error: Missing a name for object member. at offset: 4"),
        (b"\x00", "JSON Parse error: The document is empty. at offset: 0"),
    ],
)
def test_what_is_no_json_is_refused_with_the_parsers_reason_and_the_offset(body: bytes, message: str) -> None:
    assert refusal(body) == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"7", "JSON Value: 7 Is not object"),
        (b"2.5", "JSON Value: 2.5 Is not object"),
        (b"NaN", "JSON Value: NaN Is not object"),
        (b"null", "JSON Value: null Is not object"),
        (b'"a"', 'JSON Value: "a" Is not object'),
        (b"[1, 2]", "JSON Value: [\n    1,\n    2\n] Is not object"),
        (b"[]x", "JSON Value: [] Is not object"),
    ],
)
def test_what_is_no_object_is_shown(body: bytes, message: str) -> None:
    assert refusal(body) == message


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1} and more', {"a": 1}),
        (b'{"a": 1}{"a": 2}', {"a": 1}),
        ('{"é": NaN} \x00 ü'.encode(), {"é": float("nan")}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'\xef\xbb\xbf{"a": 1} x', {"a": 1}),
        (b'{"a": [Inf, -Inf, Infinity, -Infinity]}', {"a": [float("inf"), float("-inf")] * 2}),
        (b'{"a": [18446744073709551615, -9223372036854775808]}', {"a": [2**64 - 1, -(2**63)]}),
        (b'{"a": 1e-400}', {"a": 0.0}),
    ],
)
def test_more_than_strict_json_is_read(body: bytes, value: Any) -> None:
    assert str(parse(body)) == str(value)


@pytest.mark.parametrize("body", [b'{"a": %s}', b'{"a": %s, "b": NaN}'])
@pytest.mark.parametrize("number", [b"18446744073709551616", b"-9223372036854775809"])
def test_integers_beyond_64_bits_are_decimals_by_either_parser(body: bytes, number: bytes) -> None:
    assert parse(body % number)["a"] == float(number)
    assert type(parse(body % number)["a"]) is float


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    assert parse(b'{"a": 1, "a": 2}') == parse(b'{"a": 1, "a": 2} x') == {"a": 2}


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_values_nested_too_deeply_are_refused(opening: bytes) -> None:
    message = "JSON Parse error: Values are nested more than 1000 levels deep."
    assert refusal(b'{"a":' + opening * 500_000) == refusal(opening * 2000) == message


def test_values_nested_a_thousand_deep_are_read() -> None:
    assert refusal(b"[" * 1000 + b"]" * 1000).endswith("... Is not object")


def test_a_signature_name_is_a_string_or_absent() -> None:
    assert signature_name({}) == ""
    assert signature_name({"signature_name": "s"}) == "s"
    with pytest.raises(StatusError) as caught:
        signature_name({"signature_name": 5})
    assert caught.value.message == (
        'JSON Value: {\n    "signature_name": 5\n} not formatted correctly. '
        "'signature_name' key must be a string value."
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (1.0, "1.0"),
        (1 / 3, "0.333333343"),
        (True, "true"),
        ([], "[]"),
        ({}, "{}"),
        (
            {"é": [1.5, {"b": None}]},
            '{\n    "é": [\n        1.5,\n        {\n            "b": null\n        }\n    ]\n}',
        ),
        ("a" * 300, '"' + "a" * 255 + "..."),
    ],
)
def test_a_value_in_a_message_is_pretty_printed_and_cut(value: Any, text: str) -> None:
    assert dump(value) == text


def test_a_large_value_is_not_printed_before_it_is_cut() -> None:
    nested: Any = 1
    for _ in range(100_000):
        nested = [nested]
    assert len(dump(nested)) == LONGEST_DUMP + 3
    assert len(dump([[1.0] * 1_000_000])) == LONGEST_DUMP + 3
    while type(nested) is list:  # Python's own way of freeing it is recursive
        nested = nested.pop()


EIGHTHS = st.integers(-(2**40), 2**40).map(lambda number: number / 8)  # RapidJSON rounds longer decimals carelessly
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | EIGHTHS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.text(), JSON))
def test_both_parsers_read_the_same(document: dict[str, Any]) -> None:
    body = json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert parse(body) == parse(body + b" x") == orjson.loads(body)


@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:0123456789.eE+-NaInfty truefalsnul\\u \n', max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes | str) -> None:
    content = body if isinstance(body, bytes) else body.encode()
    read, refused = None, None
    try:
        read = parse(content)
    except StatusError as error:
        refused = error
    assert type(read) is dict or (refused is not None and refused.message.startswith("JSON "))
