"""Requests over HTTP against models that are functions: routes, checks and their order, answers, metrics."""

import gzip
import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from serving.model_server.metrics import Metrics
from serving.model_server.rest.handler import LARGE_BYTES, LARGE_ELEMENTS, Handler, Options
from serving.model_server.runner import Runner
from serving.model_server.servable import Servable
from serving.model_server.signature import Signature
from serving.model_server.status import HTTP_STATUS, Code, StatusError
from tests.serving.model_server.rest import fakes
from tests.serving.model_server.rest.fakes import infos
from tests.serving.model_server.rest.ports import Heard, Port, listening, wait_for

ORIGIN = "Origin: https://page.example"
PREDICT = "/v1/models/m:predict"
METRICS = "/monitoring/prometheus/metrics"
TWO = '{"instances": [2.0]}'


def raise_(error: Exception) -> Any:
    """A function of a model that fails."""
    raise error


def send(port: Port, method: str, target: str, body: bytes | str = b"", *headers: str) -> Heard:
    """The answer to one request."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"{method} {target} HTTP/1.1", "Host: h", f"Content-Length: {len(content)}", *headers]
    return port.ask("\r\n".join(lines).encode() + b"\r\n\r\n" + content)


def error_of(heard: Heard) -> str:
    """The message of an error body, which has nothing else and is pretty-printed."""
    content = json.loads(heard.body)
    assert list(content) == ["error"]
    assert heard.body.startswith(b'{\n    "error": "')
    return str(content["error"])


def handler(*servables: Servable, metrics: Metrics | None = None, **options: Any) -> Handler:
    """A handler for some versions; the label `stable` is version 1."""
    models = fakes.models(*servables, labels={"stable": 1})
    return Handler(models, metrics or Metrics(), Options(**options))


@pytest.fixture(scope="module")
def port() -> Iterator[Port]:
    """Two versions of m (2 adds 3 instead of 2), and models that are odd in one way each."""
    three = fakes.servable(lambda feeds: {"y": feeds["x"] / 2 + 3}, infos(x="float"), infos(y="float"), version=2)
    several = fakes.servable(
        lambda feeds: {"sum": feeds["a"] + feeds["b"], "text_bytes": np.array([b"\xff"] * len(feeds["a"]), object)},
        infos(a="float", b="float"),
        infos(sum="float", text_bytes="string"),
        name="several",
    )
    scalar = fakes.servable(lambda feeds: {"y": b"text"}, infos(x="float"), infos(y="string"), name="scalar")
    half = fakes.servable(
        lambda feeds: {"y": feeds["x"].astype(np.float16)}, infos(x="float"), infos(y="half"), name="half"
    )
    no_inputs = fakes.servable(lambda feeds: {"y": np.float32(1)}, {}, infos(y="float"), name="none")
    with listening(handler(fakes.half_plus_two(), three, several, scalar, half, no_inputs).answer) as opened:
        yield opened


@pytest.mark.parametrize(
    ("target", "body", "answer"),
    [
        (PREDICT, TWO, {"predictions": [4.0]}),
        ("/v1/models/m/versions/1:predict", TWO, {"predictions": [3.0]}),
        ("/v1/models/m/labels/stable:predict", '{"inputs": {"x": [[2]]}}', {"outputs": [[3.0]]}),
        ("/V1/models/%6d:predict", '{"signature_name": "serving_default", "inputs": 2}', {"outputs": 4.0}),
        ("/v1/models/scalar:predict", '{"signature_name": "", "inputs": 2}', {"outputs": "text"}),
        (
            "/v1/models/several:predict",
            '{"instances": [{"a": 1, "b": 2}, {"b": 4, "a": 3}]}',
            {"predictions": [{"sum": 3.0, "text_bytes": {"b64": "/w=="}}, {"sum": 7.0, "text_bytes": {"b64": "/w=="}}]},
        ),
        (
            "/v1/models/several:predict",
            '{"inputs": {"a": [1], "b": [2]}}',
            {"outputs": {"sum": [3.0], "text_bytes": [{"b64": "/w=="}]}},
        ),
    ],
)
def test_a_prediction_is_answered(port: Port, target: str, body: str, answer: Any) -> None:
    heard = send(port, "POST", target, body)
    assert (heard.status, json.loads(heard.body)) == (200, answer)
    assert heard.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("target", "body", "status", "message"),
    [
        (PREDICT, "", 400, "JSON Parse error: The document is empty"),
        ("/v1/models/nobody:predict", "{", 400, "JSON Parse error: Missing a name for object member. at offset: 1"),
        (
            "/v1/models/nobody:predict",
            '{"signature_name": 5}',
            400,
            'JSON Value: {\n    "signature_name": 5\n} not formatted correctly. '
            "'signature_name' key must be a string value.",
        ),
        (
            "/v1/models/nobody:predict",
            '{"signature_name": "nil"}',
            404,
            "Servable not found for request: Latest(nobody)",
        ),
        ("/v1/models/m/versions/7:predict", "{}", 404, "Servable not found for request: Specific(m, 7)"),
        ("/v1/models/m/labels/nil:predict", "{}", 400, "Unrecognized servable version label: nil"),
        (PREDICT, '{"signature_name": "nil"}', 400, 'Serving signature name: "nil" not found in signature def'),
        (PREDICT, "{}", 400, "Missing 'inputs' or 'instances' key"),
        (
            PREDICT,
            '{"inputs": ["a"]}',
            400,
            'JSON Value: "a" Type: String is not of expected type: float',
        ),
        ("/v1/models/none:predict", '{"inputs": 1}', 400, "Failed to get input map for signature: DEFAULT"),
        (
            "/v1/models/several:predict",
            '{"instances": [{"b64": "AA=="}]}',
            400,
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: {\n"
            '    "b64": "AA=="\n} Type: Object is not of expected type: float',
        ),
        ("/v1/models/half:predict", '{"instances": [1]}', 400, "Failed to write JSON value for tensor type: half"),
        ("/v1/models/scalar:predict", '{"instances": [1]}', 400, "Tensor name: y has no shape information "),
        ("/v1/models/m:Predict", TWO, 400, "Malformed request: POST /v1/models/m:Predict"),
        (
            "/v1/models/m/versions/99999999999999999999:predict",
            TWO,
            400,
            "Failed to convert version: 99999999999999999999 to numeric.",
        ),
        ("/v1/models/nobody:classify", "{}", 400,
         "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
        ("/v1/models/nobody:regress", "[", 400, "JSON Parse error: Invalid value. at offset: 1"),
    ],
)  # fmt: skip
def test_a_request_that_is_wrong_is_told_why(port: Port, target: str, body: str, status: int, message: str) -> None:
    heard = send(port, "POST", target, body)
    assert (heard.status, error_of(heard)) == (status, message)
    assert heard.headers["content-type"] == "application/json"


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_a_code_has_its_http_status_and_message(code: Code) -> None:
    failing = fakes.servable(lambda feeds: raise_(StatusError(code, "why")), infos(x="float"), infos(y="float"))
    metrics = Metrics()
    with listening(handler(failing, metrics=metrics).answer) as opened:
        heard = send(opened, "POST", PREDICT, TWO)
    assert (heard.status, error_of(heard)) == (HTTP_STATUS[code], "why")
    count = f':tensorflow:serving:request_count{{model_name="m",status="{code.name}"}} 1\n'
    assert count in metrics.exposition().decode()
    assert ":tensorflow:serving:request_latency_count" not in metrics.exposition().decode()


def test_the_runtimes_refusal_keeps_its_code_and_text() -> None:
    class OpError(Exception):
        """Like tf.errors.OpError."""

        error_code = 3
        message = "Matrix size-incompatible"

    failing = fakes.servable(lambda feeds: raise_(OpError()), infos(x="float"), infos(y="float"))
    with listening(handler(failing).answer) as opened:
        heard = send(opened, "POST", PREDICT, TWO)
    assert (heard.status, error_of(heard)) == (400, "Matrix size-incompatible")


def test_a_defect_is_a_500_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    failing = fakes.servable(lambda feeds: {}, infos(x="float"), infos(y="float"))
    with listening(handler(failing).answer) as opened:
        heard = send(opened, "POST", PREDICT, TWO)
    assert (heard.status, error_of(heard)) == (500, "KeyError: 'y'")
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    ("method", "target", "message"),
    [
        ("GET", "/v1/models", "Missing model name in request."),
        ("GET", "/v1/models/", "Malformed request: GET /v1/models/"),
        ("GET", "/v1/", "Malformed request: GET /v1/"),
        ("PUT", PREDICT, f"Malformed request: PUT {PREDICT}"),
        ("DELETE", "/v1/models/m", "Malformed request: DELETE /v1/models/m"),
        ("PATCH", "/v1/models/m", "Malformed request: PATCH /v1/models/m"),
        ("POST", PREDICT + "?x=1", f"Malformed request: POST {PREDICT}?x=1"),
    ],
)
def test_what_means_nothing_is_malformed(port: Port, method: str, target: str, message: str) -> None:
    heard = send(port, method, target)
    assert (heard.status, error_of(heard)) == (400, message)


def test_outside_of_v1_there_is_libevents_404(port: Port) -> None:
    heard = send(port, "GET", "/v2/models/m")
    assert (heard.status, heard.headers["content-type"], heard.headers["connection"]) == (404, "text/html", "close")
    assert b"<H1>Not Found</H1>" in heard.body


def test_a_status_lists_versions_with_protobufs_names(port: Port) -> None:
    heard = send(port, "GET", "/v1/models/m")
    assert heard.body.startswith(b'{\n "model_version_status": [\n  {\n   "version": "2",\n   "state": "AVAILABLE",\n')
    versions = [
        {"version": version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        for version in ("2", "1")
    ]
    assert json.loads(heard.body) == {"model_version_status": versions}
    assert json.loads(send(port, "GET", "/v1/models/m/versions/1").body) == {"model_version_status": versions[1:]}
    assert json.loads(send(port, "GET", "/v1/models/m/labels/nil").body) == {"model_version_status": versions}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/v1/models/nobody", "Could not find any versions of model nobody"),
        ("/v1/models/m?x=1", "Could not find any versions of model m?x=1"),
        ("/v1/models/m/versions/9", "Could not find version 9 of model m"),
        ("/v1/models/nobody/metadata", "Servable not found for request: Latest(nobody)"),
    ],
)
def test_what_is_not_there_is_not_found(port: Port, target: str, message: str) -> None:
    heard = send(port, "GET", target)
    assert (heard.status, error_of(heard)) == (404, message)


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate, gzip"])
def test_a_compressed_body_is_inflated_and_the_answer_is_plain(port: Port, coding: str) -> None:
    for padding in (0, 1_000_000):
        body = gzip.compress(TWO.encode() + b" " * padding, 9 if padding == 0 else 0)
        heard = send(port, "POST", PREDICT, body, f"Content-Encoding: {coding}", "Accept-Encoding: gzip")
        assert (heard.status, json.loads(heard.body)) == (200, {"predictions": [4.0]})
        assert "content-encoding" not in heard.headers


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(TWO.encode(), id="not compressed"),
        pytest.param(gzip.compress(TWO.encode())[:-1], id="cut off"),
        pytest.param(gzip.compress(b" " * (101 << 20)), id="over 100 MiB"),
    ],
)
def test_a_damaged_body_is_as_good_as_none(port: Port, body: bytes) -> None:
    heard = send(port, "POST", PREDICT, body, "Content-Encoding: gzip")
    assert (heard.status, error_of(heard)) == (400, "JSON Parse error: The document is empty")


def test_another_coding_is_ignored(port: Port) -> None:
    assert send(port, "POST", PREDICT, TWO, "Content-Encoding: br", "Content-Type: text/html").status == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [(ORIGIN, 200), ("Origin: http://a", 200), ("Origin: file://", 400), ("Origin: null", 400), ("X: y", 400)],
)
def test_options_is_for_pages(port: Port, header: str, status: int) -> None:
    heard = send(port, "OPTIONS", PREDICT, b"", header)
    assert (heard.status, heard.body) == (status, b"")
    assert not any(name.startswith("access-control") for name in heard.headers)


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [("OPTIONS", PREDICT, ""), ("POST", PREDICT, TWO), ("POST", PREDICT, "{"), ("GET", "/v1/models/m", "")],
)
def test_cors_headers_are_on_every_answer_under_v1(method: str, target: str, body: str) -> None:
    with listening(handler(fakes.half_plus_two(), cors=True).answer) as opened:
        heard = send(opened, method, target, body, ORIGIN)
        outside = send(opened, "GET", METRICS, "", ORIGIN)
    assert heard.headers["access-control-allow-origin"] == "*"
    assert heard.headers["access-control-allow-methods"] == "POST, GET"
    assert heard.headers["access-control-allow-headers"] == "Content-Type"
    assert not any(name.startswith("access-control") for name in outside.headers)


def test_requests_are_counted_and_timed() -> None:
    metrics = Metrics()
    with listening(handler(fakes.half_plus_two(), metrics=metrics).answer) as opened:
        for target, body in (
            (PREDICT, TWO),
            (PREDICT, "{"),
            ("/v1/models/m:Predict", ""),
            ("/v1/models/n:predict", TWO),
        ):
            send(opened, "POST", target, body)
        send(opened, "GET", "/v1/models/m")
        send(opened, "GET", "/v1/nothing")
        send(opened, "OPTIONS", "/v1/x", "", ORIGIN)
        send(opened, "OPTIONS", "/v1/x")
        send(opened, "GET", "/nothing")
        heard = send(opened, "GET", METRICS)
        refused = send(opened, "GET", METRICS + "?x")
    assert (heard.status, heard.headers["content-type"]) == (200, "text/plain")
    assert (refused.status, refused.body.decode()) == (400, f"Unexpected path: {METRICS}?x. Should be {METRICS}")
    lines = heard.body.decode().splitlines()
    count = ":tensorflow:serving:request_count"
    assert [line for line in lines if line.startswith(count)] == [
        f'{count}{{model_name="",status="FAILED_PRECONDITION"}} 1',
        f'{count}{{model_name="",status="INVALID_ARGUMENT"}} 1',
        f'{count}{{model_name="",status="OK"}} 1',
        f'{count}{{model_name="m",status="INVALID_ARGUMENT"}} 2',
        f'{count}{{model_name="m",status="OK"}} 2',
        f'{count}{{model_name="n",status="NOT_FOUND"}} 1',
    ]
    latency = ":tensorflow:serving:request_latency_count"
    assert [line for line in lines if line.startswith(latency)] == [
        f'{latency}{{model_name="",API="",entrypoint="REST"}} 1',
        f'{latency}{{model_name="m",API="",entrypoint="REST"}} 1',
        f'{latency}{{model_name="m",API="predict",entrypoint="REST"}} 1',
    ]
    assert ':tensorflow:serving:runtime_latency_count{model_name="m",API="Predict",runtime="TF1"} 1' in lines


def test_metrics_may_be_off_or_elsewhere() -> None:
    with listening(handler(metrics_path=None).answer) as opened:
        assert send(opened, "GET", METRICS).status == 404
    with listening(handler(metrics_path="/metrics").answer) as opened:
        assert send(opened, "GET", "/metrics").status == 200
        assert send(opened, "GET", METRICS).status == 404


def test_a_run_has_its_time_and_the_version_is_released() -> None:
    going = threading.Event()
    runner = Runner(1, "test")
    stuck = fakes.servable(
        lambda feeds: {"y": feeds["x"]} if going.wait(30) else {}, infos(x="float"), infos(y="float"), runner=runner
    )
    with listening(handler(stuck, timeout_s=0.05).answer) as opened:
        heard = send(opened, "POST", PREDICT, TWO)
        assert (heard.status, error_of(heard)) == (504, "Timed out after 0.05 s.")
    going.set()
    runner.close()
    stuck.retire()  # it waits for users without limit


def test_a_client_that_goes_away_is_counted_and_the_version_released() -> None:
    going = threading.Event()
    runner, metrics = Runner(1, "test"), Metrics()
    stuck = fakes.servable(
        lambda feeds: {"y": feeds["x"]} if going.wait(30) else {}, infos(x="float"), infos(y="float"), runner=runner
    )
    with listening(handler(stuck, metrics=metrics).answer) as opened:
        with opened.connect() as connection:
            head = f"POST {PREDICT} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(TWO)}\r\n\r\n"
            connection.sendall(head.encode() + TWO.encode())
            wait_for(lambda: len(opened.server.connections) == 1)
        opened.run(opened.server.close(0.05))
        wait_for(lambda: 'model_name="m",status="CANCELLED"} 1' in metrics.exposition().decode())
    going.set()
    runner.close()
    stuck.retire()


def test_large_bodies_and_answers_are_like_small_ones(port: Port) -> None:
    rows = [[float(row), row / 8] for row in range(max(LARGE_BYTES // 4, LARGE_ELEMENTS))]
    body = json.dumps({"instances": rows})
    assert len(body) > LARGE_BYTES
    heard = send(port, "POST", PREDICT, body)
    assert json.loads(heard.body)["predictions"] == [[left / 2 + 3, right / 2 + 3] for left, right in rows]
    heard = send(port, "POST", PREDICT, body[:-2])
    assert error_of(heard).startswith("JSON Parse error: Missing a comma or ']'")
    heard = send(port, "POST", PREDICT, body.replace("[1.0", '["1"', 1))
    assert error_of(heard).endswith('JSON Value: "1" Type: String is not of expected type: float')


def test_a_body_of_a_hundred_megabytes_is_answered(port: Port) -> None:
    heard = send(port, "POST", PREDICT, TWO + " " * 100_000_000)
    assert json.loads(heard.body) == {"predictions": [4.0]}


def test_the_signatures_method_can_be_checked() -> None:
    odd = Signature("odd", "tensorflow/serving/other", infos(x="float"), infos(y="float"))
    version = fakes.half_plus_two(more=[odd])
    body = '{"signature_name": "odd", "instances": [2.0]}'
    for check_method, status in ((False, 200), (True, 500)):
        with listening(handler(version, check_method=check_method).answer) as opened:
            assert send(opened, "POST", PREDICT, body).status == status
