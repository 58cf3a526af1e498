"""Classify and regress over REST: examples in JSON (contract 2.7)."""

import pytest

from tests.serving.model_server.conformance.clients import Rest, Text, fits, holding

HALF = "half_plus_two"


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        pytest.param(
            f"{HALF}:regress",
            '{"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}, {"x": [80.0]}]}',
            '{"results":[3.0,42.0]}',
            id="regress",
        ),
        pytest.param(
            f"{HALF}/versions/123:regress",
            '{"signature_name": "regress_x_to_y2", "examples": [{"x": 2.0, "other": "text", "n": 1}]}',
            '{"results":[4.0]}',
            id="regress, other features",
        ),
        pytest.param(
            f"{HALF}:classify",
            '{"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}, {"x": 4.0}]}',
            '{"results":[[["",3.0]],[["",4.0]]]}',
            id="classify without labels",
        ),
        pytest.param(
            "classes:classify",
            '{"examples": [{"x": [0.5, 0.25, 1.0]}]}',
            '{"results":[[["low",0.5],["mid",0.25],["high",1.0]]]}',
            id="classify",
        ),
        pytest.param(
            "classes:classify",
            '{"signature_name": "classes", "examples": [{"x": [0.5, 0.25, 1.0]}]}',
            '{"results":[[["low",0.0],["mid",0.0],["high",0.0]]]}',
            id="classify, labels alone",
        ),
        pytest.param(
            f"{HALF}:regress",
            '{"signature_name": "regress_x_to_y", "context": {"x": 6.0}, "examples": [{}, {"y": 1}]}',
            '{"results":[5.0,5.0]}',
            id="context",
        ),
        pytest.param(
            f"{HALF}:regress",
            '{"signature_name": "regress_x_to_y", "context": {"x": 6.0}, "examples": [{"x": 2.0}]}',
            '{"results":[3.0]}',
            id="example after context",
        ),
        pytest.param(
            f"{HALF}:regress",
            '{"signature_name": "regress_x_to_y", "examples": [{"x": NaN}, {"x": Infinity}]}',
            '{"results":[NaN,Infinity]}',
            id="not finite",
        ),
        pytest.param(
            "two/labels/stable:predict",
            '{"instances": [2.0], "examples": [{}]}',
            '{"predictions":[3.0]}',
            id="examples do not disturb a predict",
        ),
    ],
)
def test_examples_are_answered_under_results(rest: Rest, path: str, body: str, answer: str) -> None:
    came = rest.post(f"/v1/models/{path}", body)
    assert (came.status, came.dense) == (200, answer)
    assert came.headers["content-type"] == "application/json"


@pytest.mark.parametrize("method", ["classify", "regress"])
@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ('"examples": [1]', "Example must be JSON object but got JSON Number"),
        ('"examples": ["a"]', "Example must be JSON object but got JSON String"),
        ('"examples": [[{}]]', "Example must be JSON object but got JSON Array"),
        ('"examples": [{}], "context": 5', "Example must be JSON object but got JSON Number"),
        ('"examples": [{"x": null}]', "Feature: x has element with unexpected JSON type: Null"),
        ('"examples": [{"x": {"a": 1}}]', "Feature: x has element with unexpected JSON type: Object"),
        ('"examples": [{"x": [[1.0]]}]', "Feature: x has element with unexpected JSON type: Array"),
        ('"examples": [{"x": [1, 2.5]}]', "Unexpected element type in feature: x expecting type: int64"),
        ('"examples": [{"x": [2.5, 1]}]', "Unexpected element type in feature: x expecting type: float"),
        ('"examples": [{"x": ["a", 1]}]', "Unexpected element type in feature: x expecting type: bytes"),
        ('"examples": [{"x": [true, "a"]}]', "Unexpected element type in feature: x expecting type: int64"),
        ('"examples": [{"x": [{"b64": "YQ=="}, 0.5]}]', "Unexpected element type in feature: x expecting type: bytes"),
        (
            '"examples": [{"x": 9223372036854775808}]',
            "Feature: x has uint64_t element. Only int64_t is supported.",
        ),
        ('"examples": [{"x": {"b64": "%%%"}}]', "Unable to base64 decode"),
        ('"instances": [{}]', holding("When method is classify, key 'examples' is expected and was not found")),
        ('"examples": {}', holding("Expecting 'examples' value to be an list/array")),
        ('"examples": []', holding("'examples' value is an empty array")),
        ('"examples": [{}], "signature_name": 1', holding("'signature_name' key must be a string value.")),
        ('"examples": [', holding("JSON Parse error: ")),
    ],
)
def test_a_body_that_holds_no_examples_is_refused(rest: Rest, method: str, examples: str, message: Text) -> None:
    came = rest.post(f"/v1/models/{HALF}:{method}", "{" + examples + "}")
    assert came.status == 400
    assert fits(came.error, message), came.error


@pytest.mark.parametrize(
    ("path", "signature", "status", "message"),
    [
        (f"{HALF}:classify", "nil", 400, "No signature was found with the name: nil"),
        (f"{HALF}:regress", "nil", 400, "No signature was found with the name: nil"),
        ("nobody:classify", "nil", 404, "Servable not found for request: Latest(nobody)"),
        ("classes:classify", "two_inputs", 400, "Expected one input Tensor."),
        ("classes:classify", "three_outputs", 400, "Expected one or two output Tensors, found 3"),
        ("classes:regress", "regress_two_outputs", 400, "Expected one output Tensor."),
        ("classes:classify", "no_inputs", 400, holding("No classification inputs found in SignatureDef: ")),
        ("classes:regress", "regress_no_inputs", 400, holding("No regression inputs found")),
        ("classes:regress", "regress_no_outputs", 400, holding("No regression outputs found")),
    ],
)
def test_an_unfit_signature_is_refused(rest: Rest, path: str, signature: str, status: int, message: Text) -> None:
    body = f'{{"signature_name": "{signature}", "examples": [{{"x": [0.5, 0.25, 1.0]}}]}}'
    came = rest.post(f"/v1/models/{path}", body)
    assert came.status == status
    assert fits(came.error, message), came.error


def test_an_example_without_a_required_feature_is_refused_by_the_runtime(rest: Rest) -> None:
    came = rest.post(f"/v1/models/{HALF}:regress", '{"signature_name": "regress_x_to_y", "examples": [{"y": 1.0}]}')
    assert came.status == 400
    assert "Name: <unknown>, Feature: x (data type: float) is required but could not be found." in came.error


def test_an_integer_is_no_decimal_for_the_model(rest: Rest) -> None:
    came = rest.post(f"/v1/models/{HALF}:regress", '{"signature_name": "regress_x_to_y", "examples": [{"x": 2}]}')
    assert came.status == 400
    assert "Data types don't match. Data type: int64 but expected type: float" in came.error
