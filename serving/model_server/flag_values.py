"""Reads the values of flags as TF Serving does; what it would not take is a ValueError."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

_INTEGER = re.compile(r"\s*[+-]?[0-9]+", re.ASCII)


def _read_integer(text: str, bits: int) -> int:
    """As C's scanf("%d%c") takes it: blanks and a sign before the digits are fine, anything after them is not."""
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    value = int(text)
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise ValueError(text)
    return value


def _read_float(text: str, bits: int) -> float:
    if "_" in text or text != text.rstrip():
        raise ValueError(text)
    return float(text)


def _read_bool(text: str, bits: int) -> bool:
    try:
        return {"true": True, "false": False}[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def _read_text(text: str, bits: int) -> str:
    return text


READERS: Mapping[Any, Callable[[str, int], Any]] = MappingProxyType(
    {int: _read_integer, float: _read_float, bool: _read_bool, str: _read_text}
)
"""By type: (text, bits of an integer) -> value."""
