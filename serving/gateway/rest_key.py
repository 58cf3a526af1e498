"""The user's key in the body of a REST request, for clients that cannot set a header."""

import base64
import binascii
from typing import Any

from serving.model_server.rest import json_reading
from serving.status import StatusError


def key_in(body: bytes, field: str) -> bytes | None:
    """The key that a request's body carries, or None where it has none: the model server will say what is wrong.

    Args:
        body: JSON, inflated.
        field: name of an input: of the first of the `instances` or `examples`, or of the columnar `inputs`. Of a list
            the first element counts. A text gives its UTF-8, a whole number its digits, {"b64": ...} its bytes; what is
            no such value, or empty, is no key.
    """
    try:
        document = json_reading.parse(body)
    except StatusError:
        return None
    value = document.get("inputs")
    if not isinstance(value, dict):
        value = document.get("instances", document.get("examples"))
        if isinstance(value, list) and value:
            value = value[0]
    return _bytes(value.get(field)) if isinstance(value, dict) else None


def _bytes(value: Any) -> bytes | None:
    while isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str):
        try:
            return base64.b64decode(value["b64"]) or None
        except (binascii.Error, ValueError):
            return None
    if isinstance(value, int) and not isinstance(value, bool):
        return b"%d" % value
    return value.encode("utf-8", "replace") or None if isinstance(value, str) else None
