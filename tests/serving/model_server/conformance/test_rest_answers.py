"""How tensors become JSON: rows and columns, numbers, texts and bytes (contract 2.6)."""

import json

import pytest

from tests.serving.model_server.conformance.clients import Rest, Text, fits, holding


@pytest.mark.parametrize(
    ("dtype", "sent", "written"),
    [
        # single precision: six digits where they are enough to read the same number back, else nine
        ("float", "1", "1.0"),
        ("float", "0", "0.0"),
        ("float", "-0.0", "-0.0"),
        ("float", "0.5", "0.5"),
        ("float", "0.2", "0.2"),
        ("float", "0.1", "0.1"),
        ("float", "0.123456", "0.123456"),
        ("float", "0.1234567", "0.123456702"),
        ("float", "999999", "999999.0"),
        ("float", "9000000", "9e+06"),
        ("float", "1000000", "1e+06"),
        ("float", "1234567", "1234567.0"),
        ("float", "16777216", "16777216.0"),
        ("float", "0.0001", "0.0001"),
        ("float", "0.00003", "3e-05"),
        ("float", "3.4028234663852886e38", "3.40282347e+38"),
        ("float", "1e-45", "1.4013e-45"),
        ("float", "1e39", "Infinity"),
        ("float", "-1e39", "-Infinity"),
        ("float", "1e-60", "0.0"),
        ("float", "-1e-60", "-0.0"),
        ("float", "NaN", "NaN"),
        ("float", "Infinity", "Infinity"),
        ("float", "-Infinity", "-Infinity"),
        ("float", "Inf", "Infinity"),
        ("float", "-Inf", "-Infinity"),
        # double precision: six digits or seventeen
        ("double", "0.1", "0.1"),
        ("double", "0.1234567", "0.1234567"),
        ("double", "0.3333333333333333", "0.33333333333333331"),
        ("double", "3.141592653589793", "3.1415926535897931"),
        ("double", "1e300", "1e+300"),
        ("double", "12345678", "12345678.0"),
        ("double", "123456789012345680000", "1.2345678901234568e+20"),
        ("double", "NaN", "NaN"),
        ("int64", "9007199254740993", "9007199254740993"),
        ("int64", "-9223372036854775808", "-9223372036854775808"),
        ("uint64", "18446744073709551615", "18446744073709551615"),
        ("uint32", "4294967295", "4294967295"),
        ("int32", "-5", "-5"),
        ("int8", "-5", "-5"),
        ("uint8", "200", "200"),
        ("bool", "true", "true"),
        ("string", '"a\\"b\\\\c/"', '"a\\"b\\\\c/"'),
        ("string", '"\\u0007\\n\\t"', '"\\u0007\\n\\t"'),
        ("string", '"\\u00fc\\ud83d\\ude00"', '"ü😀"'),
    ],
)
def test_a_value_is_written_as_upstream_writes_it(rest: Rest, dtype: str, sent: str, written: str) -> None:
    columnar = rest.predict("identity", f'{{"signature_name": "{dtype}", "inputs": {sent}}}')
    row = rest.predict("identity", f'{{"signature_name": "{dtype}", "instances": [{sent}, {sent}]}}')
    assert (columnar.status, columnar.dense) == (200, f'{{"outputs":{written}}}')
    assert (row.status, row.dense) == (200, f'{{"predictions":[{written},{written}]}}')


def test_several_outputs_are_objects_by_row_or_lists_by_column(rest: Rest) -> None:
    row = rest.predict("not_finite", '{"instances": [0, 1]}')
    columnar = rest.predict("not_finite", '{"inputs": [0, -1]}')
    infinity = float("inf")
    assert row.json == {"predictions": [{"inverse": infinity, "y": -infinity}, {"inverse": 1.0, "y": 0.0}]}
    assert columnar.dense in (
        '{"outputs":{"inverse":[Infinity,-1.0],"y":[-Infinity,NaN]}}',
        '{"outputs":{"y":[-Infinity,NaN],"inverse":[Infinity,-1.0]}}',
    )


def test_every_output_is_returned_with_its_own_type(rest: Rest) -> None:
    numbers = {"double": 0.25, "float": 0.5, "int16": 1, "int32": 2, "int64": 3, "int8": 4, "uint32": 5}
    row = {**numbers, "uint64": 6, "uint8": 7, "bool": True, "string": "a"}
    came = rest.predict("identity", json.dumps({"instances": [row, row]}))
    assert came.status == 200
    assert came.json == {"predictions": [{**row, "string_bytes": {"b64": "YQ=="}}] * 2}
    columnar = rest.predict("identity", json.dumps({"inputs": {**row, "string": ["a", ""]}}))
    assert columnar.status == 200
    texts = {"string": ["a", ""], "string_bytes": [{"b64": "YQ=="}, {"b64": ""}]}
    assert columnar.json == {"outputs": {**row, **texts}}


@pytest.mark.parametrize(
    ("model", "body", "status", "message"),
    [
        pytest.param(
            "scalar", '{"instances": [1, 2]}', 400, holding("Tensor name: total has no shape information"), id="scalar"
        ),
        pytest.param(
            "scalar",
            '{"signature_name": "uneven", "instances": [1, 2]}',
            400,
            holding("Tensor name: ", " has inconsistent batch size: ", " expecting: "),
            id="uneven",
        ),
    ],
)
def test_rows_need_one_batch_size(rest: Rest, model: str, body: str, status: int, message: Text) -> None:
    came = rest.predict(model, body)
    assert came.status == status
    assert fits(came.error, message), came.error


def test_columns_need_no_common_size(rest: Rest) -> None:
    assert rest.predict("scalar", '{"inputs": [1, 2]}').json == {"outputs": 3.0}
    uneven = rest.predict("scalar", '{"signature_name": "uneven", "inputs": [1, 2]}')
    assert uneven.json == {"outputs": {"same": [1.0, 2.0], "more": [1.0, 2.0, 0.0]}}


def test_bytes_that_are_no_text_go_out_as_they_are_unless_the_name_ends_in_bytes(rest: Rest) -> None:
    came = rest.predict("identity", '{"signature_name": "string", "inputs": {"b64": "//8="}}')
    assert came.status == 200
    assert b'"\xff\xff"' in came.body


def test_rows_of_other_texts_are_nested_as_the_tensor_is(rest: Rest) -> None:
    came = rest.predict("identity", '{"signature_name": "string", "instances": [["a", "b"], ["c", ""]]}')
    assert came.json == {"predictions": [["a", "b"], ["c", ""]]}


def test_the_runtimes_refusals_reach_the_client(rest: Rest) -> None:
    came = rest.predict("matmul", '{"instances": [[1.0, 2.0]]}')
    assert came.status == 400
    assert "Matrix size-incompatible: In[0]: [1,2], In[1]: [3,2]" in came.error


def test_a_table_is_initialised_from_its_asset(rest: Rest) -> None:
    came = rest.predict("table", '{"instances": ["one", "two", "nil", "ten"]}')
    assert came.json == {"predictions": [1, 2, 0, -1]}


def test_a_body_of_megabytes_is_answered_in_full(rest: Rest) -> None:
    values = [[float(number % 1000) / 8] * 100 for number in range(10_000)]
    came = rest.predict("identity", json.dumps({"signature_name": "float", "instances": values}))
    assert came.status == 200
    assert came.json == {"predictions": values}


def test_a_model_of_the_house_is_served_by_columns(rest: Rest) -> None:
    record = {"age": 7, "job": "writer", "genres": ["drama", "noir"], "weight": [0.5]}
    came = rest.predict("house", json.dumps({"instances": [record, record]}))
    assert came.status == 200, came.body
    first, second = came.json["predictions"]
    assert first == second
    assert 0.0 < first[0] < 1.0


def test_a_model_of_the_house_reads_examples_itself(rest: Rest) -> None:
    came = rest.predict("house", '{"signature_name": "serving_examples", "instances": [{"b64": ""}]}')
    assert came.status == 400
    assert "Feature: age (data type: int64) is required but could not be found." in came.error
