"""What surrounds a prediction over HTTP: compression, CORS, counting, time-outs, large bodies."""

import gzip
import json
import threading

import pytest

from serving.model_server.metrics import Metrics
from serving.model_server.rest.handler import LARGE_BYTES, LARGE_ELEMENTS
from serving.model_server.runner import Runner
from serving.model_server.signature import Signature
from tests.serving.http.ports import Port, listening, wait_for
from tests.serving.model_server.rest import fakes
from tests.serving.model_server.rest.fakes import infos
from tests.serving.model_server.rest.handling import PREDICT, TWO, error_of, handler, send

ORIGIN = "Origin: https://page.example"


METRICS = "/monitoring/prometheus/metrics"


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
