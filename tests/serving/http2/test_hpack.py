"""Blocks of headers: RFC 7541's own examples, everything an encoder may do, and what none may."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.http2 import huffman
from serving.http2.hpack import Decoder, Header, encode

# RFC 7541, appendix C: three requests on one connection, plain and with Huffman's code, and three answers with a table
# of 256 bytes.
FIRST = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")]
SECOND = [*FIRST, (b"cache-control", b"no-cache")]
THIRD = [
    *((b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html")),
    *((b":authority", b"www.example.com"), (b"custom-key", b"custom-value")),
]
COOKIE = b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
PLACE = (b"location", b"https://www.example.com")


def answer(status: bytes, second: bytes) -> list[Header]:
    return [
        (b":status", status),
        (b"cache-control", b"private"),
        (b"date", b"Mon, 21 Oct 2013 20:13:%b GMT" % second),
        PLACE,
    ]


REQUESTS = {
    "plain": [
        "828684410f7777772e6578616d706c652e636f6d",
        "828684be58086e6f2d6361636865",
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
    ],
    "huffman": [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ],
}
ANSWERS = [
    (
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        answer(b"302", b"21"),
    ),
    ("4883640effc1c0bf", answer(b"307", b"21")),
    (
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f36"
        "72c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        [*answer(b"200", b"22"), (b"content-encoding", b"gzip"), (b"set-cookie", COOKIE)],
    ),
]


@pytest.mark.parametrize("kind", REQUESTS)
def test_the_requests_of_the_rfc_are_read(kind: str) -> None:
    decoder = Decoder()
    blocks = [bytes.fromhex(one) for one in REQUESTS[kind]]
    assert [decoder.decode(block) for block in blocks] == [FIRST, SECOND, THIRD]


def test_the_answers_of_the_rfc_are_read_though_the_table_is_too_small_for_all_of_them() -> None:
    decoder = Decoder(256)
    assert [decoder.decode(bytes.fromhex(block)) for block, _ in ANSWERS] == [headers for _, headers in ANSWERS]


TEXT = st.binary(max_size=300)
HEADERS = st.lists(st.tuples(TEXT, TEXT), max_size=8)


@given(HEADERS)
def test_what_is_written_is_read(headers: list[Header]) -> None:
    decoder = Decoder(0)
    for _ in range(2):
        assert decoder.decode(encode(headers)) == headers


def integer(value: int, bits: int, first: int) -> bytes:
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    value -= most
    out = bytearray((first | most,))
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def compressed(text: bytes) -> bytes:
    codes = {symbol: (bits, code) for (bits, code), symbol in huffman._CODES.items()}
    value, size = 0, 0
    for byte in text:
        bits, code = codes[byte]
        value, size = value << bits | code, size + bits
    padding = -size % 8
    return (value << padding | (1 << padding) - 1).to_bytes((size + padding) // 8)


def literal(text: bytes, with_huffman: bool) -> bytes:
    text = compressed(text) if with_huffman else text
    return integer(len(text), 7, 128 if with_huffman else 0) + text


@given(TEXT)
def test_every_byte_has_its_code(text: bytes) -> None:
    assert huffman.decode(compressed(text)) == text


NAMES = st.sampled_from([b"x-user-id", b"grpc-timeout", b"te", b"user-agent"])
VALUES = st.sampled_from([b"1", b"20S", b"trailers", b"v" * 90])
ACTS = st.one_of(
    st.tuples(st.just("indexed"), st.integers(0, 100)),
    st.tuples(st.just("literal"), NAMES, VALUES, st.booleans(), st.sampled_from([0x40, 0x00, 0x10])),
    st.tuples(st.just("named"), st.integers(0, 100), VALUES, st.booleans(), st.sampled_from([0x40, 0x00, 0x10])),
    st.tuples(st.just("resize"), st.integers(0, 400)),
)


@given(st.lists(st.lists(ACTS, max_size=6), max_size=6))
def test_whatever_an_encoder_does_with_the_table_is_followed(blocks: list[list[tuple[object, ...]]]) -> None:
    """The table is kept a second time here, as a plain list."""
    decoder, most = Decoder(400), 400
    table: list[Header] = []
    static = [Decoder().decode(bytes((0x80 | index,)))[0] for index in range(1, 62)]
    for acts in blocks:
        block = b""
        expected: list[Any] = []
        for kind, *act in acts:
            entries = [*static, *table]
            if kind == "resize":
                (most,) = act  # type: ignore[assignment]
                block += integer(most, 5, 0x20)
            elif kind == "indexed":
                index = act[0] % len(entries)  # type: ignore[operator]
                block += integer(index + 1, 7, 0x80)
                expected.append(entries[index])
            else:
                name, value, with_huffman, how = act
                bits = 6 if how == 0x40 else 4
                if kind == "named":
                    index = name % len(entries)  # type: ignore[operator]
                    block += integer(index + 1, bits, how)  # type: ignore[arg-type]
                    name = entries[index][0]
                else:
                    block += integer(0, bits, how) + literal(name, with_huffman)  # type: ignore[arg-type]
                block += literal(value, with_huffman)  # type: ignore[arg-type]
                expected.append((name, value))
                if how == 0x40:
                    table.insert(0, expected[-1])
            while sum(len(name) + len(value) + 32 for name, value in table) > most:
                table.pop()
        assert decoder.decode(block) == expected
        assert decoder.decode(encode([(b"a", b"b")])) == [(b"a", b"b")]


@given(st.binary(max_size=40))
def test_garbage_is_refused_or_read_and_nothing_else(block: bytes) -> None:
    with contextlib.suppress(ValueError):
        Decoder().decode(block)


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # entry 0
        b"\xff\x00",  # entry 127 of an empty table
        b"\x3f\xe2\x1f",  # a table of 4097 bytes
        b"\x00\x05ab",  # a string cut short
        b"\x00",
        b"\x00\x7f\xff\xff\xff\xff\xff\xff\xff",  # a string of a size without end
        b"\x00\x81\x18\x00",  # Huffman: padding of zeros
        b"\x00\x82\x1f\xff\x00",  # padding of a byte and more
        b"\x00\x84\xff\xff\xff\xff\x00",  # the end as a symbol
    ],
)
def test_what_no_encoder_may_do_is_refused(block: bytes) -> None:
    with pytest.raises(ValueError):
        Decoder().decode(block)


def test_lists_beyond_their_limit_are_refused_however_short_their_block_is() -> None:
    decoder = Decoder(4096, 10_000)
    name = b"n" * 1000
    decoder.decode(b"\x40" + integer(1000, 7, 0) + name + b"\x00")
    with pytest.raises(ValueError, match="10000"):
        decoder.decode(b"\xbe" * 20)
