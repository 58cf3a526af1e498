import base64
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.model_server.rest import json_writing
from serving.model_server.rest.json_reading import parse
from serving.model_server.rest.json_tensors import read
from serving.model_server.rest.json_values import KINDS
from serving.model_server.signature import Array, TensorInfo
from serving.status import StatusError


def floats(*values: Any) -> Array:
    """A float32 array."""
    return np.array(values, np.float32)


def strings(values: Any) -> Array:
    """A string tensor."""
    return np.array(values, object)


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ({"y": floats(3.5, 4, 5.5)}, '{\n    "predictions": [3.5, 4.0, 5.5\n    ]\n}'),
        ({"y": floats([1, 2], [3, 4])}, '{\n    "predictions": [[1.0, 2.0], [3.0, 4.0]\n    ]\n}'),
        ({"y": floats([[1], [2]])}, '{\n    "predictions": [[[1.0], [2.0]]\n    ]\n}'),
        ({"y": np.array([[], []])}, '{\n    "predictions": [[], []\n    ]\n}'),
        ({"y": np.empty((0, 3))}, '{\n    "predictions": []\n}'),
        ({"y": np.array([True, False])}, '{\n    "predictions": [true, false\n    ]\n}'),
        ({"y": strings([b'a"\n', b"%s"])}, '{\n    "predictions": ["a\\"\\n", "%s"\n    ]\n}'),
        (
            {"y_bytes": strings([[b"a"]])},
            '{\n    "predictions": [[{\n                "b64": "YQ=="\n            }]\n    ]\n}',
        ),
        (
            {"a": floats(1, 2), "%b": np.array([[1, 2], [3, 4]])},
            '{\n    "predictions": [\n        {\n            "a": 1.0,\n            "%b": [1, 2]\n        },\n'
            '        {\n            "a": 2.0,\n            "%b": [3, 4]\n        }\n    ]\n}',
        ),
        (
            {"a": floats(1), "b_bytes": strings([[b"a"]])},
            '{\n    "predictions": [\n        {\n            "a": 1.0,\n            "b_bytes": [{\n'
            '                    "b64": "YQ=="\n                }]\n        }\n    ]\n}',
        ),
        ({"a": np.empty((0, 1)), "b": np.empty((0,), np.int32)}, '{\n    "predictions": []\n}'),
    ],
)
def test_rows_are_printed_each_on_one_line(outputs: dict[str, Array], text: str) -> None:
    assert json_writing.predictions(list(outputs), list(outputs.values())) == text.encode()


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ({"y": np.float32(2.5)}, '{\n    "outputs": 2.5\n}'),
        ({"y": floats(1, 2)}, '{\n    "outputs": [\n        1.0,\n        2.0\n    ]\n}'),
        (
            {"y": floats([1], [2])},
            '{\n    "outputs": [\n        [\n            1.0\n        ],\n'
            "        [\n            2.0\n        ]\n    ]\n}",
        ),
        ({"y": np.empty((0, 3))}, '{\n    "outputs": []\n}'),
        ({"y": np.empty((1, 0))}, '{\n    "outputs": [\n        []\n    ]\n}'),
        ({"y": strings(b"a")}, '{\n    "outputs": "a"\n}'),
        ({"y_bytes": strings(b"a")}, '{\n    "outputs": {\n        "b64": "YQ=="\n    }\n}'),
        (
            {"%a": floats(1), "b_bytes": strings([b"a"])},
            '{\n    "outputs": {\n        "%a": [\n            1.0\n        ],\n        "b_bytes": [\n            {\n'
            '                "b64": "YQ=="\n            }\n        ]\n    }\n}',
        ),
    ],
)
def test_columns_are_printed_an_element_a_line(outputs: dict[str, Array], text: str) -> None:
    assert json_writing.outputs(list(outputs), list(outputs.values())) == text.encode()


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"y": np.float32(1)}, "Tensor name: y has no shape information "),
        (
            {"a": floats(1, 2), "b": floats(1)},
            "Tensor name: b has inconsistent batch size: 1 expecting: 2",
        ),
        ({"a": np.empty((0, 2)), "b": floats(1)}, "Tensor name: b has inconsistent batch size: 1 expecting: 0"),
        ({"y": np.zeros(1, np.float16)}, "Failed to write JSON value for tensor type: half"),
        ({"y": np.zeros(1, np.complex64)}, "Failed to write JSON value for tensor type: complex64"),
        ({"y": np.zeros(1, np.uint16)}, "Failed to write JSON value for tensor type: uint16"),
    ],
)
def test_outputs_that_make_no_rows_are_refused(outputs: dict[str, Array], message: str) -> None:
    with pytest.raises(StatusError) as caught:
        json_writing.predictions(list(outputs), list(outputs.values()))
    assert caught.value.message == message


def test_strings_that_are_not_utf8_go_out_as_they_are() -> None:
    body = json_writing.predictions(["y"], [strings([b"\xff\xfe", "é".encode(), b"\x01\x7f/"])])
    assert body == b'{\n    "predictions": ["\xff\xfe", "\xc3\xa9", "\\u0001\x7f/"\n    ]\n}'
    assert json_writing.outputs(["ü", "é"], [floats(1), floats(2)]).decode().count("ü") == 1


def test_integers_keep_all_their_digits() -> None:
    array = np.array([2**63 - 1, -(2**63), 2**53 + 1])
    assert json.loads(json_writing.predictions(["y"], [array]))["predictions"] == array.tolist()


def test_classes_and_values_are_results() -> None:
    results = [[("car", 0.2), ("bike", 1.0)], [("", float("nan"))], []]
    text = '{\n    "results": [[["car", 0.2], ["bike", 1.0]], [["", NaN]], []\n    ]\n}'
    assert json_writing.classifications(results) == text.encode()
    assert json_writing.regressions([0.5, float("inf")]) == b'{\n    "results": [0.5, Infinity]\n}'


def test_no_results_are_refused() -> None:
    with pytest.raises(StatusError, match="Cannot convert empty ClassificationResults to JSON"):
        json_writing.classifications([])
    with pytest.raises(StatusError, match="Cannot convert empty RegressionResults to JSON"):
        json_writing.regressions([])


@pytest.mark.parametrize("message", ["", 'Bad key: "key"', "line\n%s é \ud800"])
def test_an_error_is_an_object_with_its_message(message: str) -> None:
    assert json.loads(json_writing.error(message)) == {"error": message.replace("\ud800", "?")}


def test_a_large_tensor_is_written_like_a_small_one() -> None:
    array = np.arange(3000, dtype=np.float32).reshape(3, 10, 100)
    for write, key in ((json_writing.predictions, "predictions"), (json_writing.outputs, "outputs")):
        assert json.loads(write(["y"], [array]))[key] == array.tolist()


def arrays(least_rank: int) -> st.SearchStrategy[tuple[int, Array]]:
    """(DataType, array) of every dtype that has a form in JSON."""

    def of(dtype: int) -> st.SearchStrategy[tuple[int, Array]]:
        shape = hnp.array_shapes(min_dims=least_rank, max_dims=4, min_side=0, max_side=4)
        memory: npt.DTypeLike = KINDS[dtype].dtype
        elements = st.binary(max_size=6) if memory == np.object_ else None
        return st.tuples(st.just(dtype), hnp.arrays(memory, shape, elements=elements))

    return st.sampled_from(sorted(KINDS)).flatmap(of)


def same(read_again: Array, written: Array, *others: Array) -> bool:
    """Whether two arrays have the same dtype, shape and values, NaNs being equal and zeros of two signs not.

    Dimensions behind an empty one leave no trace in JSON. Where the body holds NaN or Infinity, from `others` too,
    RapidJSON reads it, whose doubles are up to three units in the last place off (a float's rounding hides that).
    """
    if read_again.dtype != written.dtype or read_again.size != written.size:
        return False
    if not written.size:
        return read_again.shape == written.shape[: read_again.ndim]
    if written.dtype.kind != "f":
        return np.array_equal(read_again, written)
    strict = all(np.isfinite(one).all() for one in (written, *others) if one.dtype.kind == "f")
    off = 0.0 if strict or written.dtype == np.float32 else 3 * float(np.finfo(np.float64).eps)
    numbers = ~np.isnan(written)
    signs = np.array_equal(np.signbit(read_again)[numbers], np.signbit(written)[numbers])
    return signs and np.allclose(read_again, written, rtol=off, atol=0, equal_nan=True)


@given(arrays(1))
def test_a_tensor_comes_back_from_its_rows(tensor: tuple[int, Array]) -> None:
    dtype, array = tensor
    body = json_writing.predictions(["y_bytes"], [array]).replace(b'"predictions"', b'"instances"', 1)
    if len(array):
        assert same(read(parse(body), {"y_bytes": TensorInfo("y:0", dtype)})[0]["y_bytes"], array)


@given(arrays(0), arrays(0))
def test_tensors_come_back_from_their_columns(first: tuple[int, Array], second: tuple[int, Array]) -> None:
    body = json_writing.outputs(["a_bytes", "b_bytes"], [first[1], second[1]]).replace(b'"outputs"', b'"inputs"', 1)
    inputs = {"a_bytes": TensorInfo("a:0", first[0]), "b_bytes": TensorInfo("b:0", second[0])}
    tensors, _ = read(parse(body), inputs)
    assert same(tensors["a_bytes"], first[1], second[1])
    assert same(tensors["b_bytes"], second[1], first[1])


@given(arrays(1).filter(lambda tensor: len(tensor[1]) > 0), st.text())
def test_rows_of_several_tensors_come_back(tensor: tuple[int, Array], text: str) -> None:
    dtype, array = tensor
    texts = strings([text.encode("utf-8", "replace")] * len(array))
    body = json_writing.predictions(["a_bytes", "b"], [array, texts]).replace(b'"predictions"', b'"instances"', 1)
    tensors, _ = read(parse(body), {"a_bytes": TensorInfo("a:0", dtype), "b": TensorInfo("b:0", 7)})
    assert same(tensors["a_bytes"], array)
    assert tensors["b"].tolist() == texts.tolist()


@given(st.lists(st.binary(max_size=10), min_size=1))
def test_base64_is_the_standard_one(contents: list[bytes]) -> None:
    rows = json.loads(json_writing.predictions(["_bytes"], [strings(contents)]))["predictions"]
    assert [base64.b64decode(row["b64"], validate=True) for row in rows] == contents
