import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model_server.rest.inflate import inflate

MOST = 100 << 20


@given(st.binary(max_size=1000))
def test_a_gzip_stream_is_inflated(content: bytes) -> None:
    assert inflate(gzip.compress(content), MOST) == content


def test_more_than_one_piece_is_inflated() -> None:
    content = bytes(range(256)) * 20_000
    assert inflate(gzip.compress(content), MOST) == content


def test_the_limit_itself_is_allowed() -> None:
    assert len(inflate(gzip.compress(bytes(3 << 20)), 3 << 20)) == 3 << 20
    assert inflate(gzip.compress(bytes((3 << 20) + 1)), 3 << 20) == b""


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"no gzip", id="no gzip"),
        pytest.param(zlib.compress(b"content"), id="another container"),
        pytest.param(gzip.compress(b"content")[:-1], id="cut off"),
        pytest.param(gzip.compress(b"content")[:-8] + bytes(8), id="wrong checksum"),
    ],
)
def test_a_damaged_stream_is_empty(body: bytes) -> None:
    assert inflate(body, MOST) == b""


@given(st.binary(max_size=100))
def test_any_bytes_are_inflated_or_empty(body: bytes) -> None:
    inflate(body, 1000)
    inflate(b"\x1f\x8b\x08\x00" + body, 1000)


def test_a_bomb_does_not_take_up_memory() -> None:
    bomb = gzip.compress(bytes(50 << 20))
    tracemalloc.start()
    try:
        assert inflate(bomb, 8 << 20) == b""
        assert tracemalloc.get_traced_memory()[1] < 16 << 20  # the limit, a piece and the books kept
    finally:
        tracemalloc.stop()
