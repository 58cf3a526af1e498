"""Feedback as clients send it: an object, a list of objects, or a line for each object."""

import difflib
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson

from serving.impressions.rolling import Record
from serving.impressions.schema import MICROSECONDS

LABEL = "click"  # where none is given
FIELDS = ("request_id", "label", "value", "time", "row")
_REQUEST_ID = re.compile(r"[!-~]{1,128}")  # as gateways answer with it
_LABEL = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")
_EARLIEST, _LATEST = 0, 4_102_444_800  # 1970 and 2100: milliseconds for seconds would be beyond
_MOST_ROWS = 2**31
_MOST_TOLD = 10


class TooManyError(ValueError):
    """There are more records than one request may have."""


def parse(body: bytes, received_us: int, most: int) -> list[Record]:
    """The records of a request, at least one.

    Args:
        received_us: the time of those that have none, in microseconds since 1970.
        most: records that are taken.

    Raises:
        TooManyError: there are more.
        ValueError: says what is wrong with which.
    """
    documents = _documents(body)
    if not documents:
        raise ValueError('there is no feedback; expected {"request_id": ..., "value": ...} or a list of such objects')
    if len(documents) > most:
        raise TooManyError(f"{len(documents)} records in one request; send at most {most} at a time")
    records, wrong = [], []
    for number, document in enumerate(documents):
        try:
            records.append(_record(document, received_us))
        except ValueError as error:
            wrong.append(f"record {number}: {error}")
    if wrong:
        more = f"; and {len(wrong) - _MOST_TOLD} more" if len(wrong) > _MOST_TOLD else ""
        raise ValueError("; ".join(wrong[:_MOST_TOLD]) + more + ". Nothing of this request was taken")
    return records


def _documents(body: bytes) -> list[Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        lines = [one for one in body.split(b"\n") if one.strip()]
        if len(lines) < 2 or not lines[0].lstrip().startswith(b"{"):
            raise ValueError(f"this is not JSON: {error}") from error
        return list(_of_lines(lines))
    return document if isinstance(document, list) else [document]


def _of_lines(lines: list[bytes]) -> Iterable[Any]:
    for number, line in enumerate(lines):
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"record {number}: its line is not JSON: {error}") from error


def _record(document: Any, received_us: int) -> Record:
    if type(document) is not dict:
        raise ValueError(f"expected an object, got {_shown(document)}")
    if not document.keys() <= set(FIELDS):
        raise ValueError(_unknown(next(name for name in document if name not in FIELDS)))
    for name in ("request_id", "value"):
        if name not in document:
            raise ValueError(f"{name} is missing")
    request_id, label = document["request_id"], document.get("label", LABEL)
    if type(request_id) is not str or not _REQUEST_ID.fullmatch(request_id):
        raise ValueError(
            f"request_id is the x-request-id of the answer, 1 to 128 visible ASCII characters; got {_shown(request_id)}"
        )
    if type(label) is not str or not _LABEL.fullmatch(label):
        raise ValueError(f"label is 1 to 64 letters, digits, and any of _ . : / -; got {_shown(label)}")
    row = document.get("row", 0)
    if type(row) is not int or not 0 <= row < _MOST_ROWS:
        raise ValueError(f"row is the index of the instance in its request, from 0; got {_shown(row)}")
    given = document.get("time")
    return request_id, row, label, _value(document["value"]), received_us if given is None else _time_us(given)


def _value(value: Any) -> float:
    if type(value) not in (bool, int, float) or not math.isfinite(value):
        raise ValueError(f"value is a number, or true or false; got {_shown(value)}")
    return float(value)


def _time_us(given: Any) -> int:
    try:
        if type(given) is str:
            time = datetime.fromisoformat(given)
            seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        elif type(given) in (int, float):
            seconds = given
        else:
            raise ValueError
        if not _EARLIEST <= seconds <= _LATEST:
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError(
            f"time is ISO 8601 (UTC where it names no zone) or seconds since 1970, before 2100; got {_shown(given)}"
        ) from None
    return round(seconds * MICROSECONDS)


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, FIELDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(FIELDS)}"
    return f"{_shown(name)} is not a field; {hint}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
