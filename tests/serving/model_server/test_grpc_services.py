"""Both gRPC services over real models: answers, refusals and their order (section 3 of the contract)."""

import contextlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, ModelVersionStatus
from tensorflow_serving.apis.inference_pb2 import MultiInferenceRequest
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from serving.model_server import grpc_services
from serving.model_server.lifecycle_settings import Settings
from serving.model_server.loader import Loader
from serving.model_server.metrics import Metrics
from serving.model_server.models import Models
from serving.model_server.runner import Runner
from serving.model_server.servable import Feeds, Fetches, Run, Session
from serving.model_server.signature import Array
from tests.serving.model_server.grpc_running import LIMIT_S, running
from tests.serving.model_server.lifecycle_fakes import FAST, config, model
from tests.serving.model_server.models import example, push
from tests.serving.model_server.models_tf1 import CLASSIFY, REGRESS

X = {"x": {"dtype": 1, "tensor_shape": {"dim": [{"size": 2}]}, "float_val": [1.0, 5.0]}}
EXAMPLES = [example(x=1.0), example(x=5.0)]


@dataclass(frozen=True)
class Served:
    """A running server: `half` (1 and 2; stable is 1, gone is 9), `classes`, `defaults`."""

    prediction: Any
    management: Any
    metrics: Metrics

    def ask(self, request: Any) -> Any:
        """Its answer, from the method that takes such a request."""
        stub = self.prediction if type(request) in METHODS else self.management
        return getattr(stub, (METHODS | MANAGEMENT)[type(request)])(request, timeout=LIMIT_S)

    def refusal(self, request: Any) -> tuple[str, str]:
        """(code, message)"""
        with pytest.raises(grpc.RpcError) as caught:
            self.ask(request)
        error: Any = caught.value
        return error.code().name, error.details()


METHODS: dict[Any, str] = {
    PredictRequest: "Predict",
    ClassificationRequest: "Classify",
    RegressionRequest: "Regress",
    MultiInferenceRequest: "MultiInference",
    GetModelMetadataRequest: "GetModelMetadata",
}
MANAGEMENT: dict[Any, str] = {
    GetModelStatusRequest: "GetModelStatus",
    ReloadConfigRequest: "HandleReloadConfigRequest",
}


@pytest.fixture(scope="module")
def serving_models(
    models: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Models, Metrics]]:
    base = tmp_path_factory.mktemp("models")
    runner, metrics = Runner(2, "test"), Metrics()

    def make_run(session: Session, signatures: object, directory: str, name: str) -> Run:
        async def run(feeds: Feeds, fetches: Fetches, timeout_s: float | None) -> list[Array]:
            return await runner.run(partial(session.run, feeds, fetches), timeout_s)

        return run

    for version in (1, 2):
        push(models("half_plus_two_tf1"), base / "half", version)
    push(models("classes"), base / "classes", 7)
    push(models("defaults"), base / "defaults", 1)
    settings = Settings(**{**FAST, "allow_version_labels_for_unavailable_models": True})
    served = Models(Loader(make_run, metrics=metrics).load, settings)
    half = model("half", base / "half", [1, 2], {"stable": 1, "gone": 9})
    served.start(config(half, model("classes", base / "classes"), model("defaults", base / "defaults")))
    yield served, metrics
    served.stop()
    runner.close()


@pytest.fixture(scope="module")
def served(serving_models: tuple[Models, Metrics]) -> Iterator[Served]:
    with serve(*serving_models) as served:
        yield served


@contextlib.contextmanager
def serve(models: Models, metrics: Metrics, **options: bool) -> Generator[Served]:
    with (
        running(grpc_services.handlers(models, metrics, **options)) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.ports[0]}") as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        yield Served(stub, model_service_pb2_grpc.ModelServiceStub(channel), metrics)


def predict(inputs: Any = X, output_filter: tuple[str, ...] = (), **spec: Any) -> Any:
    return PredictRequest(model_spec={"name": "half", **spec}, inputs=inputs, output_filter=output_filter)


def examples(kind: Any, signature: str, serialized: list[bytes], name: str = "half") -> Any:
    request = kind(model_spec={"name": name, "signature_name": signature})
    for one in serialized:
        request.input.example_list.examples.add().ParseFromString(one)
    return request


def several(*tasks: tuple[str, str, str], serialized: list[bytes] = EXAMPLES) -> Any:
    wanted = [
        {"model_spec": {"name": name, "signature_name": key}, "method_name": method} for name, key, method in tasks
    ]
    request = MultiInferenceRequest(tasks=wanted)
    for one in serialized:
        request.input.example_list.examples.add().ParseFromString(one)
    return request


def test_predict_answers_in_typed_fields_and_says_who_answered(served: Served) -> None:
    answer = served.ask(predict())
    assert list(answer.outputs["y"].float_val) == [2.5, 4.5]
    assert [one.size for one in answer.outputs["y"].tensor_shape.dim] == [2]
    assert not answer.outputs["y"].tensor_content
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("half", 2, "serving_default")
    assert spec.WhichOneof("version_choice") == "version"


def test_predict_answers_in_tensor_content_if_told_so(serving_models: tuple[Models, Metrics]) -> None:
    with serve(*serving_models, tensor_content=True) as served:
        answer = served.ask(predict()).outputs["y"]
        assert (answer.tensor_content, list(answer.float_val)) == (b"\0\0\x20\x40\0\0\x90\x40", [])


@pytest.mark.parametrize(("spec", "version"), [({"version": {"value": 1}}, 1), ({"version_label": "stable"}, 1)])
def test_a_version_is_chosen_by_number_or_label(served: Served, spec: dict[str, Any], version: int) -> None:
    assert served.ask(predict(**spec)).model_spec.version.value == version


def test_predict_feeds_defaults_and_fetches_what_the_filter_names(served: Served) -> None:
    answer = served.ask(predict({"a": X["x"]}, ("sum",), name="defaults"))
    assert list(answer.outputs["sum"].float_val) == [321.0, 325.0]


UNREADABLE = {"x": {"dtype": 1, "tensor_shape": {"dim": [{"size": 2}]}, "tensor_content": b"\0"}}
WHOLE = {"x": {"dtype": 3, "int_val": [1]}}


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (predict(name=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (predict(UNREADABLE, name="z"), "NOT_FOUND", "Servable not found for request: Latest(z)"),
        (predict(version={"value": 5}), "NOT_FOUND", "Servable not found for request: Specific(half, 5)"),
        (predict(version_label="gone"), "NOT_FOUND", "Servable not found for request: Specific(half, 9)"),
        (predict(version_label="new"), "INVALID_ARGUMENT", "Unrecognized servable version label: new"),
        (predict(version_label=""), "INVALID_ARGUMENT", "Unrecognized servable version label: "),
        (predict(UNREADABLE, signature_name="z"), "FAILED_PRECONDITION", 'Serving signature key "z" not found.'),
        (
            predict({}),
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
        ),
        (predict(UNREADABLE, ("z",)), "INVALID_ARGUMENT", "tensor parsing error: x"),
        (
            predict(output_filter=("z",)),
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
        ),
        (predict(output_filter=("y", "y")), "INVALID_ARGUMENT", "duplicate output tensor alias: y"),
        (predict(WHOLE), "INVALID_ARGUMENT", "Expects arg[0] to be float but int32 is provided"),
        (ClassificationRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (RegressionRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (examples(ClassificationRequest, "z", []), "INVALID_ARGUMENT", "No signature was found with the name: z"),
        (examples(ClassificationRequest, "classify_x_to_y", []), "INVALID_ARGUMENT", "Input is empty."),
        (examples(RegressionRequest, "classify_x_to_y", []), "INVALID_ARGUMENT", "No regression outputs found"),
        (MultiInferenceRequest(), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            several(("half", "regress_x_to_y", REGRESS), ("other", "regress_x_to_y2", REGRESS)),
            "INVALID_ARGUMENT",
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (
            several(("half", "serving_default", "tensorflow/serving/predict")),
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        (GetModelMetadataRequest(metadata_field=["z"]), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (
            GetModelMetadataRequest(model_spec={"name": "z"}),
            "INVALID_ARGUMENT",
            "GetModelMetadataRequest must specify at least one metadata_field",
        ),
        (
            GetModelMetadataRequest(model_spec={"name": "z"}, metadata_field=["signature_def", "z"]),
            "INVALID_ARGUMENT",
            "Metadata field z is not supported",
        ),
        (GetModelStatusRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (GetModelStatusRequest(model_spec={}), "NOT_FOUND", "Could not find any versions of model "),
        (
            GetModelStatusRequest(model_spec={"name": "half", "version": {"value": 5}}),
            "NOT_FOUND",
            "Could not find version 5 of model half",
        ),
        (
            ReloadConfigRequest(),
            "INVALID_ARGUMENT",
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported",
        ),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "DESCRIPTOR") else str(value)[:40],
)
def test_what_is_wrong_first_is_what_the_refusal_says(served: Served, request_: Any, code: str, message: str) -> None:
    found = served.refusal(request_)
    assert found[0] == code
    assert found[1].startswith(message)


def test_the_method_is_checked_if_told_so(serving_models: tuple[Models, Metrics]) -> None:
    with serve(*serving_models, check_method=True) as served:
        message = served.refusal(examples(ClassificationRequest, "regress_x_to_y", EXAMPLES))[1]
        assert message.startswith("Expected classification signature method_name to be")


def test_classify_gives_each_example_its_labels_and_scores(served: Served) -> None:
    records = [example(x=[1.0, 2.0, 3.0]), example(x=[4.0, 5.0, 6.0])]
    answer = served.ask(examples(ClassificationRequest, "", records, "classes"))
    rows = [[(one.label, one.score) for one in row.classes] for row in answer.result.classifications]
    assert rows == [[("low", 1), ("mid", 2), ("high", 3)], [("low", 4), ("mid", 5), ("high", 6)]]
    assert (answer.model_spec.version.value, answer.model_spec.signature_name) == (7, "serving_default")


def test_regress_gives_each_example_its_value(served: Served) -> None:
    answer = served.ask(examples(RegressionRequest, "regress_x_to_y", EXAMPLES))
    assert [one.value for one in answer.result.regressions] == [2.5, 4.5]
    assert (answer.model_spec.version.value, answer.model_spec.signature_name) == (2, "regress_x_to_y")


def test_multi_inference_answers_every_task_and_counts_its_examples(served: Served) -> None:
    request = several(("half", "regress_x_to_y2", REGRESS), ("half", "classify_x_to_y", CLASSIFY))
    request.tasks[0].model_spec.version.value = 1
    regression, classification = served.ask(request).results
    assert [one.value for one in regression.regression_result.regressions] == [3.5, 5.5]
    assert [row.classes[0].score for row in classification.classification_result.classifications] == [2.5, 4.5]
    assert [one.model_spec.signature_name for one in (regression, classification)] == [
        "regress_x_to_y2",
        "classify_x_to_y",
    ]
    assert {one.model_spec.version.value for one in (regression, classification)} == {1}
    page = served.metrics.exposition().decode()
    assert ':tensorflow:serving:request_example_count_total{model="half"} 2' in page
    assert ':tensorflow:serving:request_example_counts_count{model="half"} 1' in page


def test_metadata_says_the_version_and_its_signatures_and_no_more(served: Served) -> None:
    request = GetModelMetadataRequest(
        model_spec={"name": "half", "version_label": "stable"}, metadata_field=["signature_def"]
    )
    answer = served.ask(request)
    assert (answer.model_spec.name, answer.model_spec.version.value, answer.model_spec.signature_name) == (
        "half",
        1,
        "",
    )
    found = SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(found)
    assert found.signature_def["serving_default"].inputs["x"].name == "x:0"


def test_status_lists_versions_highest_first_and_ignores_a_label(served: Served) -> None:
    answer = served.ask(GetModelStatusRequest(model_spec={"name": "half", "version_label": "nonsense"}))
    assert [(one.version, one.state) for one in answer.model_version_status] == [
        (2, ModelVersionStatus.AVAILABLE),
        (1, ModelVersionStatus.AVAILABLE),
    ]
    assert all(one.HasField("status") and one.status.error_code == 0 for one in answer.model_version_status)
