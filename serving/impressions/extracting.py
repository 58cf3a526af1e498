"""Tables of impressions and feedback as the arrays that are matched."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serving.impressions.matching import ASSIGNED, CANARY, COUNTED, KEYED, Impressions, Told, hashes

if TYPE_CHECKING:
    import pyarrow as pa

IMPRESSION_COLUMNS = (
    "request_id", "time", "rollout", "step", "variant", "how", "key_hash", "code", "shadow", "fell_back",
)  # fmt: skip
TOLD_COLUMNS = ("request_id", "row", "label", "value", "time", "received")
_VARIANTS = ("stable", "canary")


def impressions_of(table: "pa.Table", rollout: int) -> Impressions:
    """All but copies; those of other rollouts, of testers and so on without COUNTED, so that feedback on them is known.

    Args:
        table: with IMPRESSION_COLUMNS.

    Raises:
        ValueError, pyarrow.ArrowException: it is not what gateways write.
    """
    import pyarrow.compute as pc

    table = table.filter(pc.invert(table["shadow"]))
    by_key, at_random = pc.equal(table["how"], "key"), pc.equal(table["how"], "random")
    keyed = _truths(pc.and_(by_key, pc.is_valid(table["key_hash"])))
    ours = _truths(pc.and_(pc.equal(table["rollout"], rollout), pc.is_in(table["variant"], _set(_VARIANTS))))
    answered = _truths(pc.and_(pc.equal(table["code"], "OK"), pc.invert(table["fell_back"])))
    flags = (
        (ours & answered & _truths(pc.or_(by_key, at_random))) * COUNTED
        | (ours & keyed) * ASSIGNED
        | keyed * KEYED
        | _truths(pc.equal(table["variant"], "canary")) * CANARY
    )
    return Impressions(
        hashes(table["request_id"]),
        _numbers(table["time"], "int64"),
        _numbers(pc.fill_null(table["key_hash"], 0), "uint64"),
        np.minimum(_numbers(table["step"], "int64"), np.iinfo(np.uint16).max).astype(np.uint16),
        flags.astype(np.uint8),
    )


def told_of(table: "pa.Table", label: str) -> Told:
    """The feedback with this label.

    Args:
        table: with TOLD_COLUMNS.

    Raises:
        ValueError, pyarrow.ArrowException: it is not what gateways write.
    """
    import pyarrow.compute as pc

    table = table.filter(pc.equal(table["label"], label))
    return Told(
        hashes(table["request_id"]),
        _numbers(table["row"], "int32"),
        _numbers(table["value"], "double"),
        _numbers(table["time"], "int64"),
        _numbers(table["received"], "int64"),
    )


def _truths(column: Any) -> NDArray[np.bool_]:
    """False for null."""
    import pyarrow.compute as pc

    found: NDArray[np.bool_] = pc.fill_null(column, False).to_numpy()
    return found


def _numbers(column: "pa.ChunkedArray", kind: str) -> NDArray[Any]:
    import pyarrow as pa

    if column.null_count:
        raise ValueError("a value is null that must not be")
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz))
    numbers: NDArray[Any] = column.cast(kind).to_numpy()
    return numbers


def _set(values: tuple[str, ...]) -> Any:
    import pyarrow as pa

    return pa.array(values)
