"""TensorFlow Serving's PredictionService and ModelService: bytes of a request in, bytes of its answer out.

The order of checks is upstream's, so a request that is wrong twice is refused for the same reason.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from serving.model_server import classify, multi_inference, predict
from serving.model_server.examples import serialized_examples
from serving.model_server.grpc_handlers import Measured, handler
from serving.model_server.metadata import signature_def_map
from serving.model_server.metrics import Metrics
from serving.model_server.models import Models
from serving.model_server.predict import Plan
from serving.model_server.runner import Runner
from serving.model_server.servable import Servable
from serving.model_server.signature import Array
from serving.model_server.tensors import from_proto, to_proto
from serving.status import Code, StatusError

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
SIGNATURE_DEF = "signature_def"


def handlers(
    models: Models, metrics: Metrics, *, tensor_content: bool = False, check_method: bool = False
) -> tuple[Any, ...]:
    """Both services, as generic handlers of a grpc.aio server.

    Args:
        tensor_content: --enable_serialization_as_tensor_content.
        check_method: --enable_signature_method_name_check.
    """
    import grpc
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        model_management_pb2,
        predict_pb2,
        regression_pb2,
    )

    prediction = PredictionService(models, metrics, tensor_content, check_method)
    management = ModelService(models)
    measured = Measured(metrics)
    services: Mapping[str, Mapping[str, Any]] = {
        PREDICTION_SERVICE: {
            "Predict": measured.handler("Predict", predict_pb2.PredictRequest, prediction.predict),
            "Classify": measured.handler("Classify", classification_pb2.ClassificationRequest, prediction.classify),
            "Regress": measured.handler("Regress", regression_pb2.RegressionRequest, prediction.regress),
            "MultiInference": handler(inference_pb2.MultiInferenceRequest, prediction.multi_inference),
            "GetModelMetadata": handler(get_model_metadata_pb2.GetModelMetadataRequest, prediction.metadata),
        },
        MODEL_SERVICE: {
            "GetModelStatus": handler(get_model_status_pb2.GetModelStatusRequest, management.status),
            "HandleReloadConfigRequest": handler(model_management_pb2.ReloadConfigRequest, management.reload),
        },
    }
    return tuple(
        grpc.method_handlers_generic_handler(
            service, {method: grpc.unary_unary_rpc_method_handler(one) for method, one in methods.items()}
        )
        for service, methods in services.items()
    )


class PredictionService:
    """What asks models. Each method takes a request and the seconds that its caller waits (None: without limit)."""

    def __init__(self, models: Models, metrics: Metrics, tensor_content: bool, check_method: bool) -> None:
        """As of handlers."""
        from tensorflow_serving.apis import (
            classification_pb2,
            get_model_metadata_pb2,
            inference_pb2,
            predict_pb2,
            regression_pb2,
        )

        self._models = models
        self._metrics = metrics
        self._tensor_content = tensor_content
        self._check_method = check_method
        # Looked up once: an import statement takes 1 us even when there is nothing to import.
        self._predict_response = predict_pb2.PredictResponse
        self._classification_response = classification_pb2.ClassificationResponse
        self._regression_response = regression_pb2.RegressionResponse
        self._multi_inference_request = inference_pb2.MultiInferenceRequest
        self._multi_inference_response = inference_pb2.MultiInferenceResponse
        self._metadata_response = get_model_metadata_pb2.GetModelMetadataResponse

    async def predict(self, request: Any, timeout_s: float | None) -> Any:
        """A PredictRequest's PredictResponse."""
        spec = _model_spec(request)
        servable = self._acquire(spec)
        try:
            plan = predict.plan(
                servable.signatures,
                spec.signature_name,
                request.inputs,
                request.output_filter,
                self._check_method,
                from_proto,
            )
            outputs = await self._run(servable, plan, "Predict", timeout_s)
        finally:
            servable.release()
        response = self._predict_response()
        _answered_by(response.model_spec, servable, plan.signature.name)
        expected = plan.signature.outputs
        for alias, array in zip(plan.aliases, outputs, strict=True):
            to_proto(array, expected[alias].dtype, response.outputs[alias], self._tensor_content)
        return response

    async def classify(self, request: Any, timeout_s: float | None) -> Any:
        """A ClassificationRequest's ClassificationResponse."""
        response = self._classification_response()
        plan, outputs = await self._examples(request, response, classify.plan_classify, "Classify", timeout_s)
        _fill_classifications(response.result, classify.classifications(plan, outputs))
        return response

    async def regress(self, request: Any, timeout_s: float | None) -> Any:
        """A RegressionRequest's RegressionResponse."""
        response = self._regression_response()
        plan, outputs = await self._examples(request, response, classify.plan_regress, "Regress", timeout_s)
        _fill_regressions(response.result, classify.regressions(plan, outputs))
        return response

    async def multi_inference(self, request: Any, timeout_s: float | None) -> Any:
        """A MultiInferenceRequest's MultiInferenceResponse; the first task says which version answers."""
        tasks = multi_inference.tasks_of(request)
        first = request.tasks[0] if tasks else self._multi_inference_request().tasks.add()
        servable = self._acquire(first.model_spec)
        try:
            serialized = serialized_examples(request.input)
            plan = multi_inference.plan(servable.signatures, tasks, serialized, self._check_method)
            outputs = await servable.run(plan.feeds, plan.fetches, timeout_s)
        finally:
            servable.release()
        self._metrics.request_example_counts.observe(servable.name, value=len(serialized))
        self._metrics.request_example_count_total.add(servable.name, by=len(serialized))
        response = self._multi_inference_response()
        for result in multi_inference.results(plan, outputs):
            answer = response.results.add()
            _answered_by(answer.model_spec, servable, result.signature_name)
            if result.classifications is not None:
                _fill_classifications(answer.classification_result, result.classifications)
            if result.regressions is not None:
                _fill_regressions(answer.regression_result, result.regressions)
        return response

    async def metadata(self, request: Any, timeout_s: float | None) -> Any:
        """A GetModelMetadataRequest's GetModelMetadataResponse."""
        spec = _model_spec(request)
        if not request.metadata_field:
            raise StatusError(Code.INVALID_ARGUMENT, "GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURE_DEF:
                raise StatusError(Code.INVALID_ARGUMENT, f"Metadata field {field} is not supported")
        servable = self._acquire(spec)
        try:
            signatures = signature_def_map(servable.signatures)
        finally:
            servable.release()
        response = self._metadata_response()
        _answered_by(response.model_spec, servable)
        response.metadata[SIGNATURE_DEF].Pack(signatures)
        return response

    def _acquire(self, spec: Any) -> Servable:
        choice = spec.WhichOneof("version_choice")
        if choice is None:
            return self._models.acquire(spec.name)
        if choice == "version":
            return self._models.acquire(spec.name, spec.version.value)
        return self._models.acquire(spec.name, None, spec.version_label)

    async def _examples(
        self, request: Any, response: Any, make_plan: Callable[..., Plan], api: str, timeout_s: float | None
    ) -> tuple[Plan, Sequence[Array]]:
        """Runs the examples of a request by make_plan's plan; fills in the response's model_spec."""
        spec = _model_spec(request)
        servable = self._acquire(spec)
        try:
            serialized = serialized_examples(request.input)
            plan = make_plan(servable.signatures, spec.signature_name, serialized, self._check_method)
            outputs = await self._run(servable, plan, api, timeout_s)
        finally:
            servable.release()
        _answered_by(response.model_spec, servable, plan.signature.name)
        return plan, outputs

    async def _run(self, servable: Servable, plan: Plan, api: str, timeout_s: float | None) -> list[Array]:
        began = time.perf_counter_ns()
        outputs = await servable.run(plan.feeds, plan.fetches, timeout_s)
        took_us = (time.perf_counter_ns() - began) / 1000
        self._metrics.runtime_latency.observe(servable.name, api, "TF1", value=took_us)
        return outputs


class ModelService:
    """What looks after models."""

    def __init__(self, models: Models) -> None:
        from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2

        self._models = models
        self._status_response = get_model_status_pb2.GetModelStatusResponse
        self._reload_response = model_management_pb2.ReloadConfigResponse

    async def status(self, request: Any, timeout_s: float | None) -> Any:
        """A GetModelStatusRequest's GetModelStatusResponse; a label is ignored, as upstream does."""
        spec = _model_spec(request)
        version = spec.version.value if spec.HasField("version") else None
        response = self._status_response()
        for one in self._models.statuses(spec.name, version):
            answer = response.model_version_status.add(version=one.version, state=int(one.state))
            answer.status.SetInParent()  # OK is its default
            if one.error is not None:
                answer.status.error_code = int(one.error.code)
                answer.status.error_message = one.error.message
        return response

    async def reload(self, request: Any, timeout_s: float | None) -> Any:
        """A ReloadConfigRequest's ReloadConfigResponse.

        In a thread of its own, since it may wait for ever for a model; the caller's deadline ends the call alone.
        The metrics asked for are answered with no increase: they are those of TensorFlow's runtime, which only C++
        can read.
        """
        if request.config.WhichOneof("config") != "model_config_list":
            raise StatusError(
                Code.INVALID_ARGUMENT,
                "ServerModelConfig type not supported by HandleReloadConfigRequest."
                " Only ModelConfigList is currently supported",
            )
        thread = Runner(1, "reload")
        try:
            await thread.run(lambda: self._models.reload(request.config), timeout_s)
        finally:
            thread.close()
        response = self._reload_response()
        response.status.SetInParent()
        for name in dict.fromkeys(request.metric_names):
            response.metric.add(name=name, int64_value_increase=0)
        return response


def _model_spec(request: Any) -> Any:
    if not request.HasField("model_spec"):
        raise StatusError(Code.INVALID_ARGUMENT, "Missing ModelSpec")
    return request.model_spec


def _answered_by(spec: Any, servable: Servable, signature_name: str = "") -> None:
    spec.name = servable.name
    spec.version.value = servable.version
    spec.signature_name = signature_name


def _fill_classifications(result: Any, rows: Sequence[Sequence[tuple[str, float]]]) -> None:
    for row in rows:
        add = result.classifications.add().classes.add
        for label, score in row:
            add(label=label, score=score)


def _fill_regressions(result: Any, values: Sequence[float]) -> None:
    add = result.regressions.add
    for value in values:
        add(value=value)
