"""Classify, Regress and MultiInference over gRPC (contract 3)."""

import pytest

from tests.serving.model_server.conformance.clients import Grpc, Text, fits, holding

ANY = holding("")  # the contract says that it is refused, not in which words
THREE = 'key: "x" value { float_list { value: [0.5, 0.25, 1] } }'
ONE = 'key: "x" value { float_list { value: 6 } }'


def example_list(*features: str) -> str:
    """An Input of one tf.Example for each text of one feature."""
    examples = " ".join(f"examples {{ features {{ feature {{ {feature} }} }} }}" for feature in features)
    return f"input {{ example_list {{ {examples} }} }}"


def ask(model: str, signature: str, given: str) -> str:
    """A ClassificationRequest or RegressionRequest as text."""
    return f'model_spec {{ name: "{model}" signature_name: "{signature}" }} {given}'


def task(signature: str, method: str, model: str = "half_plus_two", spec: str = "") -> str:
    """One task of a MultiInferenceRequest as text."""
    named = f'name: "{model}" signature_name: "{signature}" {spec}'
    return f'tasks {{ model_spec {{ {named} }} method_name: "tensorflow/serving/{method}" }} '


@pytest.mark.parametrize(
    ("signature", "classes"),
    [
        ("", [("low", 0.5), ("mid", 0.25), ("high", 1.0)]),
        ("scores", [("", 0.5), ("", 0.25), ("", 1.0)]),
        ("classes", [("low", 0.0), ("mid", 0.0), ("high", 0.0)]),
    ],
)
def test_classify_gives_a_label_and_a_score_for_each_class(
    grpc: Grpc, signature: str, classes: list[tuple[str, float]]
) -> None:
    response = grpc.call("Classify", ask("classes", signature, example_list(THREE, THREE)))
    came = [[(entry.label, entry.score) for entry in one.classes] for one in response.result.classifications]
    assert came == [classes, classes]
    assert response.model_spec.name == "classes"
    assert response.model_spec.version.value == 1
    assert response.model_spec.signature_name == (signature or "serving_default")


@pytest.mark.parametrize(
    ("signature", "value"), [("regress_x_to_y", 5.0), ("regress_x_to_y2", 6.0)], ids=["first", "second"]
)
def test_regress_gives_a_value_for_each_example(grpc: Grpc, signature: str, value: float) -> None:
    response = grpc.call("Regress", ask("half_plus_two", signature, example_list(ONE, ONE)))
    assert [one.value for one in response.result.regressions] == [value, value]
    assert response.model_spec.version.value == 123
    assert response.model_spec.signature_name == signature


def test_a_context_stands_before_each_example(grpc: Grpc) -> None:
    context = f"context {{ features {{ feature {{ {ONE} }} }} }}"
    two = 'examples { features { feature { key: "x" value { float_list { value: 2 } } } } }'
    given = f"input {{ example_list_with_context {{ examples {{}} {two} {context} }} }}"
    response = grpc.call("Regress", ask("half_plus_two", "regress_x_to_y", given))
    assert [one.value for one in response.result.regressions] == [5.0, 3.0]


CLASSIFY, REGRESS = "Classify", "Regress"


@pytest.mark.parametrize(
    ("method", "request_text", "code", "message"),
    [
        (CLASSIFY, "", "INVALID_ARGUMENT", "Missing ModelSpec"),
        (REGRESS, "", "INVALID_ARGUMENT", "Missing ModelSpec"),
        (CLASSIFY, "model_spec {} input {}", "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (CLASSIFY, ask("nobody", "", example_list(ONE)), "NOT_FOUND", "Servable not found for request: Latest(nobody)"),
        (CLASSIFY, ask("classes", "nil", example_list(THREE)), "INVALID_ARGUMENT", holding("No signature was found")),
        (REGRESS, ask("classes", "nil", example_list(THREE)), "INVALID_ARGUMENT", holding("with the name: nil")),
        (CLASSIFY, ask("classes", "", ""), "INVALID_ARGUMENT", "Input is empty."),
        (CLASSIFY, ask("classes", "", "input { example_list {} }"), "INVALID_ARGUMENT", "Input is empty."),
        (REGRESS, ask("classes", "regress", "input {}"), "INVALID_ARGUMENT", "Input is empty."),
        (
            REGRESS,
            ask("half_plus_two", "regress_x_to_y", "input { example_list_with_context { context {} } }"),
            "INVALID_ARGUMENT",
            "Input is empty.",
        ),
        (
            REGRESS,
            ask("half_plus_two", "regress_x_to_y", example_list('key: "y"')),
            "INVALID_ARGUMENT",
            holding("Name: <unknown>, Feature: x (data type: float) is required but could not be found."),
        ),
    ],
)
def test_a_wrong_request_is_refused(grpc: Grpc, method: str, request_text: str, code: str, message: Text) -> None:
    came = grpc.refusal(method, request_text)
    assert came.code == code, came
    assert fits(came.message, message), came


@pytest.mark.parametrize(
    ("method", "signature", "message"),
    [
        (CLASSIFY, "two_inputs", "Expected one input Tensor."),
        (CLASSIFY, "three_outputs", "Expected one or two output Tensors, found 3"),
        (CLASSIFY, "no_inputs", holding("No classification inputs found in SignatureDef: ")),
        (CLASSIFY, "no_outputs", holding("lassification")),
        (CLASSIFY, "flat_scores", ANY),
        (CLASSIFY, "int_scores", ANY),
        (CLASSIFY, "number_classes", ANY),
        (CLASSIFY, "text_batch", ANY),
        (CLASSIFY, "uneven", ANY),
        (REGRESS, "regress_two_outputs", "Expected one output Tensor."),
        (REGRESS, "regress_no_inputs", holding("No regression inputs found")),
        (REGRESS, "regress_no_outputs", holding("No regression outputs found")),
        (REGRESS, "wide", ANY),
        (REGRESS, "int_regress", ANY),
        (REGRESS, "short", ANY),
    ],
)
def test_an_unfit_signature_is_refused(grpc: Grpc, method: str, signature: str, message: Text) -> None:
    came = grpc.refusal(method, ask("classes", signature, example_list(THREE, THREE)))
    assert came.code == "INVALID_ARGUMENT", came
    assert came.message
    assert fits(came.message, message), came


def test_several_signatures_are_asked_at_once(grpc: Grpc) -> None:
    tasks = [("regress_x_to_y", "regress"), ("classify_x_to_y", "classify"), ("regress_x_to_y2", "regress")]
    response = grpc.call("MultiInference", "".join(task(*one) for one in tasks) + example_list(ONE, ONE))
    first, second, third = response.results
    assert [one.value for one in first.regression_result.regressions] == [5.0, 5.0]
    assert [one.classes[0].score for one in second.classification_result.classifications] == [5.0, 5.0]
    assert [one.value for one in third.regression_result.regressions] == [6.0, 6.0]
    for result, (signature, _) in zip(response.results, tasks, strict=True):
        assert (result.model_spec.name, result.model_spec.version.value) == ("half_plus_two", 123)
        assert result.model_spec.signature_name == signature


def test_the_first_tasks_version_is_the_one_asked(grpc: Grpc) -> None:
    tasks = task("regress_x_to_y", "regress", spec="version { value: 123 }") + task(
        "classify_x_to_y", "classify", spec="version { value: 7 }"
    )
    response = grpc.call("MultiInference", tasks + example_list(ONE))
    assert [result.model_spec.version.value for result in response.results] == [123, 123]


@pytest.mark.parametrize(
    ("request_text", "code", "message"),
    [
        pytest.param(
            task("regress_x_to_y", "regress") + task("regress", "regress", "classes") + example_list(ONE),
            "INVALID_ARGUMENT",
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
            id="two models",
        ),
        pytest.param(
            task("regress_x_to_y", "regress") * 2 + example_list(ONE),
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: regress_x_to_y",
            id="one signature twice",
        ),
        pytest.param(
            task("nil", "regress") + example_list(ONE),
            "INVALID_ARGUMENT",
            "Requested signature not found in model graph: nil",
            id="unknown signature",
        ),
        pytest.param(
            task("regress_x_to_y", "predict") + example_list(ONE),
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
            id="another method",
        ),
        pytest.param(
            task("a", "regress", "nobody") + example_list(ONE),
            "NOT_FOUND",
            "Servable not found for request: Latest(nobody)",
            id="unknown model",
        ),
        pytest.param(
            task("regress_x_to_y", "regress") + "input {}", "INVALID_ARGUMENT", "Input is empty.", id="no examples"
        ),
    ],
)
def test_a_wrong_multi_inference_is_refused(grpc: Grpc, request_text: str, code: str, message: str) -> None:
    came = grpc.refusal("MultiInference", request_text)
    assert (came.code, came.message) == (code, message)


def test_a_multi_inference_without_tasks_is_refused(grpc: Grpc) -> None:
    assert grpc.refusal("MultiInference", example_list(ONE)).code == "INVALID_ARGUMENT"
