"""How JSON becomes tensors: parsing, row and columnar form, types (contract 2.4 and 2.5)."""

import base64
import json

import pytest

from tests.serving.model_server.conformance.clients import Rest, Text, fits, holding

ELEMENT = "Failed to process element: "
Expected = dict[str, object] | Text  # a body, or the text of an error


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param("", "JSON Parse error: The document is empty", id="empty"),
        pytest.param("{", holding("JSON Parse error: ", " at offset: 1"), id="open"),
        pytest.param('{"instances" [1]}', holding("JSON Parse error: ", " at offset: 13"), id="no colon"),
        pytest.param('{"instances": [1,]}', holding("JSON Parse error: ", " at offset: "), id="comma too many"),
        pytest.param("{'instances': [1]}", holding("JSON Parse error: ", " at offset: 1"), id="wrong quotes"),
        pytest.param('{"instances": [01]}', holding("JSON Parse error: ", " at offset: "), id="leading zero"),
        pytest.param('{"instances": [.5]}', holding("JSON Parse error: ", " at offset: "), id="no digit before point"),
        pytest.param("[1, 2]", holding("JSON Value: [", "] Is not object"), id="a list"),
        pytest.param("7", "JSON Value: 7 Is not object", id="a number"),
        pytest.param('"text"', 'JSON Value: "text" Is not object', id="a string"),
        pytest.param("null", "JSON Value: null Is not object", id="null"),
        pytest.param("{}", "Missing 'inputs' or 'instances' key", id="nothing in it"),
        pytest.param('{"foo": [1]}', "Missing 'inputs' or 'instances' key", id="another key"),
        pytest.param(
            '{"signature_name": 5, "instances": [1]}',
            holding("not formatted correctly. 'signature_name' key must be a string value."),
            id="signature is a number",
        ),
        pytest.param(
            '{"signature_name": "nil", "instances": [1]}',
            'Serving signature name: "nil" not found in signature def',
            id="unknown signature",
        ),
        pytest.param(
            '{"instances": [1], "inputs": [1]}',
            holding("JSON Value: {", "Not formatted correctly expecting only one of 'inputs' or 'instances' keys"),
            id="both forms",
        ),
        pytest.param('{"instances": 1}', holding("JSON Value: {", "'instances' to be an list/array"), id="no list"),
        pytest.param('{"instances": []}', holding("JSON Value: {", "No values in 'instances' array"), id="empty list"),
    ],
)
def test_a_body_that_is_no_request_is_refused(rest: Rest, body: str, message: Text) -> None:
    came = rest.predict("half_plus_two", body)
    assert came.status == 400
    assert fits(came.error, message), came.error


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        pytest.param("nobody", '{"instances": [1', 400, id="JSON before the model"),
        pytest.param("nobody", '{"signature_name": 5, "inputs": 1}', 400, id="type of signature_name before the model"),
        pytest.param("nobody", '{"signature_name": "nil"}', 404, id="model before the signature"),
        pytest.param("half_plus_two/versions/4", '{"instances": []}', 404, id="version before the inputs"),
    ],
)
def test_checks_are_made_in_upstreams_order(rest: Rest, path: str, body: str, status: int) -> None:
    assert rest.predict(path, body).status == status


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('{"instances": [2.0]} and more', id="trailing text"),
        pytest.param('{"instances": [2.0]}{"instances": [9.0]}', id="a second value"),
        pytest.param(' \n\t\r{"instances" : [ 2.0 ] }\n', id="white space"),
        pytest.param('{"instances": [2.0], "parameters": {"a": [null]}}', id="unknown key"),
        pytest.param('{"signature_name": "serving_default", "instances": [2]}', id="signature"),
        pytest.param('{"signature_name": "", "instances": [2]}', id="empty signature is the default"),
        pytest.param('{"\\u0069nstances": [2e0]}', id="escaped key"),
        pytest.param('\ufeff{"instances": [2.0]}', id="byte order mark"),
    ],
)
def test_a_body_may_have_more_than_it_needs(rest: Rest, body: str) -> None:
    came = rest.predict("half_plus_two", body)
    assert (came.status, came.json) == (200, {"predictions": [3.0]})


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        pytest.param('{"instances": [[1, 2], [3, 4]]}', {"predictions": [[1.0, 2.0], [3.0, 4.0]]}, id="rows"),
        pytest.param('{"instances": [{"x": 1}, {"x": 2}]}', {"predictions": [1.0, 2.0]}, id="objects"),
        pytest.param('{"instances": [[[1]], [[2]]]}', {"predictions": [[[1.0]], [[2.0]]]}, id="nested rows"),
        pytest.param('{"instances": [[], []]}', {"predictions": [[], []]}, id="empty rows"),
        pytest.param('{"inputs": [[1, 2], [3, 4]]}', {"outputs": [[1.0, 2.0], [3.0, 4.0]]}, id="columnar"),
        pytest.param('{"inputs": {"x": [1, 2]}}', {"outputs": [1.0, 2.0]}, id="columnar, named"),
        pytest.param('{"inputs": 5}', {"outputs": 5.0}, id="columnar scalar"),
        pytest.param('{"inputs": {"x": 5}}', {"outputs": 5.0}, id="columnar named scalar"),
        pytest.param('{"inputs": []}', {"outputs": []}, id="columnar, empty"),
        pytest.param('{"inputs": [[], []]}', {"outputs": [[], []]}, id="columnar, empty rows"),
        pytest.param('{"inputs": {"x": [1], "more": "text"}}', {"outputs": [1.0]}, id="columnar, extra key"),
    ],
)
def test_values_come_back_as_they_were_nested(rest: Rest, body: str, answer: object) -> None:
    request = '{"signature_name": "float", ' + body[1:]
    came = rest.predict("identity", request)
    assert (came.status, came.json) == (200, answer)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(
            '{"instances": [[1, 2], [1, 2, 3]]}',
            f"{ELEMENT}1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 2 but got: 3",
            id="size",
        ),
        pytest.param(
            '{"instances": [[1, 2], [[1, 2]]]}',
            f"{ELEMENT}1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [2] but got: [1,2]",
            id="shape",
        ),
        pytest.param(
            '{"instances": [{"x": [1, 2]}, {"x": [1]}]}',
            f"{ELEMENT}1 key: x of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 2 but got: 1",
            id="size, named",
        ),
        pytest.param('{"instances": [{"y": 1}]}', holding("JSON object: does not have named input: y"), id="name"),
        pytest.param('{"instances": [{}]}', holding("keys", "x"), id="no name"),
        pytest.param(
            '{"instances": [{"x": 1}, 2]}', "Expecting object but got list at item 1 of input list", id="object, plain"
        ),
        pytest.param(
            '{"instances": [1, {"x": 2}]}',
            "Expecting value/list but got object at item 1 of input list",
            id="plain, object",
        ),
        pytest.param('{"inputs": {"y": 1}}', "Missing named input: x in 'inputs' object.", id="columnar name"),
        pytest.param(
            '{"inputs": [[1, 2], [1]]}',
            "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
            id="ragged",
        ),
        pytest.param('{"inputs": [1, [2]]}', holding("Encountered list at unexpected level: "), id="deeper"),
        pytest.param('{"inputs": [[1], 2]}', holding("JSON Value: 2 found at incorrect level: "), id="shallower"),
        pytest.param('{"inputs": "a"}', 'JSON Value: "a" Type: String is not of expected type: float', id="text"),
        pytest.param('{"inputs": null}', "JSON Value: null Type: Null is not of expected type: float", id="null"),
        pytest.param('{"inputs": [true]}', "JSON Value: true Type: True is not of expected type: float", id="true"),
        pytest.param('{"inputs": {"x": {"b64": "AA=="}}}', holding("is not of expected type: float"), id="base64"),
    ],
)
def test_values_that_do_not_fit_are_refused(rest: Rest, body: str, message: Text) -> None:
    came = rest.predict("identity", '{"signature_name": "float", ' + body[1:])
    assert came.status == 400
    assert fits(came.error, message), came.error


@pytest.mark.parametrize(
    ("body", "status", "answer"),
    [
        ('{"instances": [{"a": 1, "b": 2, "c": 3}, {"c": 4, "b": 5, "a": 6}]}', 200, {"predictions": [321.0, 456.0]}),
        ('{"inputs": {"a": [1], "b": [2], "c": [3]}}', 200, {"outputs": [321.0]}),
        ('{"inputs": {"a": 1, "b": 2, "c": 3}}', 200, {"outputs": 321.0}),
        ('{"instances": [{"a": 1, "b": 2}]}', 400, holding(ELEMENT + "0 of 'instances' list.", "keys", ": a,b,c")),
        ('{"instances": [{"a": 1, "b": 2, "c": 3, "d": 4}]}', 400, holding("does not have named input: d")),
        ('{"instances": [{"a": 1, "b": 2, "c": 3}, {"a": 1}]}', 400, holding(ELEMENT + "1 of 'instances' list.")),
        ('{"instances": [1]}', 400, holding("instances is a plain list, but expecting list of objects")),
        ('{"inputs": {"a": [1]}}', 400, "Missing named input: b in 'inputs' object."),
        ('{"inputs": [1]}', 400, holding("inputs is a plain value/list, but expecting an object")),
    ],
)
def test_several_inputs_are_all_named_defaults_or_not(rest: Rest, body: str, status: int, answer: Expected) -> None:
    came = rest.predict("defaults", body)
    assert came.status == status
    assert came.json == answer if isinstance(answer, dict) else fits(came.error, answer), came.body


INT32 = (-(2**31), 2**31 - 1)


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        ("float", ["1", "-0.5", "1e300", "16777217", "9007199254740993"], ['"1"', "true", "null", "{}"]),
        ("double", ["1", "-0.5", "1e300", "18446744073709551615"], ['"1"', "false", "null", "{}"]),
        ("int32", [str(INT32[0]), str(INT32[1]), "0"], ["1.0", "1e0", str(INT32[1] + 1), '"1"', "true", "null"]),
        ("int16", ["-32768", "32767"], ["1.0", str(INT32[1] + 1)]),
        ("int8", ["-128", "127"], ["1.5", str(INT32[0] - 1)]),
        ("uint8", ["0", "255"], ["1.0", str(INT32[1] + 1)]),
        ("uint32", ["0", str(2**32 - 1)], ["-1", str(2**32), "1.0"]),
        ("int64", [str(-(2**63)), str(2**63 - 1)], [str(2**63), "1.0", "true", '"1"']),
        ("uint64", ["0", str(2**64 - 1)], ["-1", str(2**64), "1.0"]),
        ("bool", ["true", "false"], ["0", "1", '"true"', "null"]),
        ("string", ['"a"', '""', '"\\u00fc\\n\\u0000x"', '"\\ud83d\\ude00"'], ["1", "null", "true", "1.5"]),
    ],
)
def test_the_signatures_type_decides_which_values_are_taken(
    rest: Rest, dtype: str, good: list[str], bad: list[str]
) -> None:
    for value in good:
        came = rest.predict("identity", f'{{"signature_name": "{dtype}", "inputs": {value}}}')
        assert came.status == 200, (value, came.body)
        if dtype != "float":
            assert came.json["outputs"] == (float(value) if dtype == "double" else json.loads(value))
    for value in bad:
        for form, around in (("inputs", value), ("instances", f"[{value}]")):
            came = rest.predict("identity", f'{{"signature_name": "{dtype}", "{form}": {around}}}')
            assert came.status == 400, (value, came.body)
            assert "is not of expected type: " + dtype in came.error or value == "{}", came.error


@pytest.mark.parametrize("dtype", ["half", "bfloat16", "complex64", "complex128"])
def test_types_without_a_form_in_json_are_unimplemented(rest: Rest, dtype: str) -> None:
    columnar = rest.predict("identity", f'{{"signature_name": "{dtype}", "inputs": [1.0]}}')
    row = rest.predict("identity", f'{{"signature_name": "{dtype}", "instances": [1.0]}}')
    assert (columnar.status, row.status) == (501, 400)
    assert "UNIMPLEMENTED" in row.error


def test_bytes_travel_as_base64_both_ways(rest: Rest) -> None:
    content = bytes(range(256))
    encoded = base64.b64encode(content).decode()
    row = dict.fromkeys(("double", "float", "int16", "int32", "int64", "int8", "uint32", "uint64", "uint8"), 1)
    body = json.dumps({"instances": [{**row, "bool": True, "string": {"b64": encoded}}]})
    came = rest.predict("identity", body)
    assert came.status == 200, came.body
    assert b'"string_bytes": {' in came.body or b'"string_bytes":{' in came.body
    assert encoded.encode() in came.body


@pytest.mark.parametrize(
    ("body", "status", "answer"),
    [
        pytest.param('{"inputs": {"b64": "YWJj"}}', 200, {"outputs": "abc"}, id="columnar"),
        pytest.param('{"inputs": [{"b64": "YWJj"}, "d"]}', 200, {"outputs": ["abc", "d"]}, id="mixed with text"),
        pytest.param('{"instances": [{"b64": "YWJj"}]}', 200, {"predictions": ["abc"]}, id="row"),
        pytest.param('{"instances": [{"x": {"b64": "YWJj"}}]}', 200, {"predictions": ["abc"]}, id="named"),
        pytest.param('{"inputs": {"b64": ""}}', 200, {"outputs": ""}, id="empty"),
        pytest.param('{"inputs": {"b64": "%%%"}}', 400, "Unable to base64 decode", id="no base64"),
        pytest.param('{"inputs": [{"b64": 5}]}', 400, holding("not formatted correctly for base64 data"), id="number"),
        pytest.param('{"inputs": [{"b64": "YQ==", "x": 1}]}', 400, holding("base64"), id="two keys"),
    ],
)
def test_base64_objects_are_values_of_string_tensors(rest: Rest, body: str, status: int, answer: Expected) -> None:
    came = rest.predict("identity", '{"signature_name": "string", ' + body[1:])
    assert came.status == status, came.body
    assert came.json == answer if isinstance(answer, dict) else fits(came.error, answer), came.body


def test_a_long_value_is_cut_in_a_message(rest: Rest) -> None:
    came = rest.predict("identity", json.dumps({"signature_name": "float", "inputs": "a" * 100_000}))
    assert came.status == 400
    assert len(came.error) < 500
    assert came.error.endswith("is not of expected type: float")
