"""The messages of TF Serving's inference APIs, as far as the log reads them.

Not tensorflow_serving.apis: its modules import TensorFlow (seconds, half a gigabyte), which a gateway has no need of.
The numbers are the wire format's and can never change. The names live in a pool of their own, so that both can be in
one process.
"""

import re
from functools import cache
from typing import Any

# name=number kind; `*` repeated, `{}` a map from strings
_MESSAGES = {
    "Dim": "size=1 int64",
    "Shape": "dim=2 Dim*, unknown_rank=3 bool",
    "Tensor": "dtype=1 int32, tensor_shape=2 Shape, tensor_content=4 bytes, float_val=5 float*, double_val=6 double*,"
    " int_val=7 int32*, string_val=8 bytes*, int64_val=10 int64*, bool_val=11 bool*, half_val=13 int32*,"
    " uint32_val=16 uint32*, uint64_val=17 uint64*",
    "ModelSpec": "name=1 string, signature_name=3 string",
    "PredictRequest": "model_spec=1 ModelSpec, inputs=2 Tensor{}",
    "PredictResponse": "outputs=1 Tensor{}",
    "BytesList": "value=1 bytes*",
    "FloatList": "value=1 float*",
    "Int64List": "value=1 int64*",
    "Feature": "bytes_list=1 BytesList, float_list=2 FloatList, int64_list=3 Int64List",
    "Features": "feature=1 Feature{}",
    "Example": "features=1 Features",
    "ExampleList": "examples=1 Example*",
    "ExampleListWithContext": "examples=1 Example*, context=2 Example",
    "Input": "example_list=1 ExampleList, example_list_with_context=2 ExampleListWithContext",
    "ClassificationRequest": "model_spec=1 ModelSpec, input=2 Input",
    "Class": "label=1 string, score=2 float",
    "Classifications": "classes=1 Class*",
    "ClassificationResult": "classifications=1 Classifications*",
    "ClassificationResponse": "result=1 ClassificationResult",
    "RegressionRequest": "model_spec=1 ModelSpec, input=2 Input",
    "Regression": "value=1 float",
    "RegressionResult": "regressions=1 Regression*",
    "RegressionResponse": "result=1 RegressionResult",
    "InferenceTask": "model_spec=1 ModelSpec, method_name=2 string",
    "MultiInferenceRequest": "tasks=1 InferenceTask*, input=2 Input",
    "InferenceResult": "model_spec=1 ModelSpec, classification_result=2 ClassificationResult,"
    " regression_result=3 RegressionResult",
    "MultiInferenceResponse": "results=1 InferenceResult*",
}
_FIELD = re.compile(r"(\w+)=(\d+) (\w+)(\*|\{\})?")
_PACKAGE = "pressline"


@cache
def messages() -> dict[str, Any]:
    """The message classes by name."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="pressline/inference.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.split(", "):
            _add(message, field.strip())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


def _add(message: Any, declared: str) -> None:
    found = _FIELD.fullmatch(declared)
    assert found is not None, declared
    name, number, kind, many = found.groups()
    field = message.field.add(name=name, number=int(number), label=3 if many else 1)  # repeated or optional
    if many == "{}":
        entry = message.nested_type.add(name="".join(part.title() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        for part in ("key=1 string", f"value=2 {kind}"):
            _add(entry, part)
        kind = f"{message.name}.{entry.name}"
    if kind[0].isupper():
        field.type, field.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    else:
        field.type = getattr(field, f"TYPE_{kind.upper()}")
