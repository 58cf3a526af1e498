"""The ModelSpec of gRPC messages, found and set without reading the rest of them.

protobuf merges the occurrences of a singular message, so that a few bytes behind a request set its version label,
whatever else is in it. It also splits messages: for the ones declared here all fields but one are unknown, and stay
the bytes that they are. That takes 1 us (4 us where 100 kB are skipped) and needs no TensorFlow; PredictRequest would.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import model_pb2

CACHED_BYTES = 512  # a longer ModelSpec is not remembered: clients choose what is in it
_BYTES, _MESSAGE, _INT32, _INT64, _UINT32, _UINT64 = 12, 11, 5, 3, 13, 4  # FieldDescriptorProto.Type
_DT_STRING = 7  # tensorflow.DataType, as below
_INTEGERS: Mapping[int, tuple[str, int, bool]] = MappingProxyType(
    {  # -> (the field of its values, bytes of each in tensor_content, signed)
        3: ("int_val", 4, True),
        4: ("int_val", 1, False),
        5: ("int_val", 2, True),
        6: ("int_val", 1, True),
        9: ("int64_val", 8, True),
        17: ("int_val", 2, False),
        22: ("uint32_val", 4, False),
        23: ("uint64_val", 8, False),
    }
)


def _declare() -> Callable[[str], Any]:
    """What gives the class of a message that is declared here, by its name."""
    file = descriptor_pb2.FileDescriptorProto(name="pressline/wire.proto", package="pressline.wire", syntax="proto2")

    def add(name: str, *fields: tuple[str, int, int, bool], of: str = "") -> None:
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            type_name = f".pressline.wire.{of}" if kind == _MESSAGE else None
            message.field.add(name=field, number=number, type=kind, label=3 if repeated else 1, type_name=type_name)

    add("First", ("content", 1, _BYTES, True))
    add("Second", ("content", 2, _BYTES, True))
    add("Tasks", ("tasks", 1, _MESSAGE, True), of="First")
    values = (
        ("int_val", 7, _INT32),
        ("int64_val", 10, _INT64),
        ("uint32_val", 16, _UINT32),
        ("uint64_val", 17, _UINT64),
    )
    add(
        "Tensor",
        ("dtype", 1, _INT32, False),
        ("tensor_content", 4, _BYTES, False),
        ("string_val", 8, _BYTES, True),
        *((name, number, kind, True) for name, number, kind in values),
    )
    add("Entry", ("key", 1, _BYTES, False), ("value", 2, _MESSAGE, False), of="Tensor")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"pressline.wire.{name}"))


_message = _declare()
_First, _Second, _Tasks, _Entry = (_message(name) for name in ("First", "Second", "Tasks", "Entry"))


class Spec(NamedTuple):
    """What a request says of the model it wants.

    Attributes:
        model: its name; empty where there is none.
        asks: whether it names a version or a label itself.
        signature: empty for the default one.
        version: of a response: that answered; None where it is not said.
    """

    model: str
    asks: bool
    signature: str
    version: int | None


class Api(NamedTuple):
    """One RPC. Requests and responses have their ModelSpec in different fields.

    Attributes:
        name: as in Exchange.api.
        requests, responses: a message's bytes -> those of its ModelSpec, in as many pieces as it has.
    """

    name: str
    requests: Callable[[bytes], Sequence[bytes]]
    responses: Callable[[bytes], Sequence[bytes]]


def _first(content: bytes) -> Sequence[bytes]:
    found: Sequence[bytes] = _First.FromString(content).content
    return found


def _second(content: bytes) -> Sequence[bytes]:
    found: Sequence[bytes] = _Second.FromString(content).content
    return found


def _first_task(content: bytes) -> Sequence[bytes]:
    """Of the first task or result: it alone decides which version is asked, or tells which one answered."""
    tasks = _Tasks.FromString(content).tasks
    return tasks[0].content if tasks else ()


PREDICT = Api("predict", _first, _second)
CLASSIFY = Api("classify", _first, _second)
REGRESS = Api("regress", _first, _second)
MULTI_INFERENCE = Api("multi_inference", _first_task, _first_task)
METADATA = Api("metadata", _first, _first)
STATUS = Api("status", _first, lambda response: ())  # of many versions


def find(request: bytes, api: Api) -> Spec | None:
    """The ModelSpec of a request; an empty one where there is none.

    None for bytes that are no such message. What is inside of other fields is not looked at.
    """
    try:
        return _spec(api.requests(request))
    except DecodeError:
        return None


def directed(request: bytes, api: Api, label: str | None, version: int | None) -> bytes:
    """The request with this label, or else this version.

    Args:
        request: one for which `find` gives a model, and neither version nor label.
        label, version: one of them, or None twice: then the request stays as it is.
    """
    if label is None and version is None:
        return request
    addition = _addition(label, version)
    if api is not MULTI_INFERENCE:
        return request + _framed(addition)
    tasks = _Tasks.FromString(request)
    tasks.tasks[0].content.append(addition)
    content: bytes = tasks.SerializeToString()
    return content


def answered_version(response: bytes, api: Api) -> int | None:
    """The version that a response says it is from; None where it says none or is no such message."""
    try:
        return _spec(api.responses(response)).version
    except DecodeError:
        return None


def user_key(request: bytes, field: str) -> bytes | None:
    """The first element of a PredictRequest's input: a string's bytes, an integer in decimal digits.

    None where there is no such input, it is empty, has another type, or the request is no message. An input is
    recognized in the order that every protobuf library writes, the name before the tensor.
    """
    start = _key_start(field)
    try:
        for entry in reversed(_Second.FromString(request).content):  # of two with one name the last counts
            if entry.startswith(start):
                return _first_element(_Entry.FromString(entry).value)
    except DecodeError:
        pass
    return None


def _first_element(tensor: Any) -> bytes | None:
    if tensor.dtype == _DT_STRING:
        return tensor.string_val[0] if tensor.string_val else None
    if tensor.dtype not in _INTEGERS:
        return None
    name, size, signed = _INTEGERS[tensor.dtype]
    content = tensor.tensor_content
    if len(content) >= size:
        return b"%d" % int.from_bytes(content[:size], "little", signed=signed)
    values = getattr(tensor, name)
    return b"%d" % values[0] if values else None


def _spec(pieces: Sequence[bytes]) -> Spec:
    content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return _remembered(content) if len(content) <= CACHED_BYTES else _read(content)


def _read(content: bytes) -> Spec:
    spec = model_pb2.ModelSpec.FromString(content)
    choice = spec.WhichOneof("version_choice")
    version = spec.version.value if choice == "version" else None
    return Spec(spec.name, choice is not None, spec.signature_name, version)


_remembered = lru_cache(4096)(_read)


@lru_cache(256)
def _addition(label: str | None, version: int | None) -> bytes:
    """A ModelSpec of nothing but the label or the version."""
    spec = model_pb2.ModelSpec()
    if label is not None:
        spec.version_label = label
    else:
        spec.version.value = version
    content: bytes = spec.SerializeToString()
    return content


@lru_cache(256)
def _framed(spec: bytes) -> bytes:
    """The ModelSpec as the first field of a message."""
    content: bytes = _First(content=[spec]).SerializeToString()
    return content


@lru_cache(256)
def _key_start(field: str) -> bytes:
    """How an entry of PredictRequest.inputs begins."""
    content: bytes = _Entry(key=field.encode()).SerializeToString()
    return content
