"""Classify, Regress and MultiInference: what is run, what is made of it, and the refusals in TF Serving's words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorflow_serving.apis import inference_pb2, input_pb2

from serving.model_server import classify, multi_inference, signature
from serving.model_server.examples import serialized_examples
from serving.model_server.multi_inference import Result, Task
from serving.model_server.predict import CLASSIFY, REGRESS
from serving.model_server.session import SavedModelSession, SessionOptions
from serving.model_server.signature import Array, Signature
from serving.status import Code, StatusError
from tests.serving.model_server.models import example

TWO = np.array([example(x=[1.0, 2.0, 3.0]), example(x=[4.0, 5.0, 0.1])], object)
NONE = np.empty(0, object)


class Model:
    """A loaded model."""

    def __init__(self, directory: Path) -> None:
        self.session = SavedModelSession(str(directory), SessionOptions())
        self.signatures = signature.read(self.session.signature_definitions)

    def classify(self, name: str, examples: Array = TWO, check: bool = False) -> Any:
        plan = classify.plan_classify(self.signatures, name, examples, check)
        return classify.classifications(plan, self.session.run(plan.feeds, plan.fetches))

    def regress(self, name: str, examples: Array = TWO, check: bool = False) -> Any:
        plan = classify.plan_regress(self.signatures, name, examples, check)
        return classify.regressions(plan, self.session.run(plan.feeds, plan.fetches))

    def infer(self, *tasks: Task, examples: Array = TWO) -> list[Result]:
        plan = multi_inference.plan(self.signatures, tasks, examples)
        return multi_inference.results(plan, self.session.run(plan.feeds, plan.fetches))


@pytest.fixture(scope="module")
def model(models: Callable[[str], Path]) -> Model:
    return Model(models("classes"))


@pytest.fixture(scope="module")
def upstream(models: Callable[[str], Path]) -> Model:
    return Model(models("half_plus_two_tf1"))


def refused(code: Code, call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    with pytest.raises(StatusError) as caught:
        call(*arguments, **options)
    assert caught.value.code == code
    return caught.value.message


def test_each_example_gets_its_labels_and_scores(model: Model) -> None:
    assert model.classify("") == [
        [("low", 1.0), ("mid", 2.0), ("high", 3.0)],
        [("low", 4.0), ("mid", 5.0), ("high", pytest.approx(0.1))],
    ]


def test_a_model_may_have_scores_or_labels_alone(model: Model) -> None:
    assert model.classify("scores", TWO[:1]) == [[("", 1.0), ("", 2.0), ("", 3.0)]]
    assert model.classify("classes", TWO[:1]) == [[("low", 0.0), ("mid", 0.0), ("high", 0.0)]]


def test_labels_that_are_no_utf8_are_made_so() -> None:
    labels = np.array([[b"\xff", "é".encode()]], object)
    assert classify.classified(labels, None, 1) == [[("�", 0.0), ("é", 0.0)]]


def test_each_example_gets_its_value(model: Model, upstream: Model) -> None:
    assert model.regress("regress") == [1.0, 4.0]
    assert upstream.regress("regress_x_to_y", np.array([example(x=2.0), example(x=4.0)], object)) == [3.0, 4.0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("two_inputs", "Expected one input Tensor."),
        ("three_outputs", "Expected one or two output Tensors, found 3"),
        ("no_inputs", 'No classification inputs found in SignatureDef: inputs {\n  key: "examples"\n'),
        (
            "no_outputs",
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            'Signature was: inputs {\n  key: "inputs"\n',
        ),
        ("flat_scores", "Expected Tensor shape: [batch_size num_classes] but got [2]"),
        ("int_scores", "Expected scores Tensor of DT_FLOAT. Got: DT_INT32"),
        ("number_classes", "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"),
        ("text_batch", "Expected classes output batch size of 2. Got: 3"),
        ("uneven", "Tensors class and score should match in dim_size(1). Got 2 vs. 3"),
        ("absent", "No signature was found with the name: absent"),
    ],
)
def test_what_is_no_classifier_is_refused(model: Model, name: str, text: str) -> None:
    assert refused(Code.INVALID_ARGUMENT, model.classify, name).startswith(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("two_inputs", "Expected one input Tensor."),
        ("regress_two_outputs", "Expected one output Tensor."),
        ("regress_no_inputs", 'No regression inputs found in SignatureDef: inputs {\n  key: "examples"\n'),
        ("regress_no_outputs", 'No regression outputs found in SignatureDef: inputs {\n  key: "inputs"\n'),
        ("wide", "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,3]"),
        ("short", "Input batch size did not match output batch size: 2 vs. 3"),
        ("int_regress", "Expected output Tensor of DT_FLOAT.  Got: DT_INT32"),
        ("absent", "No signature was found with the name: absent"),
    ],
)
def test_what_is_no_regressor_is_refused(model: Model, name: str, text: str) -> None:
    assert refused(Code.INVALID_ARGUMENT, model.regress, name).startswith(text)


def test_an_unknown_signature_is_named_also_where_the_default_was_meant() -> None:
    message = refused(Code.INVALID_ARGUMENT, classify.plan_classify, {}, "", TWO)
    assert message == "No signature was found with the name: serving_default"


def test_an_input_of_no_examples_is_refused_after_the_signature(model: Model) -> None:
    assert refused(Code.INVALID_ARGUMENT, model.classify, "", NONE) == "Input is empty."
    assert refused(Code.INVALID_ARGUMENT, model.regress, "regress", NONE) == "Input is empty."
    assert refused(Code.INVALID_ARGUMENT, model.infer, Task("m", "", CLASSIFY), examples=NONE) == "Input is empty."
    assert "absent" in refused(Code.INVALID_ARGUMENT, model.classify, "absent", NONE)


def test_methods_are_checked_only_where_that_is_asked_for(model: Model) -> None:
    assert model.classify("scores", check=True)
    assert model.regress("regress", check=True)
    assert refused(Code.INVALID_ARGUMENT, model.classify, "regress", check=True) == (
        "Expected classification signature method_name to be tensorflow/serving/classify. "
        "Was: tensorflow/serving/regress"
    )
    assert refused(Code.INVALID_ARGUMENT, model.regress, "scores", check=True) == (
        "Expected regression signature method_name to be tensorflow/serving/regress. Was: tensorflow/serving/classify"
    )
    tasks = [Task("m", "scores", REGRESS)]
    message = refused(Code.INVALID_ARGUMENT, multi_inference.plan, model.signatures, tasks, TWO, check_method=True)
    assert message.startswith("Expected regression signature method_name")


def test_the_runtime_says_which_feature_is_missing(upstream: Model) -> None:
    with pytest.raises(Exception, match="Feature: x") as caught:
        upstream.regress("regress_x_to_y", np.array([b""], object))
    assert str(getattr(caught.value, "message", "")) == (
        "Name: <unknown>, Feature: x (data type: float) is required but could not be found.\n"
        "\t [[{{node ParseExample/ParseExampleV2}}]]"
    )


def test_examples_are_serialized_as_they_came() -> None:
    message = input_pb2.Input()
    assert serialized_examples(message).shape == (0,)
    message.example_list.SetInParent()
    assert serialized_examples(message).shape == (0,)
    for serialized in TWO:
        message.example_list.examples.add().ParseFromString(serialized)
    assert serialized_examples(message).tolist() == TWO.tolist()


def test_the_context_is_part_of_every_example_and_an_examples_own_feature_wins(upstream: Model) -> None:
    message = input_pb2.Input()
    message.example_list_with_context.context.ParseFromString(example(x=8.0))
    message.example_list_with_context.examples.add().ParseFromString(example(x2=1.0))
    message.example_list_with_context.examples.add().ParseFromString(example(x=2.0))
    assert upstream.regress("regress_x_to_y", serialized_examples(message)) == [6.0, 3.0]


def test_several_tasks_are_answered_by_one_run_over_the_union_of_their_tensors(upstream: Model) -> None:
    tasks = [
        Task("m", "regress_x_to_y", REGRESS),
        Task("m", "classify_x_to_y", CLASSIFY),
        Task("m", "regress_x_to_y2", REGRESS),
    ]
    examples = np.array([example(x=2.0)], object)
    plan = multi_inference.plan(upstream.signatures, tasks, examples)
    assert plan.fetches == ("y2:0", "y:0")
    assert plan.feeds == {"tf_example:0": examples}
    assert upstream.infer(*tasks, examples=examples) == [
        Result("regress_x_to_y", None, [3.0]),
        Result("classify_x_to_y", [[("", 3.0)]], None),
        Result("regress_x_to_y2", None, [4.0]),
    ]


def test_tasks_are_read_from_a_request() -> None:
    request = inference_pb2.MultiInferenceRequest()
    request.tasks.add(method_name=CLASSIFY).model_spec.name = "m"
    request.tasks.add(method_name=REGRESS).model_spec.signature_name = "s"
    assert multi_inference.tasks_of(request) == [Task("m", "", CLASSIFY), Task("", "s", REGRESS)]


@pytest.mark.parametrize(
    ("tasks", "code", "text"),
    [
        ([Task("", "", CLASSIFY)], Code.INVALID_ARGUMENT, "Found ModelSpec with an empty model name."),
        (
            [Task("m", "", CLASSIFY), Task("n", "scores", CLASSIFY)],
            Code.INVALID_ARGUMENT,
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (
            [Task("m", "", CLASSIFY), Task("m", "serving_default", CLASSIFY)],
            Code.INVALID_ARGUMENT,
            "Duplicate evaluation of signature: serving_default",
        ),
        (
            [Task("m", "absent", CLASSIFY)],
            Code.INVALID_ARGUMENT,
            "Requested signature not found in model graph: absent",
        ),
        ([Task("m", "", "mine")], Code.UNIMPLEMENTED, "Unsupported signature method_name: mine"),
        ([Task("m", "two_inputs", CLASSIFY)], Code.INVALID_ARGUMENT, "Expected one input Tensor."),
        (
            [Task("m", "regress", REGRESS), Task("m", "from_x", REGRESS)],
            Code.INVALID_ARGUMENT,
            "Input tensor must be the same for all Signatures.",
        ),
    ],
)
def test_tasks_that_do_not_fit_together_are_refused(model: Model, tasks: list[Task], code: Code, text: str) -> None:
    assert refused(code, model.infer, *tasks) == text


def test_outputs_of_a_task_are_checked_after_the_run(model: Model) -> None:
    message = refused(Code.INVALID_ARGUMENT, model.infer, Task("m", "scores", CLASSIFY), Task("m", "wide", REGRESS))
    assert message.endswith("[batch_size, 1] but got [2,3]")


def test_a_signature_of_tests_without_definition_can_be_refused() -> None:
    bare = {
        "s": Signature("s", CLASSIFY, {"x": signature.TensorInfo("x:0", 7)}, {"scores": signature.TensorInfo("y:0", 1)})
    }
    message = refused(Code.INVALID_ARGUMENT, classify.plan_classify, bare, "s", TWO)
    assert message == "No classification inputs found in SignatureDef: "
