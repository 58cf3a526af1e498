"""Answers as TF Serving prints them: RapidJSON's PrettyWriter with an indent of four, arrays of a row on one line.

Everything is assembled from two things: the texts of a tensor's elements, made in bulk, and a template of the brackets,
commas and indents around them, made once for each shape. Text is kept as "bytes in latin-1", one character a byte, so
that strings which are not UTF-8 go out as they are.
"""

import math
from binascii import b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from json.encoder import encode_basestring

import numpy as np

from serving.model_server.rest.decimals import decimals
from serving.model_server.rest.json_reading import invalid
from serving.model_server.signature import Array

BYTES_SUFFIX = "_bytes"  # of the name of a string output that is no text
_INDENT = "    "
_REMEMBERED = 1024  # elements of a shape whose template is kept
_OTHER_NAMES: Mapping[str, str] = {"float16": "half"}  # where NumPy's name of a dtype is not TensorFlow's


def predictions(aliases: Sequence[str], outputs: Sequence[Array]) -> bytes:
    """The answer to a request in row format: one value, or one object of named values, for each row.

    Args:
        aliases: the outputs' names, in the order in which they are to be written.
        outputs: one tensor each; all of rank >= 1 with the same first dimension, the number of rows.

    Raises:
        StatusError: INVALID_ARGUMENT, they are not, or JSON has no form for a dtype.
    """
    if not _row_count(aliases, outputs):
        return b'{\n    "predictions": []\n}'
    if len(aliases) == 1:
        shape = outputs[0].shape
        rows = _template(shape, None) % tuple(_elements(aliases[0], outputs[0], 1 + len(shape)))
        return ('{\n    "predictions": ' + rows[:-1] + "\n    ]\n}").encode("latin-1")
    columns = [_rows(alias, output) for alias, output in zip(aliases, outputs, strict=True)]
    fields = ",\n".join([f"            {_key(alias).replace('%', '%%')}: %s" for alias in aliases])
    objects = map(("\n        {\n" + fields + "\n        }").__mod__, zip(*columns, strict=True))
    return ('{\n    "predictions": [' + ",".join(objects) + "\n    ]\n}").encode("latin-1")


def outputs(aliases: Sequence[str], outputs: Sequence[Array]) -> bytes:
    """The answer to a request in columnar format: the only tensor, or an object of the named tensors.

    Raises:
        StatusError: INVALID_ARGUMENT, JSON has no form for a dtype.
    """
    if len(aliases) == 1:
        return ('{\n    "outputs": ' + _tensor(aliases[0], outputs[0], 1) + "\n}").encode("latin-1")
    named = [
        f"        {_key(alias)}: {_tensor(alias, output, 2)}" for alias, output in zip(aliases, outputs, strict=True)
    ]
    return ('{\n    "outputs": {\n' + ",\n".join(named) + "\n    }\n}").encode("latin-1")


def classifications(results: Sequence[Sequence[tuple[str, float]]]) -> bytes:
    """The answer to a classify request: a list of [label, score] for each example. Scores are float32 values.

    Raises:
        StatusError: INVALID_ARGUMENT, there are none.
    """
    if not results:
        raise invalid("Cannot convert empty ClassificationResults to JSON")
    labels, scores = [], list[float]()
    for label, score in chain.from_iterable(results):
        labels.append(_text(label.encode()))
        scores.append(score)
    pairs = map("[%s, %s]".__mod__, zip(labels, decimals(np.array(scores, np.float32)), strict=True))
    lists = ["[" + ", ".join([next(pairs) for _ in result]) + "]" for result in results]
    return ('{\n    "results": [' + ", ".join(lists) + "\n    ]\n}").encode("latin-1")


def regressions(values: Sequence[float]) -> bytes:
    """The answer to a regress request. Values are float32 values.

    Raises:
        StatusError: INVALID_ARGUMENT, there are none.
    """
    if not values:
        raise invalid("Cannot convert empty RegressionResults to JSON")
    return ('{\n    "results": [' + ", ".join(decimals(np.array(values, np.float32))) + "]\n}").encode("latin-1")


def error(message: str) -> bytes:
    """The body of every answer that is not a success."""
    return ('{\n    "error": ' + _text(message.encode("utf-8", "replace")) + "\n}").encode("latin-1")


def _row_count(aliases: Sequence[str], outputs: Sequence[Array]) -> int:
    count = -1
    for alias, output in zip(aliases, outputs, strict=True):
        if not output.ndim:
            raise invalid(f"Tensor name: {alias} has no shape information ")
        if len(output) != count != -1:
            raise invalid(f"Tensor name: {alias} has inconsistent batch size: {len(output)} expecting: {count}")
        count = len(output)
    return count


def _rows(alias: str, output: Array) -> Iterable[str]:
    """The text of each row of a tensor of rank >= 1, on one line, as a field of that row's object."""
    inner = output.shape[1:]
    texts = _elements(alias, output, 3 + len(inner))
    if not inner:
        return texts
    template = _template(inner, None)
    size = output.size // len(output)
    if not size:
        return [template] * len(output)
    return map(template.__mod__, zip(*[iter(texts)] * size, strict=True))


def _tensor(alias: str, output: Array, depth: int) -> str:
    """The text of a whole tensor, each element on a line of its own, inside of `depth` brackets."""
    return _template(output.shape, depth) % tuple(_elements(alias, output, depth + output.ndim))


def _elements(alias: str, output: Array, depth: int) -> list[str]:
    """The text of each element, in C order, inside of `depth` brackets."""
    kind = output.dtype.char
    if kind in "fd":
        return decimals(output)
    flat = output.ravel().tolist()
    if not flat:
        return []
    if kind in "bBhiIlLqQ":
        return list(map(str, flat))
    if kind == "?":
        return list(map(("false", "true").__getitem__, flat))
    if kind != "O":
        name = output.dtype.name
        raise invalid(f"Failed to write JSON value for tensor type: {_OTHER_NAMES.get(name, name)}")
    if not alias.endswith(BYTES_SUFFIX):
        return list(map(_text, flat))
    indent = _INDENT * depth
    template = f'{{\n{indent}    "b64": "%s"\n{indent}}}'
    return [template % b2a_base64(each, newline=False).decode("ascii") for each in flat]


def _text(content: bytes) -> str:
    """A string, quoted; bytes above 127 as they are."""
    return encode_basestring(content.decode("latin-1"))


@lru_cache(1024)
def _key(alias: str) -> str:
    """A member's name, quoted."""
    return _text(alias.encode())


def _template(shape: tuple[int, ...], depth: int | None) -> str:
    """The brackets and commas of a nested list around `%s`, on one line or, inside of `depth` brackets, on many."""
    build = _small_template if math.prod(shape) <= _REMEMBERED else _new_template
    return build(shape, depth)


def _new_template(shape: tuple[int, ...], depth: int | None) -> str:
    text = "%s"
    for level in reversed(range(len(shape))):
        if not shape[level]:
            text = "[]"
        elif depth is None:
            text = "[" + ", ".join([text] * shape[level]) + "]"
        else:
            indent = _INDENT * (depth + level)
            line = f"{indent}    {text}"
            text = "[\n" + ",\n".join([line] * shape[level]) + f"\n{indent}]"
    return text


_small_template = lru_cache(256)(_new_template)
