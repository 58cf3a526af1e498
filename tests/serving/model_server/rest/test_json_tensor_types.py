"""Which JSON values each dtype takes, and that both readings agree."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model_server.rest import json_walk
from serving.model_server.rest.json_tensors import read
from serving.model_server.rest.json_values import KINDS
from serving.model_server.signature import Array, TensorInfo
from serving.status import Code, StatusError
from tests.serving.model_server.rest.fakes import DTYPES, infos
from tests.serving.model_server.rest.refusals import ELEMENT, X, refusal

INT32 = (-(2**31), 2**31 - 1)


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        ("float", [1, -0.5, 16777217, 2**64 - 1], ["1", True, None, {}]),
        ("double", [1, -0.5, 2**53 + 1, 1e300], ["1", False, None, {}]),
        ("int32", [*INT32, 0], [1.0, INT32[0] - 1, INT32[1] + 1, "1", True, None, {}]),
        ("int16", [-(2**15), 2**15 - 1], [1.0, INT32[1] + 1]),
        ("int8", [-128, 127], [1.5, INT32[0] - 1]),
        ("uint8", [0, 255], [1.0, INT32[1] + 1]),
        ("uint32", [0, 2**32 - 1], [-1, 2**32, 1.0, True]),
        ("int64", [-(2**63), 2**63 - 1], [2**63, 1.0, True, "1"]),
        ("uint64", [0, 2**64 - 1], [-1, 1e20, 1.0]),
        ("bool", [True, False], [0, 1, "true", None, 1.0]),
        ("string", ["a", "", "ü\n\0x", "\U0001f600"], [1, None, True, 1.5]),
    ],
)
def test_the_dtype_decides_which_values_are_taken(dtype: str, good: list[Any], bad: list[Any]) -> None:
    inputs = infos(x=dtype)
    for value in good:
        tensor = read({"inputs": [value, value]}, inputs)[0]["x"]
        wanted = value.encode() if isinstance(value, str) else np.array(value).astype(tensor.dtype)
        assert tensor.tolist() == [wanted, wanted]
    for value in bad:
        with pytest.raises(StatusError, match=f"is not of expected type: {dtype}"):
            read({"inputs": [good[0], value]}, inputs)


def test_integers_narrower_than_32_bits_wrap_around() -> None:
    assert read({"inputs": [300, -1, 2**31 - 1]}, infos(x="uint8"))[0]["x"].tolist() == [44, 255, 255]
    assert read({"inputs": [200, 2**15]}, infos(x="int8"))[0]["x"].tolist() == [-56, 0]
    assert read({"inputs": [2**15]}, infos(x="int16"))[0]["x"].tolist() == [-(2**15)]


def test_decimals_out_of_a_floats_range_become_infinite_or_zero() -> None:
    tensor = read({"inputs": [1e300, -1e300, 1e-300, 3.5e38]}, X)[0]["x"]
    assert tensor.tolist() == [float("inf"), float("-inf"), 0.0, float("inf")]


@pytest.mark.parametrize("dtype", ["half", "bfloat16", "complex64", "complex128", "qint8", "uint16", "resource"])
def test_dtypes_without_a_form_in_json_are_unimplemented(dtype: str) -> None:
    error = refusal('{"inputs": [1.5]}', infos(x=dtype))
    assert (error.code, error.message) == (
        Code.UNIMPLEMENTED,
        f"Conversion of JSON Value: 1.5 to type: {dtype}",
    )
    wrapped = refusal('{"instances": [1.5]}', infos(x=dtype))
    assert (wrapped.code, wrapped.message) == (
        Code.INVALID_ARGUMENT,
        f"{ELEMENT}0 of 'instances' list. Error: UNIMPLEMENTED: {error.message}",
    )
    assert refusal('{"inputs": []}', infos(x=dtype)).code is Code.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("text", "content"),
    [("", b""), ("YQ==", b"a"), ("YQ", b"a"), ("YWI", b"ab"), (" Y W\nI= ", b"ab"), ("/+8=", b"\xff\xef")],
)
def test_base64_may_lack_its_padding_and_hold_white_space(text: str, content: bytes) -> None:
    assert read({"inputs": {"b64": text}}, infos(x="string"))[0]["x"].item() == content


@pytest.mark.parametrize("text", ["%", "Y", "YQ=", "YQ===", "Y=Q=", "YQ==YQ==", "_-8=", "=", "ü"])
def test_what_is_no_base64_is_refused(text: str) -> None:
    assert refusal(json.dumps({"inputs": {"b64": text}}), infos(x="string")).message == "Unable to base64 decode"


@pytest.mark.parametrize("value", [{"b64": 5}, {"b64": "YQ==", "x": 1}, {}, {"b65": "YQ=="}])
def test_other_objects_are_no_strings(value: Any) -> None:
    error = refusal(json.dumps({"inputs": [value]}), infos(x="string"))
    assert error.message.endswith(" not formatted correctly for base64 data")


LEAVES = (
    st.integers(-(2**63), 2**64 - 1)
    | st.integers(-3, 300)
    | st.floats()
    | st.text(max_size=3)
    | st.booleans()
    | st.none()
    | st.sampled_from([{"b64": "YQ=="}, {"b64": "?"}, {"b64": 1}, {}, {"a": 1}, {"a": [1], "b": "x"}])
)


VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3), max_leaves=6)


INPUTS = st.dictionaries(st.sampled_from("ab"), st.sampled_from(sorted(DTYPES.values())), min_size=1).map(
    lambda dtypes: {alias: TensorInfo(f"{alias}:0", dtypes[alias]) for alias in sorted(dtypes)}
)


def outcome(work: Any) -> Any:
    """What came of a reading, comparable."""
    try:
        tensors: dict[str, Array] = work()
    except StatusError as error:
        return error.code, error.message
    return {alias: (tensor.dtype, tensor.shape, str(tensor.tolist())) for alias, tensor in tensors.items()}


@given(st.lists(VALUES, min_size=1, max_size=4), INPUTS)
def test_rows_read_fast_are_those_read_slowly(instances: list[Any], inputs: dict[str, TensorInfo]) -> None:
    fast = outcome(lambda: read({"instances": instances}, inputs)[0])
    assert fast == outcome(lambda: json_walk.rows(instances, inputs))


@given(VALUES | st.dictionaries(st.sampled_from("abc"), VALUES), INPUTS)
def test_columns_read_fast_are_those_read_slowly(value: Any, inputs: dict[str, TensorInfo]) -> None:
    fast = outcome(lambda: read({"inputs": value}, inputs)[0])
    assert fast == outcome(lambda: json_walk.columns(value, inputs))


@given(st.lists(st.binary(max_size=5), min_size=1), st.sampled_from(sorted(KINDS)))
def test_base64_is_for_strings_alone(contents: list[bytes], dtype: int) -> None:
    values = [{"b64": base64.b64encode(content).decode()} for content in contents]
    inputs = {"x": TensorInfo("x:0", dtype)}
    if dtype == DTYPES["string"]:
        assert read({"instances": values}, inputs)[0]["x"].tolist() == contents
    else:
        with pytest.raises(StatusError, match="is not of expected type"):
            read({"instances": values}, inputs)
