"""Both readings of a predict request: json_tensors, and json_walk behind it."""

import numpy as np
import pytest

from serving.model_server.rest.json_reading import parse
from serving.model_server.rest.json_tensors import read
from serving.status import Code
from tests.serving.model_server.rest.fakes import infos
from tests.serving.model_server.rest.refusals import ELEMENT, X, refusal

NOT_OF_TYPE = "JSON Value: {} Type: {} is not of expected type: {}"


AB = infos(a="float", b="string")


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ('{"instances": [1, 2]}', (2,)),
        ('{"instances": [[1, 2], [3, 4], [5, 6]]}', (3, 2)),
        ('{"instances": [[[1], [2]]]}', (1, 2, 1)),
        ('{"instances": [{"x": 1}, {"x": 2}]}', (2,)),
        ('{"instances": [{"x": [1, 2]}]}', (1, 2)),
        ('{"instances": [[], []]}', (2, 0)),
        ('{"instances": [[[], []]]}', (1, 2, 0)),
        ('{"inputs": 1}', ()),
        ('{"inputs": {"x": 1}}', ()),
        ('{"inputs": {"x": [1], "y": "more"}}', (1,)),
        ('{"inputs": []}', (0,)),
        ('{"inputs": [[], []]}', (2, 0)),
        ('{"inputs": [[1, 2], [3, 4]]}', (2, 2)),
        ('{"inputs": ' + "[" * 64 + "7" + "]" * 64 + "}", (1,) * 64),
    ],
)
def test_the_shape_is_that_of_the_lists(body: str, shape: tuple[int, ...]) -> None:
    tensors, form = read(parse(body.encode()), X)
    assert list(tensors) == ["x"]
    assert tensors["x"].shape == shape
    assert tensors["x"].dtype == np.float32
    assert form in body


def test_several_inputs_come_in_rows_or_in_columns() -> None:
    rows, _ = read({"instances": [{"a": 1, "b": ["x", {"b64": "/w=="}]}, {"b": ["y", "z"], "a": 2.5}]}, AB)
    columns, _ = read({"inputs": {"a": [1, 2.5], "b": [["x", {"b64": "/w=="}], ["y", "z"]]}}, AB)
    for tensors in (rows, columns):
        assert tensors["a"].tolist() == [1.0, 2.5]
        assert tensors["b"].tolist() == [[b"x", b"\xff"], [b"y", b"z"]]
        assert tensors["b"].dtype == object


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{}", "Missing 'inputs' or 'instances' key"),
        (
            '{"instances": [1], "inputs": 1}',
            'JSON Value: {\n    "instances": [\n        1\n    ],\n    "inputs": 1\n} Not formatted correctly '
            "expecting only one of 'inputs' or 'instances' keys to exist ",
        ),
        (
            '{"instances": 1}',
            "JSON Value: {\n    \"instances\": 1\n} Expecting 'instances' to be an list/array",
        ),
        ('{"instances": []}', "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
        (
            '{"instances": [[1, 2], [1, 2, 3]]}',
            ELEMENT + "1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 2 but got: 3",
        ),
        (
            '{"instances": [[1, 2], [[1, 2]]]}',
            ELEMENT + "1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [2] but got: [1,2]",
        ),
        (
            '{"instances": [1, [1]]}',
            ELEMENT + "1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [] but got: [1]",
        ),
        (
            '{"instances": [{"x": [1, 2]}, {"x": [1]}]}',
            ELEMENT + "1 key: x of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 2 but got: 1",
        ),
        (
            '{"instances": [{"y": 1}]}',
            ELEMENT
            + "0 key: y of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have named input: y",
        ),
        ('{"instances": [{}]}', ELEMENT + "0 of 'instances' list. JSON object: {} keys must be equal to: x"),
        ('{"instances": [{"x": 1}, 2]}', "Expecting object but got list at item 1 of input list"),
        ('{"instances": [{"x": 1}, {"b64": "AA=="}]}', "Expecting object but got list at item 1 of input list"),
        ('{"instances": [1, {"x": 2}]}', "Expecting value/list but got object at item 1 of input list"),
        (
            '{"instances": [1, "a"]}',
            ELEMENT + "1 of 'instances' list. Error: INVALID_ARGUMENT: " + NOT_OF_TYPE.format('"a"', "String", "float"),
        ),
        (
            '{"instances": [{"x": [1, null]}]}',
            ELEMENT
            + "0 key: x of 'instances' list. Error: INVALID_ARGUMENT: "
            + NOT_OF_TYPE.format("null", "Null", "float"),
        ),
        (
            '{"instances": [[[1], 2]]}',
            ELEMENT
            + "0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: 2 found at incorrect level: 2 in the JSON "
            "DOM. Expected at level: 2",
        ),
        ('{"inputs": {"y": 1}}', "Missing named input: x in 'inputs' object."),
        ('{"inputs": [[1, 2], [1]]}', "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ('{"inputs": [[], [1]]}', "Encountered list at unexpected size: 1 at level: 1 expected size: 0"),
        ('{"inputs": [1, [2]]}', "Encountered list at unexpected level: 1 expected < 1"),
        (
            '{"inputs": [[1], 2]}',
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        ('{"inputs": "a"}', NOT_OF_TYPE.format('"a"', "String", "float")),
        ('{"inputs": null}', NOT_OF_TYPE.format("null", "Null", "float")),
        ('{"inputs": [true]}', NOT_OF_TYPE.format("true", "True", "float")),
        ('{"inputs": [false]}', NOT_OF_TYPE.format("false", "False", "float")),
        ('{"inputs": [{}]}', NOT_OF_TYPE.format("{}", "Object", "float")),
        ('{"inputs": {"b64": "AA=="}}', NOT_OF_TYPE.format('{\n    "b64": "AA=="\n}', "Object", "float")),
        (
            '{"inputs": ' + "[" * 65 + "]" * 65 + "}",
            "Tensors of more than 64 dimensions are not supported, got: 65",
        ),
        (
            '{"instances": ' + "[" * 65 + "1" + "]" * 65 + "}",
            "Tensors of more than 64 dimensions are not supported, got: 65",
        ),
    ],
)
def test_values_that_do_not_fit_are_refused(body: str, message: str) -> None:
    error = refusal(body, X)
    assert (error.code, error.message) == (Code.INVALID_ARGUMENT, message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            '{"instances": [1]}',
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        (
            '{"inputs": [1]}',
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        (
            '{"inputs": {"b64": "AA=="}}',
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        ('{"inputs": {"a": 1}}', "Missing named input: b in 'inputs' object."),
        (
            '{"instances": [{"a": 1, "b": "x"}, {"a": 1}]}',
            ELEMENT + "1 of 'instances' list. JSON object: {\n    \"a\": 1\n} keys must be equal to: a,b",
        ),
        (
            '{"instances": [{"a": 1, "b": "x", "c": 1}]}',
            ELEMENT
            + "0 key: c of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have named input: c",
        ),
        (
            '{"instances": [{"b": {"b64": "?"}, "a": 1}]}',
            ELEMENT + "0 key: b of 'instances' list. Error: INVALID_ARGUMENT: Unable to base64 decode",
        ),
    ],
)
def test_several_inputs_have_to_be_named_and_complete(body: str, message: str) -> None:
    assert refusal(body, AB).message == message


def test_a_base64_object_among_several_inputs_is_a_value_for_the_first() -> None:
    # What follows is for predict.plan to say: one input of two.
    assert list(read({"instances": [{"b64": "AA=="}]}, infos(a="string", b="string"))[0]) == ["a"]


def test_an_input_may_be_called_b64() -> None:
    tensors, _ = read({"instances": [{"b64": [1]}, {"b64": [2]}]}, infos(b64="float"))
    assert tensors["b64"].tolist() == [[1.0], [2.0]]
