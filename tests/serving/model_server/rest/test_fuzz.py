"""Damaged requests for as long as PRESSLINE_FUZZ_S says (20 s): nothing may be a defect, hang or hurt other clients.

What fails is told with its seed; `random.Random(seed)` makes the same again.
"""

import asyncio
import os
import random
import socket
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import rapidjson

from serving.http.message import Limits, Request, Response
from serving.model_server.metrics import Metrics
from serving.model_server.rest import json_walk
from serving.model_server.rest.handler import Handler, Options
from serving.model_server.rest.json_reading import parse
from serving.model_server.rest.json_tensors import read
from serving.status import StatusError
from tests.serving.http.ports import answers, listening, wait_for
from tests.serving.http.requests import post
from tests.serving.model_server.rest import fakes
from tests.serving.model_server.rest.fakes import infos

DURATION_S = float(os.environ.get("PRESSLINE_FUZZ_S", "20")) / 3  # of each of the tests here
INPUTS = infos(a="float", b="string")

SEEDS = [
    b'{"instances": [{"a": 1.5, "b": "x"}, {"a": 2, "b": {"b64": "/w=="}}]}',
    b'{"inputs": {"a": [[1, 2], [3, 4e5]], "b": ["\\u00e9", "\\n"]}, "signature_name": "serving_default"}',
    '{"instances": [{"b": ["é", ""], "a": [NaN, -Infinity, Inf]}]} more'.encode(),
    b'{"inputs": {"a": [], "b": [[[]]]}, "signature_name": null}',
    b"[" * 70 + b"18446744073709551615, -9223372036854775808, 1e-400, 1e308" + b"]" * 70,
]
PIECES = [
    b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"null", b"true", b"NaN", b"-", b"1e999", b"9" * 30,
    b'{"b64": "YQ=="}',
    b'"instances"', b'"inputs"', b'"a"', b'"b"', b"\xff", b"\x00", b"\xed\xa0\x80", b" ", b"[[[[[[[[", b"\\ud800",
]  # fmt: skip
HTTP_PIECES = [
    b"\r\n", b"\r\n\r\n", b"\n", b" ", b":", b"GET", b"POST / HTTP/1.1\r\n", b"HTTP/1.0", b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"Expect: 100-continue\r\n", b"0\r\n\r\n",
    b"Connection: close\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"ffffffffffffffff\r\n", b"\x00", b"\xff",
    b"x" * 5000, post(b"{}"), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]  # fmt: skip


def seeds() -> Iterator[int]:
    """Seeds until the time is over."""
    first, end = time.time_ns(), time.monotonic() + DURATION_S
    number = 0
    while time.monotonic() < end:
        yield first + number
        number += 1


def damaged(chance: random.Random, content: bytes, pieces: list[bytes]) -> bytes:
    """Content with some pieces put in, taken out, doubled or changed."""
    found = bytearray(content)
    for _ in range(chance.randrange(1, 6)):
        first = chance.randrange(len(found) + 1)
        last = min(len(found), first + chance.choice((0, 1, 1, 2, 8, 40)))
        match chance.randrange(4):
            case 0:
                found[first:last] = b""
            case 1:
                found[first:first] = chance.choice(pieces)
            case 2:
                found[first:first] = found[first:last] * chance.randrange(1, 4)
            case 3:
                found[first:last] = chance.randbytes(last - first)
    return bytes(found)


def handler() -> Handler:
    """One model with a float and a string input, whose outputs are its inputs."""
    version = fakes.servable(lambda feeds: {"y": feeds["a"], "z": feeds["b"]}, INPUTS, infos(y="float", z="string"))
    return Handler(fakes.models(version), Metrics(), Options(timeout_s=None))


def both_readings(body: bytes) -> None:
    """Fails if the fast and the slow reading of a body differ."""
    try:
        document = parse(body)
        tensors, form = read(document, INPUTS)
    except StatusError:
        return
    slow = json_walk.rows if form == "instances" else json_walk.columns
    for alias, tensor in slow(document[form], INPUTS).items():
        assert np.array_equal(tensor, tensors[alias], equal_nan=tensor.dtype.kind == "f")


async def _answered(handled: Handler, body: bytes) -> Response:
    answer = handled.answer(Request("POST", b"/v1/models/m:predict", body, b"", b""))
    return answer if isinstance(answer, Response) else await answer


async def _damaged_bodies(handled: Handler) -> int:
    count = 0
    for seed in seeds():
        chance = random.Random(seed)
        body = damaged(chance, chance.choice(SEEDS), PIECES)
        both_readings(body)
        response = await _answered(handled, body)
        # 400s of the writer too: rows of different numbers, or none
        assert response.status in (200, 400), (seed, body, response)
        document = rapidjson.loads(response.body.decode("utf-8", "replace"), number_mode=rapidjson.NM_NAN)
        assert type(document) is dict, (seed, body)
        count += 1
    return count


def test_damaged_bodies_are_answered_or_refused(caplog: pytest.LogCaptureFixture) -> None:
    assert asyncio.run(_damaged_bodies(handler())) > 0
    assert not caplog.records


def test_damaged_http_is_answered_or_refused(caplog: pytest.LogCaptureFixture) -> None:
    request = post(SEEDS[0], target="/v1/models/m:predict")
    chunked = (
        b"POST /v1/models/m:predict HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nOrigin: o\r\n\r\n"
        + b"%x\r\n%b\r\n0\r\nTrailer: x\r\n\r\n" % (len(SEEDS[1]), SEEDS[1])
    )
    others = (
        b"GET /v1/models/m HTTP/1.1\r\nHost: h\r\n\r\nOPTIONS /v1/x HTTP/1.1\r\nHost: h\r\nOrigin: http://x\r\n\r\n"
    )
    errors: list[Any] = []
    with listening(handler().answer, Limits(head_bytes=10_000, body_bytes=10_000)) as port:
        port.loop.set_exception_handler(lambda loop, context: errors.append(context))
        with port.connect() as bystander:
            for seed in seeds():
                chance = random.Random(seed)
                content = damaged(chance, b"".join(chance.choices((request, chunked, others), k=3)), HTTP_PIECES)
                heard = exchange(port.connect(), chance, content).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
                statuses = [one.status for one in answers(heard) if one.headers.get("content-length") != "0"]
                assert not set(statuses) & {500, 504}, (seed, content, heard)
            bystander.sendall(post(SEEDS[0], "Connection: close", target="/v1/models/m:predict"))
            assert answers(exchange(bystander, random.Random(0), b""))[0].status == 200
        wait_for(lambda: not port.server.connections)
    assert not errors
    assert not caplog.records


def exchange(connection: socket.socket, chance: random.Random, content: bytes) -> bytes:
    """Sends content in pieces, closes the sending half and returns what is heard."""
    heard = bytearray()
    with connection:
        try:
            while content:
                size = chance.choice((1, 10, 1000, len(content)))
                connection.sendall(content[:size])
                content = content[size:]
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(1 << 16):
                heard += piece
        except (BrokenPipeError, ConnectionResetError, OSError):
            pass
    return bytes(heard)


def test_damaged_documents_are_read_alike_by_both_parsers() -> None:
    for seed in seeds():
        chance = random.Random(seed)
        body = damaged(chance, chance.choice(SEEDS), PIECES)
        # What is behind a document leaves it to RapidJSON.
        assert reading(body) == reading(body + b" \x00"), (seed, body)


def reading(body: bytes) -> Any:
    """What a body is read as, with twelve digits of each decimal; None where it is refused."""
    try:
        return shortened(parse(body))
    except StatusError:
        return None


def shortened(value: Any) -> Any:
    """A value in which decimals are texts: RapidJSON rounds the last digits carelessly."""
    if type(value) is float:
        return f"{value:.12g}"
    if type(value) is list:
        return [shortened(each) for each in value]
    return {name: shortened(value[name]) for name in value} if type(value) is dict else value
