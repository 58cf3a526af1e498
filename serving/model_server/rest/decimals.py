"""Numbers as TF Serving writes them in JSON.

A float or double is printed with six significant digits (`%g`) where these give the number back, else with as many as
always do (9 and 17). What would look like an integer gets `.0`; NaN, Infinity and -Infinity are bare words.
"""

import struct
from typing import Any

import numpy as np

from serving.model_server.signature import Array

_FEW = 48  # up to here one number after the other is faster than setting up the vectors
_FLOAT = struct.Struct("@f")  # the machine's own way, which overflows to infinity instead of raising
_SIX_DIGITS, _NINE_DIGITS, _SEVENTEEN_DIGITS = "%.6g", "%.9g", "%.17g"
_WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_POWERS = 10.0 ** np.arange(23)  # exact in a double, so that one product or quotient with them is rounded correctly
_SIX, _ALL, _WHOLE = 0, 1, 2  # how a number is printed: six digits, all digits, as an integer with `.0`


def decimal32(value: float) -> str:
    """A float's text; `value` is rounded to a float first, out of its range to infinity."""
    return _decimal32(_FLOAT.unpack(_FLOAT.pack(value))[0])


def decimal64(value: float) -> str:
    """A double's text."""
    if value - value != 0:  # NaN or infinite
        return _WORDS[f"{value}"]
    text = _SIX_DIGITS % value
    if float(text) != value:
        text = _SEVENTEEN_DIGITS % value
    return text if "." in text or "e" in text else text + ".0"


def decimals(array: Array) -> list[str]:
    """The texts of all elements of a float32 or float64 array, in C order."""
    flat = array.ravel()
    single = flat.dtype.char == "f"
    one = _decimal32 if single else decimal64
    values: list[float] = flat.tolist()
    if len(values) <= _FEW:
        return list(map(one, values))
    kinds, hard = _kinds(flat, 1e9 if single else 1e17)
    formats = np.array([_SIX_DIGITS, _NINE_DIGITS if single else _SEVENTEEN_DIGITS, "%.1f"], object)
    texts = (" ".join(formats[kinds].tolist()) % tuple(values)).split(" ")
    for index in np.flatnonzero(hard).tolist():
        texts[index] = one(values[index])
    return texts


def _decimal32(number: float) -> str:
    """The text of a float that needs no rounding."""
    if number - number != 0:  # NaN or infinite
        return _WORDS[f"{number}"]
    text = _SIX_DIGITS % number
    back = float(text)
    if back != number and _FLOAT.unpack(_FLOAT.pack(back))[0] != number:
        text = _NINE_DIGITS % number
    return text if "." in text or "e" in text else text + ".0"


def _kinds(flat: Array, all_digits_below: float) -> tuple[Array, Array]:
    """How each number is to be printed (int8), and which of them this cannot tell (bool).

    Six digits suffice where the number equals k * 10^p for an integer k of six digits. With |p| <= 22 that product (or
    quotient) is the double that is nearest to the decimal, as reading the printed text would give; numbers outside of
    that, zero and those that are not finite are left to the caller.
    """
    size: Any = np.abs(flat)
    easy = (size >= 1e-16) & (size < 1e27)
    size = np.where(easy, size, 1).astype(np.float64)
    power = np.floor(np.log10(size)).astype(np.int64) - 5
    down, up = _POWERS[np.maximum(-power, 0)], _POWERS[np.maximum(power, 0)]
    six = (np.rint(size * down / up) * up / down).astype(flat.dtype) == size.astype(flat.dtype)
    whole = (size == np.floor(size)) & (size < np.where(six, 1e6, all_digits_below))
    return np.where(whole, _WHOLE, np.where(six, _SIX, _ALL)), ~easy
