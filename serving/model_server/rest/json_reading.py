"""Request bodies: bytes to Python values with the grammar and the error texts of TF Serving's parser.

TF Serving reads JSON with RapidJSON. orjson reads the same values from what is strict JSON, three times as fast; what
it refuses goes to RapidJSON itself (python-rapidjson), whose verdict and whose text stand: NaN, Inf and Infinity are
numbers, text behind the first value is ignored, errors carry the offset in bytes.

What differs from TF Serving, known and accepted:
- of a key that an object holds twice the last counts (there: the first);
- values nested deeper than 1000 levels are refused (there: an iterative parser without a limit);
- text that is not UTF-8 is refused (there: passed on as it is);
- decimals in strict JSON are rounded correctly (there: up to three units in a double's last place off).
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson
import rapidjson

from serving.model_server.rest.decimals import decimal32
from serving.status import Code, StatusError

LONGEST_DUMP = 256  # characters of a value in a message
_BOM = b"\xef\xbb\xbf"
_NUMBERS = rapidjson.NM_NAN | rapidjson.NM_NATIVE
_REFUSAL = re.compile(r"Parse error at offset (\d+): (.*)", re.DOTALL)
_MORE_BEHIND = "The document root must not be followed by other values."
_ENCODER = json.JSONEncoder(indent=4, ensure_ascii=False, check_circular=False)


def invalid(message: str) -> StatusError:
    """The status of nearly everything that can be wrong with a body."""
    return StatusError(Code.INVALID_ARGUMENT, message)


def parse(body: bytes) -> dict[str, Any]:
    """The object that a request body holds.

    Raises:
        StatusError: INVALID_ARGUMENT, the body is no JSON or not an object.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = _parse_as_rapidjson(body)
    if type(value) is not dict:
        raise invalid(f"JSON Value: {dump(value)} Is not object")
    return value


def signature_name(document: Mapping[str, Any]) -> str:
    """The body's `signature_name`, empty where there is none.

    Raises:
        StatusError: INVALID_ARGUMENT, it is no string.
    """
    name = document.get("signature_name", "")
    if type(name) is not str:
        raise invalid(
            f"JSON Value: {dump(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def dump(value: Any) -> str:
    """A value for a message: pretty-printed, and cut so that a large body makes no large message."""
    if type(value) is float:
        return decimal32(value)
    text = ""
    for piece in _ENCODER.iterencode(value):
        text += piece[: LONGEST_DUMP + 1]
        if len(text) > LONGEST_DUMP:
            return text[:LONGEST_DUMP] + "..."
    return text


def _parse_as_rapidjson(body: bytes) -> Any:
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    text = body.removeprefix(_BOM)
    skipped = len(body) - len(text)
    try:
        return rapidjson.loads(text, number_mode=_NUMBERS)
    except UnicodeDecodeError as error:
        raise invalid(f"JSON Parse error: Invalid encoding in string. at offset: {error.start + skipped}") from None
    except RecursionError:
        raise invalid("JSON Parse error: Values are nested more than 1000 levels deep.") from None
    except rapidjson.JSONDecodeError as error:
        found = _REFUSAL.fullmatch(str(error))
        if found is None:
            raise invalid(f"JSON Parse error: {error}") from None
        offset, reason = int(found[1]), found[2]
        if reason != _MORE_BEHIND:
            raise invalid(f"JSON Parse error: {reason} at offset: {offset + skipped}") from None
    return rapidjson.loads(text[:offset], number_mode=_NUMBERS)
