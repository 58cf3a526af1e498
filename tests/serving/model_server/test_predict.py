"""What a Predict request feeds and fetches, and how it is refused: no TensorFlow here."""

from typing import Any

import numpy as np
import pytest

from serving.model_server import predict
from serving.model_server.predict import Plan
from serving.model_server.signature import Array, Signature, TensorInfo
from serving.status import Code, StatusError

ONE = np.array([1.0], np.float32)
TWO = np.array([2.0], np.float32)


def signature(
    inputs: str = "a b", outputs: str = "y z", method: str = predict.PREDICT, **defaults: Array
) -> dict[str, Signature]:
    def infos(names: str) -> dict[str, TensorInfo]:
        return {name: TensorInfo(f"{name}:0", 1) for name in names.split()}

    name = "serving_default"
    return {name: Signature(name, method, infos(inputs), infos(outputs), defaults)}


def refused(code: Code, *arguments: Any, **options: Any) -> str:
    with pytest.raises(StatusError) as caught:
        predict.plan(*arguments, **options)
    assert caught.value.code == code
    return caught.value.message


def test_every_input_is_fed_and_every_output_fetched() -> None:
    signatures = signature()
    assert predict.plan(signatures, "", {"b": TWO, "a": ONE}) == Plan(
        signatures["serving_default"], {"a:0": ONE, "b:0": TWO}, ("y:0", "z:0"), ("y", "z")
    )


def test_the_filter_chooses_outputs_and_their_order() -> None:
    plan = predict.plan(signature("a"), "serving_default", {"a": ONE}, ["z", "y"])
    assert (plan.fetches, plan.aliases) == (("z:0", "y:0"), ("z", "y"))
    assert predict.plan(signature("a"), "", {"a": ONE}, ["z"]).fetches == ("z:0",)


def test_defaults_stand_in_for_what_is_left_out() -> None:
    signatures = signature(b=TWO)
    assert predict.plan(signatures, "", {"a": ONE}).feeds == {"a:0": ONE, "b:0": TWO}
    assert predict.plan(signatures, "", {"a": ONE, "b": ONE}).feeds == {"a:0": ONE, "b:0": ONE}


def test_a_signature_without_inputs_is_run_without_feeds() -> None:
    assert predict.plan(signature(""), "", {}).feeds == {}


@pytest.mark.parametrize(("asked", "named"), [("other", "other"), ("", "serving_default")])
def test_an_unknown_signature_is_a_failed_precondition(asked: str, named: str) -> None:
    message = refused(Code.FAILED_PRECONDITION, {}, asked, {"a": ONE})
    assert message == f'Serving signature key "{named}" not found.'


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ("a", "1!=2 len({a}) != len({a,b}). Sent extra: {}. Missing but required: {b}."),
        ("a b c", "3!=2 len({a,b,c}) != len({a,b}). Sent extra: {c}. Missing but required: {}."),
        ("", "0!=2 len({}) != len({a,b}). Sent extra: {}. Missing but required: {a,b}."),
        ("c", "1!=2 len({c}) != len({a,b}). Sent extra: {c}. Missing but required: {a,b}."),
    ],
)
def test_the_number_of_inputs_must_match(inputs: str, text: str) -> None:
    message = refused(Code.INVALID_ARGUMENT, signature(), "", dict.fromkeys(inputs.split(), ONE))
    assert message == f"input size does not match signature: {text}"


def test_too_many_inputs_are_refused_also_where_there_are_defaults() -> None:
    message = refused(Code.INVALID_ARGUMENT, signature(b=TWO), "", dict.fromkeys("abc", ONE))
    assert message.startswith("input size does not match signature: 3!=2 ")


def test_a_wrong_name_is_told_what_was_expected() -> None:
    assert refused(Code.INVALID_ARGUMENT, signature(), "", {"a": ONE, "c": ONE}) == (
        "Signature input alias: b(feed name: b:0) not found in request and no default value provided. Inputs expected "
        "to be in the request {a,c}, or default input alias set: "
    )
    assert refused(Code.INVALID_ARGUMENT, signature(b=TWO), "", {"c": ONE}) == (
        "Signature input alias: a(feed name: a:0) not found in request and no default value provided. Inputs expected "
        "to be in the request {c}, or default input alias set: b"
    )


def test_an_extra_name_among_defaults_is_refused() -> None:
    assert refused(Code.INVALID_ARGUMENT, signature(b=TWO), "", {"a": ONE, "c": ONE}) == (
        "Inputs contains invalid name. Used request inputs: a, request input: a,c"
    )


def test_the_filter_must_name_outputs_once() -> None:
    signatures = signature("a", "y x")
    assert refused(Code.INVALID_ARGUMENT, signatures, "", {"a": ONE}, ["y", "z"]) == (
        "output tensor alias not found in signature: z Outputs expected to be in the set {x,y}."
    )
    assert refused(Code.INVALID_ARGUMENT, signatures, "", {"a": ONE}, ["y", "x", "y"]) == (
        "duplicate output tensor alias: y"
    )


@pytest.mark.parametrize("method", [predict.PREDICT, predict.CLASSIFY, predict.REGRESS])
def test_the_method_check_lets_the_three_methods_pass(method: str) -> None:
    assert predict.plan(signature("a", "y", method), "", {"a": ONE}, (), True).aliases == ("y",)


def test_the_method_check_refuses_others_only_where_it_is_asked_for() -> None:
    signatures = signature("a", "y", "mine")
    assert predict.plan(signatures, "", {"a": ONE}).aliases == ("y",)
    assert refused(Code.INTERNAL, signatures, "", {"a": ONE}, check_method=True) == (
        "Expected prediction signature method_name to be one of {tensorflow/serving/predict, "
        "tensorflow/serving/classify, tensorflow/serving/regress}. Was: mine"
    )


def test_tensors_are_parsed_after_the_checks_of_names_and_before_the_filter() -> None:
    def parse(value: Any, alias: str) -> Array:
        raise StatusError(Code.INVALID_ARGUMENT, f"tensor parsing error: {alias}")

    assert refused(Code.INVALID_ARGUMENT, signature("a"), "", {"a": 0}, ["?"], parse=parse) == "tensor parsing error: a"
    assert refused(Code.INVALID_ARGUMENT, signature(), "", {"a": 0}, parse=parse).startswith("input size")


def test_parsed_tensors_are_fed() -> None:
    plan = predict.plan(signature("a"), "", {"a": [1.0]}, parse=lambda value, alias: np.array(value, np.float32))
    assert plan.feeds == {"a:0": ONE}
