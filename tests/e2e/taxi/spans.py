"""TFX's file of Chicago taxi trips as CSV spans, by time."""

import importlib.util
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

SPANS = 3
EMPTY = ("pickup_census_tract",)  # has one value in 15,002 rows


def source() -> Path:
    """The file in the installed tfx package, which is not imported."""
    found = importlib.util.find_spec("tfx")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "examples/chicago_taxi_pipeline/data/simple/data.csv"


def write(root: Path) -> None:
    """`span-0/` (the oldest trips) to `span-2/`, of equal size; the tip itself is replaced by the answer."""
    options = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
    trips = pyarrow.csv.read_csv(source(), convert_options=options).sort_by("trip_start_timestamp")
    fare, tips = trips["fare"], trips["tips"]
    big_tip = pc.and_(pc.greater(fare, 0), pc.greater(tips, pc.multiply(fare, 0.2)))
    trips = trips.append_column("trip", pa.array(np.arange(trips.num_rows)))
    trips = trips.append_column("big_tip", big_tip.cast(pa.int64())).drop_columns(["tips", *EMPTY])
    size = -(-trips.num_rows // SPANS)
    for number in range(SPANS):
        folder = root / f"span-{number}"
        folder.mkdir(parents=True)
        pyarrow.csv.write_csv(trips.slice(number * size, size), folder / "trips.csv")
