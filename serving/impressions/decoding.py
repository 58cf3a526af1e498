"""Exchanges as what is logged of them: the request and the answer as JSON, and the numbers of the answer.

What REST sent is kept as it is: JSON as TF Serving reads and writes it, so NaN and Infinity are bare words, and text
behind a request's first value means nothing; `parse` reads both. Requests that failed are kept only where they are
JSON.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.client.rest_json import parse as parse_answer
from serving.gateway.exchange import Exchange
from serving.impressions.grpc_json import answer_json, answer_numbers, request_json
from serving.model_server.rest.inflate import inflate
from serving.model_server.rest.json_reading import parse as parse_request
from serving.status import StatusError

_GZIP = b"\x1f\x8b"  # no JSON begins so
_ANSWERS = ("predictions", "outputs", "results")
_NOTHING = np.empty(0, np.float64)


def request(exchange: Exchange, most_bytes: int) -> bytes:
    """The request's JSON; UTF-8 is not checked.

    Args:
        most_bytes: that a compressed one may have when it is no longer compressed.

    Raises:
        ValueError: it cannot be read.
    """
    content = exchange.request
    if exchange.protocol == "GRPC":
        return request_json(exchange.api, content)
    content = _inflated(content, most_bytes)
    if exchange.code != "OK":
        try:
            parse_request(content)
        except StatusError as error:
            raise ValueError(error.message) from error
    return content


def answer(exchange: Exchange, most_bytes: int) -> bytes:
    """The answer's JSON; UTF-8 is not checked.

    Args:
        most_bytes: as of `request`.

    Raises:
        ValueError: it cannot be read.
    """
    if exchange.protocol == "GRPC":
        return answer_json(exchange.api, exchange.response)
    return _inflated(exchange.response, most_bytes)


def numbers(exchange: Exchange, most_bytes: int, most: int) -> NDArray[np.float64]:
    """(n,) the numbers that an answer holds, at most so many; texts and truths are left out.

    Args:
        most_bytes: as of `request`.

    Raises:
        ValueError: it is no answer.
    """
    if exchange.protocol == "GRPC":
        return answer_numbers(exchange.api, exchange.response, most)
    return _rest_numbers(_inflated(exchange.response, most_bytes), most)


def _rest_numbers(content: bytes, most: int) -> NDArray[np.float64]:
    try:
        document = parse_answer(content)
        found = next(document[key] for key in _ANSWERS if key in document)
        if isinstance(found, dict):
            parts = [_flat(found[name], most) for name in sorted(found)]
            return np.concatenate([_NOTHING, *parts])[:most]
        return _flat(found, most)
    except (ValueError, TypeError, RecursionError, OverflowError, StopIteration) as error:
        raise ValueError("not an answer of TF Serving") from error


def _inflated(content: bytes, most_bytes: int) -> bytes:
    if not content.startswith(_GZIP):
        return content
    inflated = inflate(content, most_bytes)
    if not inflated:
        raise ValueError("a damaged or too large gzip stream")
    return inflated


def _flat(value: Any, most: int) -> NDArray[np.float64]:
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        return _walked(value, most)
    if array.dtype.kind in "fiu":
        return array.ravel()[:most].astype(np.float64)
    return _NOTHING if array.dtype.kind == "b" else _walked(value, most)


def _walked(value: Any, most: int) -> NDArray[np.float64]:
    """For answers that are not one block of numbers: labels with scores, objects for rows, ragged lists."""
    found: list[float] = []
    waiting = [value]
    while waiting and len(found) < most:
        one = waiting.pop()
        if type(one) is list:
            waiting.extend(reversed(one))
        elif type(one) is dict:
            waiting.extend(one[name] for name in sorted(one, reverse=True))
        elif type(one) is float or type(one) is int:
            found.append(float(one))
    return np.array(found, np.float64)
