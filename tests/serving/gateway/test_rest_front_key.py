"""The user's key in a request's body."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.gateway.rest_key import key_in


@pytest.mark.parametrize(
    "document",
    [
        {"instances": [{"user": "anna"}, {"user": "other"}]},
        {"instances": [{"user": ["anna", "x"]}]},
        {"instances": [{"user": [["anna"]]}]},
        {"instances": [{"user": {"b64": "YW5uYQ=="}}]},
        {"inputs": {"user": ["anna", "other"], "x": [1, 2]}},
        {"inputs": {"user": "anna"}},
        {"examples": [{"user": "anna"}, {}], "context": {"x": 1}},
    ],
)
def test_it_is_found_in_every_form_that_tf_serving_takes(document: object) -> None:
    assert key_in(orjson.dumps(document), "user") == b"anna"


def test_whole_numbers_and_texts_of_them_are_the_same_key() -> None:
    assert key_in(b'{"inputs": {"user": 42}}', "user") == key_in(b'{"inputs": {"user": "42"}}', "user") == b"42"
    assert key_in('{"inputs": {"user": "ü"}}'.encode(), "user") == "ü".encode()


def test_a_body_that_only_tf_serving_reads_has_a_key_too() -> None:
    assert key_in(b'{"instances": [{"x": NaN, "user": "anna"}]}', "user") == b"anna"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"{}",
        b'{"instances": []}',
        b'{"instances": [1.0]}',
        b'{"inputs": {"x": 1}}',
        *(b'{"inputs": {"user": %b}}' % value for value in (b"true", b"null", b"1.5", b"[]", b"[[]]", b'""', b"{}")),
        *(b'{"inputs": {"user": {"b64": %b}}}' % value for value in (b'"?"', b'""', b"1", b'"\\u00fc"')),
    ],
)
def test_what_has_no_key_has_none(body: bytes) -> None:
    assert key_in(body, "user") is None


@given(
    st.binary() | st.recursive(st.none() | st.text() | st.integers() | st.floats(), st.lists).map(repr).map(str.encode)
)
def test_no_body_is_an_error(body: bytes) -> None:
    assert key_in(body, "user") is None
