"""Requests over HTTP against models that are functions: routes, checks and their order, answers, metrics."""

import json
from typing import Any

import pytest

from serving.model_server.metrics import Metrics
from serving.status import HTTP_STATUS, Code, StatusError
from tests.serving.http.ports import Port, listening
from tests.serving.model_server.rest import fakes
from tests.serving.model_server.rest.fakes import infos
from tests.serving.model_server.rest.handling import PREDICT, TWO, error_of, handler, send


def raise_(error: Exception) -> Any:
    """A function of a model that fails."""
    raise error


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
