"""The fake model server behind the real gRPC API. Not a test module."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

from serving.status import StatusError
from tests.serving.rollout.fakes import FakeServer


@contextlib.contextmanager
def serve(server: FakeServer, port: int = 0) -> Iterator[int]:
    """Serves GetModelStatus, HandleReloadConfigRequest and GetModelMetadata; yields the port."""
    import grpc
    from google.protobuf import text_format
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_management_pb2,
        model_service_pb2_grpc,
        prediction_service_pb2_grpc,
    )

    def status(request: Any, context: Any) -> Any:
        answer = get_model_status_pb2.GetModelStatusResponse()
        for one in said(context, lambda: server.status(request.model_spec.name, 1.0)):
            state = get_model_status_pb2.ModelVersionStatus.State.Value(one.state)
            version = answer.model_version_status.add(version=one.version, state=state)
            if one.error is not None:
                version.status.error_code, version.status.error_message = one.error.code, one.error.message
        return answer

    def reload(request: Any, context: Any) -> Any:
        said(context, lambda: server.reload(text_format.MessageToString(request.config), 60.0))
        return model_management_pb2.ReloadConfigResponse()

    def metadata(request: Any, context: Any) -> Any:
        spec = request.model_spec
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.model_spec.name = spec.name
        answer.model_spec.version.value = said(context, lambda: server.labelled(spec.name, spec.version_label, 1.0))
        answer.metadata["signature_def"].Pack(get_model_metadata_pb2.SignatureDefMap())
        return answer

    def said(context: Any, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except StatusError as error:
            code = next(one for one in grpc.StatusCode if one.value[0] == error.code)
            context.abort(code, error.message)

    models, predictions = (
        model_service_pb2_grpc.ModelServiceServicer(),
        prediction_service_pb2_grpc.PredictionServiceServicer(),
    )
    models.GetModelStatus, models.HandleReloadConfigRequest, predictions.GetModelMetadata = status, reload, metadata
    running = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(models, running)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(predictions, running)
    bound = running.add_insecure_port(f"127.0.0.1:{port}")
    running.start()
    try:
        yield bound
    finally:
        running.stop(0).wait(10)
