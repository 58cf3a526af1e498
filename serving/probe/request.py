"""What a probe is asked and what it answers, as arrays and as JSON; needs TensorFlow only to turn texts into base64."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Group:
    """Records whose features have the same number of values, so that none needs padding.

    Attributes:
        rows: int64 [records], where each stands among all records.
        columns: raw feature -> [records, values]: int64, float32, or object of bytes; no values where it is missing.
    """

    rows: Array
    columns: Mapping[str, Array]

    def batch(self, size: int) -> "Group":
        """The first `size` records, starting again from the first where there are fewer."""
        take = np.resize(np.arange(len(self.rows)), size)
        return Group(self.rows[take], {name: column[take] for name, column in self.columns.items()})


@dataclass(frozen=True)
class Records:
    """The same records twice: as serialized tf.Examples, object [records] of bytes, and as raw columns."""

    serialized: Array
    groups: tuple[Group, ...]

    @property
    def largest_group(self) -> Group:
        return max(self.groups, key=lambda group: len(group.rows))


@dataclass(frozen=True)
class Request:
    """What a probe is asked.

    Attributes:
        records: at least one.
        batch_sizes: how many records a timed call holds.
        calls: timed calls for each batch size.
        warm_up_calls: calls before them, not timed.
    """

    records: Records
    batch_sizes: tuple[int, ...] = (1, 64)
    calls: int = 200
    warm_up_calls: int = 20


def encode(request: Request) -> str:
    """As JSON, exactly: texts in base64, floats with all their digits."""
    groups = [
        {"rows": group.rows.tolist(), "columns": {name: to_plain(column) for name, column in group.columns.items()}}
        for group in request.records.groups
    ]
    content = {"batch_sizes": request.batch_sizes, "calls": request.calls, "warm_up_calls": request.warm_up_calls}
    return json.dumps({"serialized": to_plain(request.records.serialized), "groups": groups, **content})


def decode(text: str) -> Request:
    """What `encode` was given."""
    content = json.loads(text)
    groups = tuple(
        Group(np.array(group["rows"], np.int64), {name: from_plain(one) for name, one in group["columns"].items()})
        for group in content["groups"]
    )
    records = Records(from_plain(content["serialized"]), groups)
    return Request(records, tuple(content["batch_sizes"]), content["calls"], content["warm_up_calls"])


def to_plain(array: Array) -> dict[str, Any]:
    """A number or bytes array as what JSON can hold; NaN and infinities stay what they are (Python's JSON has them)."""
    if array.dtype.kind != "O":
        return {"dtype": array.dtype.name, "shape": array.shape, "values": array.ravel().tolist()}
    import tensorflow as tf

    text = tf.io.encode_base64(tf.constant(array.ravel(), tf.string)).numpy()
    return {"dtype": "bytes", "shape": array.shape, "values": text.astype("U").tolist()}


def from_plain(content: Mapping[str, Any]) -> Array:
    """What `to_plain` was given."""
    if content["dtype"] != "bytes":
        return np.array(content["values"], np.dtype(content["dtype"])).reshape(content["shape"])
    import tensorflow as tf

    values: Array = tf.io.decode_base64(tf.constant(content["values"], tf.string)).numpy()
    return values.reshape(content["shape"])
