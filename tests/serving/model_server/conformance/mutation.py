"""Valid bytes and valid JSON made wrong in small steps, by a seeded draw."""

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

TOKENS = (
    *(b"{", b"}", b"[", b"]", b":", b",", b'"', b"\\", b"'", b" ", b"\n", b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80"),
    *(b"null", b"true", b"false", b"NaN", b"Infinity", b"-Infinity", b"Inf", b"{}", b"[]", b'""', b"[[]]", b"[1,[2]]"),
    *(b"0", b"-0", b"-1", b"1.0", b"1e0", b"1e309", b"-1e309", b"1e-400", b"2147483648", b"9223372036854775808"),
    *(b"18446744073709551616", b"0.1234567890123456789", b"1" * 400, b"-9223372036854775809", b"1e", b"01", b"+1"),
    *(b'"instances"', b'"inputs"', b'"examples"', b'"context"', b'"signature_name"', b'"b64"', b'{"b64": "YQ=="}'),
    *(b'"\\ud800"', b'"\\u0000"', b'"\\udc00\\ud800"', b'"\\x"', b'{"b64": "!"}', b'"x"', b"{1}", b"//", b"/**/"),
)
VALUES: Sequence[Any] = (
    *(None, True, False, 0, -1, 1, 255, 256, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), 10**30),
    *(0.5, -0.0, 1.0, 1e300, 1e-300, float("nan"), float("inf"), -float("inf"), 16777217.0),
    *("", "x", "\0", "\ud800", "\u00fc" * 50, "serving_default", "int64", "string", "regress_x_to_y"),
    *([], [[]], [1], [1.5], ["a"], [[1, 2], [3]], [[1], [2]], {}, {"x": 1}, {"b64": "YQ=="}, {"b64": "!"}, {"b64": 1}),
)
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
STRING = re.compile(rb'"[^"]*"')

Step = Callable[[random.Random, bytes], bytes]


def mutate(draw: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """The content after one to five small changes; at times with a piece of one of the others."""
    for _ in range(draw.randint(1, 5)):
        if draw.random() < 0.1:
            content = content[: _at(draw, content)] + _piece(draw, draw.choice(others))
        else:
            content = draw.choice(STEPS)(draw, content)
    return content[: 1 << 20]


def mutate_json(draw: random.Random, content: bytes) -> bytes:
    """JSON still, with one to three of its values replaced, dropped, doubled or wrapped."""
    document = [json.loads(content)]
    for _ in range(draw.randint(1, 3)):
        places = list(_places(document))
        holder, key = draw.choice(places)
        step = draw.randrange(6)
        if step == 0 and holder is not document:
            del holder[key]
        elif step == 1:
            holder[key] = [deepcopy(holder[key]) for _ in range(draw.choice((1, 2, 3)))]
        elif step == 2 and isinstance(holder, list):
            holder.insert(key, deepcopy(holder[key]))
        elif step == 3 and isinstance(holder, dict):
            holder[draw.choice(("x", "a", "inputs", "instances", "examples", "context", "b64"))] = deepcopy(holder[key])
        else:
            holder[key] = deepcopy(draw.choice(VALUES))
    return json.dumps(document[0], ensure_ascii=draw.random() < 0.5).encode(errors="replace")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every value within, as the list or object that holds it and its index or key."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


def _at(draw: random.Random, content: bytes) -> int:
    return draw.randint(0, len(content))


def _piece(draw: random.Random, content: bytes) -> bytes:
    start = _at(draw, content)
    return content[start : start + draw.choice((1, 2, 8, 64))]


def _flip(draw: random.Random, content: bytes) -> bytes:
    if not content:
        return content
    changed = bytearray(content)
    changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _insert_token(draw: random.Random, content: bytes) -> bytes:
    at = _at(draw, content)
    return content[:at] + draw.choice(TOKENS) + content[at:]


def _insert_noise(draw: random.Random, content: bytes) -> bytes:
    at = _at(draw, content)
    return content[:at] + draw.randbytes(draw.choice((1, 2, 4, 16))) + content[at:]


def _delete(draw: random.Random, content: bytes) -> bytes:
    at = _at(draw, content)
    return content[:at] + content[at + draw.choice((1, 2, 8, 32)) :]


def _repeat(draw: random.Random, content: bytes) -> bytes:
    at = _at(draw, content)
    piece = _piece(draw, content)
    return content[:at] + piece * draw.choice((1, 2, 50)) + content[at:]


def _cut(draw: random.Random, content: bytes) -> bytes:
    return content[: _at(draw, content)]


def _replace(pattern: re.Pattern[bytes]) -> Step:
    """A step that puts a token where the pattern is."""

    def step(draw: random.Random, content: bytes) -> bytes:
        found = list(pattern.finditer(content))
        if not found:
            return content
        match = draw.choice(found)
        return content[: match.start()] + draw.choice(TOKENS) + content[match.end() :]

    return step


def _nest(draw: random.Random, content: bytes) -> bytes:
    at = _at(draw, content)
    return content[:at] + draw.choice((b"[", b'{"x":')) * draw.choice((1, 3, 2000)) + content[at:]


STEPS: Sequence[Step] = (
    _flip, _insert_token, _insert_token, _insert_noise, _delete, _repeat, _cut,
    _replace(NUMBER), _replace(NUMBER), _replace(STRING), _nest,
)  # fmt: skip
