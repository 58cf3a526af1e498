"""The messages are TF Serving's own, as far as they go."""

from importlib import import_module
from typing import Any

import pytest

from serving.impressions.messages import messages

_THEIRS = {
    "Dim": ("tensorflow.core.framework.tensor_shape_pb2", "TensorShapeProto.Dim"),
    "Shape": ("tensorflow.core.framework.tensor_shape_pb2", "TensorShapeProto"),
    "Tensor": ("tensorflow.core.framework.tensor_pb2", "TensorProto"),
    "InferenceTask": ("tensorflow_serving.apis.inference_pb2", "InferenceTask"),
    "InferenceResult": ("tensorflow_serving.apis.inference_pb2", "InferenceResult"),
    "MultiInferenceRequest": ("tensorflow_serving.apis.inference_pb2", "MultiInferenceRequest"),
    "MultiInferenceResponse": ("tensorflow_serving.apis.inference_pb2", "MultiInferenceResponse"),
    "ModelSpec": ("tensorflow_serving.apis.model_pb2", "ModelSpec"),
    "PredictRequest": ("tensorflow_serving.apis.predict_pb2", "PredictRequest"),
    "PredictResponse": ("tensorflow_serving.apis.predict_pb2", "PredictResponse"),
}
_MODULES = (
    "tensorflow.core.example.feature_pb2",
    "tensorflow.core.example.example_pb2",
    "tensorflow_serving.apis.input_pb2",
    "tensorflow_serving.apis.classification_pb2",
    "tensorflow_serving.apis.regression_pb2",
)


def theirs(name: str) -> Any:
    if name in _THEIRS:
        module, path = _THEIRS[name]
        found = import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
        return found.DESCRIPTOR
    modules = [import_module(one) for one in _MODULES]
    return next(getattr(module, name) for module in modules if hasattr(module, name)).DESCRIPTOR


@pytest.mark.parametrize("name", list(messages()))
def test_every_field_is_as_theirs_on_the_wire(name: str) -> None:
    fields = theirs(name).fields_by_name
    for field in messages()[name].DESCRIPTOR.fields:
        their = fields[field.name]
        is_enum = their.type == their.TYPE_ENUM  # a number on the wire, as int32 is
        assert field.number == their.number
        assert field.is_repeated == their.is_repeated
        assert field.type == (field.TYPE_INT32 if is_enum else their.type)
        if field.message_type is not None:
            assert field.message_type.GetOptions().map_entry == their.message_type.GetOptions().map_entry
