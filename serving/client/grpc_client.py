"""The client for TensorFlow Serving's gRPC API. Making one imports TensorFlow: the protos of the API need it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.client import TIMEOUT_S, Metadata, Prediction, SignatureInfo, Tensor, Version
from serving.client.retry import RETRY, Retry
from serving.model_server.signature import Array
from serving.status import Code, StatusError

LARGEST_BYTES = 2**31 - 1  # of a message


@dataclass(frozen=True)
class Tls:
    """What a client needs to reach a server that speaks TLS; PEM texts.

    Attributes:
        ca: certificates to trust; None trusts those that gRPC ships.
        key, certificate: the client's own, where the server wants to see one.
        server_name: to expect in the server's certificate in place of the target's host.
    """

    ca: bytes | None = None
    key: bytes | None = None
    certificate: bytes | None = None
    server_name: str | None = None


class GrpcClient:
    """serving.client.Client over gRPC, and the one that can reload the server's configuration."""

    def __init__(self, target: str, *, tls: Tls | None = None, retry: Retry = RETRY) -> None:
        """Connects with the first call.

        Args:
            target: `host:8500` or `unix:/path`.
        """
        import grpc
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        options = [
            ("grpc.max_send_message_length", LARGEST_BYTES),
            ("grpc.max_receive_message_length", LARGEST_BYTES),
            ("grpc.enable_retries", 0),  # `retry` is what tries again
            # Else a channel that was refused refuses by itself for up to two minutes.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if tls is None:
            self._channel = grpc.insecure_channel(target, options)
        else:
            if tls.server_name is not None:
                options.append(("grpc.ssl_target_name_override", tls.server_name))  # type: ignore[arg-type]
            credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.certificate)
            self._channel = grpc.secure_channel(target, credentials, options)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._model = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._refusal: type[Exception] = grpc.RpcError
        self._retry = retry

    def predict(
        self,
        model: str,
        inputs: Mapping[str, Array],
        *,
        version: int | None = None,
        label: str | None = None,
        signature: str | None = None,
        output_filter: Sequence[str] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> Prediction:
        """See Client."""
        from tensorflow_serving.apis import predict_pb2

        from serving.model_server import tensors

        request = predict_pb2.PredictRequest(output_filter=output_filter)
        _specify(request.model_spec, model, version, label)
        request.model_spec.signature_name = signature or ""
        for alias, value in inputs.items():
            array, dtype = _typed(np.asarray(value))
            tensors.to_proto(array, dtype, request.inputs[alias], True)
        answer = self._ask(self._prediction.Predict, request, timeout_s)
        outputs = {alias: tensors.from_proto(answer.outputs[alias], alias) for alias in sorted(answer.outputs)}
        return Prediction(outputs, answer.model_spec.version.value)

    def status(self, model: str, *, version: int | None = None, timeout_s: float = TIMEOUT_S) -> tuple[Version, ...]:
        """See Client."""
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        _specify(request.model_spec, model, version, None)
        answer = self._ask(self._model.GetModelStatus, request, timeout_s)
        return tuple(
            Version(
                one.version,
                get_model_status_pb2.ModelVersionStatus.State.Name(one.state),
                StatusError(Code(one.status.error_code), one.status.error_message) if one.status.error_code else None,
            )
            for one in answer.model_version_status
        )

    def metadata(
        self, model: str, *, version: int | None = None, label: str | None = None, timeout_s: float = TIMEOUT_S
    ) -> Metadata:
        """See Client."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        _specify(request.model_spec, model, version, label)
        answer = self._ask(self._prediction.GetModelMetadata, request, timeout_s)
        found = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(found)
        signatures = {
            name: SignatureInfo(one.method_name, _tensors(one.inputs.items()), _tensors(one.outputs.items()))
            for name, one in found.signature_def.items()
        }
        return Metadata(answer.model_spec.version.value, signatures)

    def reload(self, config: Any, *, timeout_s: float = TIMEOUT_S) -> None:
        """Replaces the server's whole configuration; returns when every model that is new to it has a version.

        Args:
            config: a tensorflow_serving.config.model_server_config_pb2.ModelServerConfig.

        Raises:
            StatusError: as every call; after DEADLINE_EXCEEDED the server goes on all the same.
        """
        from tensorflow_serving.apis import model_management_pb2

        request = model_management_pb2.ReloadConfigRequest(config=config)
        self._ask(self._model.HandleReloadConfigRequest, request, timeout_s)

    def close(self) -> None:
        """See Client."""
        self._channel.close()

    def _ask(self, method: Callable[..., Any], request: Any, timeout_s: float) -> Any:
        def attempt(left_s: float) -> Any:
            try:
                return method(request, timeout=left_s)
            except self._refusal as error:
                raise _status(error) from error

        return self._retry.call(attempt, timeout_s)


def _status(error: Any) -> StatusError:
    return StatusError(Code(error.code().value[0]), error.details() or "")


def _specify(model_spec: Any, model: str, version: int | None, label: str | None) -> None:
    if version is not None and label is not None:
        raise StatusError(Code.INVALID_ARGUMENT, f"Ask for version {version} or for label {label}, not for both.")
    model_spec.name = model
    if version is not None:
        model_spec.version.value = version
    elif label is not None:
        model_spec.version_label = label


def _typed(array: Array) -> tuple[Array, int]:
    """The array and its dtype in TensorFlow's enum; str becomes bytes of UTF-8.

    Raises:
        StatusError: INVALID_ARGUMENT: TensorFlow has no such dtype.
    """
    import tensorflow as tf

    if array.dtype.kind in "OSU":
        texts = np.empty(array.shape, object)
        texts.ravel()[:] = [one.encode() if isinstance(one, str) else one for one in array.ravel().tolist()]
        return texts, tf.string.as_datatype_enum
    try:
        return array, tf.dtypes.as_dtype(array.dtype).as_datatype_enum
    except TypeError as error:
        raise StatusError(Code.INVALID_ARGUMENT, f"TensorFlow has no dtype {array.dtype}.") from error


def _tensors(infos: Iterable[tuple[str, Any]]) -> dict[str, Tensor]:
    from tensorflow.core.framework import types_pb2

    return {alias: Tensor(types_pb2.DataType.Name(info.dtype), _shape(info.tensor_shape)) for alias, info in infos}


def _shape(shape: Any) -> tuple[int | None, ...] | None:
    if shape.unknown_rank:
        return None
    return tuple(None if dimension.size < 0 else dimension.size for dimension in shape.dim)
