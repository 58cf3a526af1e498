import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model_server.rest.decimals import decimal32, decimal64, decimals
from serving.model_server.signature import Array


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9000000, "9e+06"),
        (999999, "999999.0"),
        (0.5, "0.5"),
        (0.0003, "0.0003"),
        (0.00003, "3e-05"),
        (555557.5, "555557.5"),
        (0.2, "0.2"),
        (1 / 3, "0.333333343"),
        (16777216, "16777216.0"),
        (1e9, "1e+09"),
        (1234567936, "1.23456794e+09"),
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (-2.5, "-2.5"),
        (3.4028234663852886e38, "3.40282347e+38"),
        (1e-45, "1.4013e-45"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (1e300, "Infinity"),
        (-1e300, "-Infinity"),
    ],
)
def test_a_float_has_six_digits_or_as_many_as_give_it_back(value: float, text: str) -> None:
    assert decimal32(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.2, "0.2"),
        (1 / 3, "0.33333333333333331"),
        (1e15 + 1, "1000000000000001.0"),
        (1e17, "1e+17"),
        (123456789012345680.0, "1.2345678901234568e+17"),
        (2.0**53, "9007199254740992.0"),
        (1e300, "1e+300"),
        (1.5e300 / 7, "2.1428571428571431e+299"),
        (5e-324, "4.94066e-324"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
    ],
)
def test_a_double_has_six_digits_or_seventeen(value: float, text: str) -> None:
    assert decimal64(value) == text


def _one_by_one(array: Array) -> list[str]:
    return list(map(decimal32 if array.dtype == np.float32 else decimal64, array.tolist()))


@given(st.lists(st.integers(0, 2**32 - 1), min_size=49, max_size=60))
def test_many_floats_are_written_as_each_alone(patterns: list[int]) -> None:
    array = np.array(patterns, np.uint32).view(np.float32)
    assert decimals(array) == _one_by_one(array)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=49, max_size=60))
def test_many_doubles_are_written_as_each_alone(patterns: list[int]) -> None:
    array = np.array(patterns, np.uint64).view(np.float64)
    assert decimals(array) == _one_by_one(array)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(st.lists(st.tuples(st.integers(-(10**7), 10**7), st.integers(-25, 25)), min_size=49, max_size=60))
def test_numbers_of_few_digits_are_written_as_each_alone(dtype: type, parts: list[tuple[int, int]]) -> None:
    array: Array = np.array([digits * 10.0**power for digits, power in parts]).astype(dtype)
    assert decimals(array) == _one_by_one(array)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers_of_ten_and_their_neighbours_are_written_as_each_alone(dtype: type) -> None:
    powers: Array = np.array([float(f"1e{power}") for power in range(-37, 38)], dtype)
    for array in (powers, np.nextafter(powers, dtype(np.inf)), np.nextafter(powers, dtype(0)), -powers):
        assert decimals(array) == _one_by_one(array)


@given(st.floats(width=32, allow_nan=False))
def test_a_float_comes_back_from_its_text(value: float) -> None:
    text = decimal32(value)
    assert struct.pack("f", float(text.replace("Infinity", "inf"))) == struct.pack("f", value)
    assert any(mark in text for mark in (".", "e", "Infinity"))


@given(st.floats(allow_nan=False))
def test_a_double_comes_back_from_its_text(value: float) -> None:
    text = decimal64(value)
    assert struct.pack("d", float(text.replace("Infinity", "inf"))) == struct.pack("d", value)
    assert any(mark in text for mark in (".", "e", "Infinity"))


def test_arrays_are_written_in_c_order_whatever_their_layout() -> None:
    array = np.asfortranarray(np.arange(40, dtype=np.float32).reshape(4, 10))
    assert decimals(array) == [f"{number}.0" for number in range(40)]
    assert decimals(array[:, ::2][:1]) == ["0.0", "2.0", "4.0", "6.0", "8.0"]
    assert decimals(np.empty((0, 3), np.float32)) == []
