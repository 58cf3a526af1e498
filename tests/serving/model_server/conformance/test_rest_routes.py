"""Which paths and methods the REST port answers, and with what headers (contract 2.1 to 2.3)."""

import gzip
import json
from urllib.parse import quote

import pytest

from tests.serving.model_server.conformance.clients import Rest, Text, fits
from tests.serving.model_server.conformance.shelf import ODD

BODY = '{"instances": [2.0]}'
TWO = '{"instances": [{"x": 2.0}]}'


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        pytest.param("/v1/models/half_plus_two:predict", BODY, {"predictions": [3.0]}, id="latest"),
        pytest.param("/V1/MODELS/half_plus_two:predict", BODY, {"predictions": [3.0]}, id="upper-case route"),
        pytest.param("/v1/models/two:predict", TWO, {"predictions": [4.0]}, id="highest of two versions"),
        pytest.param("/v1/models/two/versions/1:predict", TWO, {"predictions": [3.0]}, id="version"),
        pytest.param("/v1/models/two/versions/0002:predict", TWO, {"predictions": [4.0]}, id="version, leading zeros"),
        pytest.param("/v1/models/two/labels/stable:predict", TWO, {"predictions": [3.0]}, id="label"),
        pytest.param("/v1/models/two/labels/canary:predict", TWO, {"predictions": [4.0]}, id="another label"),
        pytest.param("/v1/models/two/labels/odd%20label:predict", TWO, {"predictions": [3.0]}, id="encoded label"),
        pytest.param(f"/v1/models/{quote(ODD)}:predict", TWO, {"predictions": [3.0]}, id="encoded name"),
        pytest.param("/v1/models/half%5Fplus%5ftwo:predict", BODY, {"predictions": [3.0]}, id="encoded underscore"),
    ],
)
def test_a_prediction_is_asked_for_by_name_version_or_label(rest: Rest, path: str, body: str, answer: object) -> None:
    came = rest.post(path, body)
    assert (came.status, came.json) == (200, answer)
    assert came.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/", 400, "Malformed request: GET /v1/models/"),
        ("GET", "/v1/", 400, "Malformed request: GET /v1/"),
        ("GET", "/v1/nothing", 400, "Malformed request: GET /v1/nothing"),
        ("POST", "/v1/models/two", 400, "Malformed request: POST /v1/models/two"),
        ("POST", "/v1/models/two:explain", 400, "Malformed request: POST /v1/models/two:explain"),
        ("POST", "/v1/models/two:Predict", 400, "Malformed request: POST /v1/models/two:Predict"),
        ("POST", "/v1/models/two/metadata", 400, "Malformed request: POST /v1/models/two/metadata"),
        ("POST", "/v1/models/:predict", 400, "Malformed request: POST /v1/models/:predict"),
        ("GET", "/v1/models/two:predict", 400, "Malformed request: GET /v1/models/two:predict"),
        ("GET", "/v1/models/two/versions/x", 400, "Malformed request: GET /v1/models/two/versions/x"),
        ("GET", "/v1/models/two/versions/-1", 400, "Malformed request: GET /v1/models/two/versions/-1"),
        (
            "POST",
            "/v1/models/two/versions/1/labels/stable:predict",
            400,
            "Malformed request: POST /v1/models/two/versions/1/labels/stable:predict",
        ),
        ("PUT", "/v1/models/two:predict", 400, "Malformed request: PUT /v1/models/two:predict"),
        ("DELETE", "/v1/models/two", 400, "Malformed request: DELETE /v1/models/two"),
        ("PATCH", "/v1/models/two", 400, "Malformed request: PATCH /v1/models/two"),
        (
            "POST",
            "/v1/models/two/versions/99999999999999999999:predict",
            400,
            "Failed to convert version: 99999999999999999999 to numeric.",
        ),
        (
            "GET",
            "/v1/models/two/versions/9223372036854775808",
            400,
            "Failed to convert version: 9223372036854775808 to numeric.",
        ),
        ("POST", "/v1/models/nobody:predict", 404, "Servable not found for request: Latest(nobody)"),
        ("POST", "/v1/models/two/versions/7:predict", 404, "Servable not found for request: Specific(two, 7)"),
        ("POST", "/v1/models/two/labels/nil:predict", 400, "Unrecognized servable version label: nil"),
        ("POST", "/v1/models/nobody/labels/nil:predict", 400, "Unrecognized servable version label: nil"),
        ("POST", "/v1/models/two/labels/to%20come:predict", 404, "Servable not found for request: Specific(two, 3)"),
        ("POST", "/v1/models/two:predict?x=1", 400, "Malformed request: POST /v1/models/two:predict?x=1"),
        ("GET", "/v1/models/two?x=1", 404, "Could not find any versions of model two?x=1"),
    ],
)
def test_what_is_no_route_or_names_nothing_is_refused(
    rest: Rest, method: str, path: str, status: int, message: Text
) -> None:
    came = rest.send(method, path, BODY if method == "POST" else None)
    assert came.status == status
    assert fits(came.error, message), came.error
    assert came.headers["content-type"] == "application/json" or method not in ("GET", "POST")


def test_head_is_refused(rest: Rest) -> None:
    assert rest.send("HEAD", "/v1/models/two").status == 400


@pytest.mark.parametrize("path", ["/", "/v2/models/two", "/favicon.ico", "/v1", "/models/two"])
def test_outside_of_v1_there_is_a_404_that_is_no_json(rest: Rest, path: str) -> None:
    came = rest.get(path)
    assert came.status == 404
    assert "json" not in came.headers.get("content-type", "")
    assert b"<html" in came.body.lower()


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "application/json", "x/y", ""])
def test_content_type_and_accept_are_ignored(rest: Rest, kind: str) -> None:
    came = rest.send("POST", "/v1/models/half_plus_two:predict", BODY, {"Content-Type": kind, "Accept": "text/html"})
    assert (came.status, came.json) == (200, {"predictions": [3.0]})
    assert came.headers["content-type"] == "application/json"


def test_nothing_in_the_answer_says_which_version_it_was(rest: Rest) -> None:
    came = rest.predict("two", TWO)
    assert set(came.json) == {"predictions"}
    assert not any("version" in name for name in came.headers)


@pytest.mark.parametrize("coding", ["gzip", "deflate, gzip"])
def test_a_compressed_body_is_inflated_and_the_answer_is_plain(rest: Rest, coding: str) -> None:
    headers = {"Content-Encoding": coding, "Accept-Encoding": "gzip"}
    came = rest.send("POST", "/v1/models/half_plus_two:predict", gzip.compress(BODY.encode()), headers)
    assert (came.status, came.json) == (200, {"predictions": [3.0]})
    assert "content-encoding" not in came.headers


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"no gzip at all", id="not gzip"),
        pytest.param(gzip.compress(BODY.encode())[:-9], id="cut off"),
        pytest.param(gzip.compress(b"[" + b" " * (101 << 20)), id="over 100 MiB inflated"),
    ],
)
def test_a_bad_compressed_body_is_as_good_as_none(rest: Rest, content: bytes) -> None:
    came = rest.send("POST", "/v1/models/half_plus_two:predict", content, {"Content-Encoding": "gzip"})
    assert (came.status, came.error) == (400, "JSON Parse error: The document is empty")


@pytest.mark.parametrize(
    ("origin", "status"), [("http://a.example", 200), ("https://b", 200), ("file", 400), ("", 400)]
)
def test_options_answers_to_an_origin_without_a_body_and_without_the_flag(rest: Rest, origin: str, status: int) -> None:
    came = rest.send("OPTIONS", "/v1/models/two:predict", headers={"Origin": origin} if origin else {})
    assert (came.status, came.body) == (status, b"")
    assert not any(name.startswith("access-control") for name in came.headers)


def test_a_connection_carries_many_requests(rest: Rest) -> None:
    with Rest(rest.port) as kept:
        for number in range(5):
            assert kept.predict("two/versions/1", TWO).json == {"predictions": [3.0]}
            assert kept.get("/v1/nothing").status == 400, number
            assert kept.get("/nothing").status == 404, number


def test_requests_sent_ahead_are_answered_in_order(rest: Rest) -> None:
    def request(value: int, last: bool) -> bytes:
        body = json.dumps({"instances": [value]}).encode()
        ending = b"Connection: close\r\n" if last else b""
        head = f"POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n".encode()
        return head + ending + b"\r\n" + body

    heard = rest.raw(b"".join(request(value, value == 5) for value in range(6)))
    bodies = [piece.split(b"}")[0] for piece in heard.split(b"\r\n\r\n")[1:]]
    answers = [json.loads(body + b"}")["predictions"] for body in bodies]
    assert answers == [[2.0], [2.5], [3.0], [3.5], [4.0], [4.5]]


def test_a_chunked_body_is_read(rest: Rest) -> None:
    head = b"POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    chunks = b'a\r\n{"instance\r\n' + b'a\r\ns": [2.0]}\r\n' + b"0\r\n\r\n"
    heard = rest.raw(head + b"Connection: close\r\n\r\n" + chunks)
    assert heard.startswith(b"HTTP/1.1 200")
    assert b"3.0" in heard


def test_http_1_0_is_answered_and_the_connection_closed(rest: Rest) -> None:
    heard = rest.raw(b"GET /v1/models/two HTTP/1.0\r\n\r\n")
    assert heard.startswith(b"HTTP/1.")
    assert b" 200 " in heard.split(b"\r\n")[0]


def test_a_client_that_asks_first_is_told_to_continue(rest: Rest) -> None:
    head = (
        b"POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\nExpect: 100-continue\r\n"
    )
    heard = rest.raw(head + b"Connection: close\r\n\r\n" + BODY.encode())
    assert b" 200 " in heard
    assert b"3.0" in heard
