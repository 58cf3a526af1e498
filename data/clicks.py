"""The clicks source: MovieLens 100k as spans of 14 days.

The archive holds tab-separated `ml-100k.inter` (user, item, rating, unix seconds), `.user` and `.item`. Checked on the
pinned file: 100,000 ratings of 943 users and 1,682 films, no (user, film) pair twice, nothing missing but two release
years; 16 spans, numbered from 0; written twice, the bytes are equal.
"""

import io
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from data.errors import InputError

SPAN_SECONDS = 14 * 24 * 60 * 60
LIKED_FROM_STARS = 4
_FOLDER = "recbole/dataset_example/ml-100k/ml-100k"
_COLUMNS = {
    "inter": {"user_id": pa.string(), "item_id": pa.string(), "rating": pa.int64(), "timestamp": pa.int64()},
    "user": {"user_id": pa.string(), "age": pa.int64(), "gender": pa.string(), "occupation": pa.string(),
             "zip_code": pa.string()},
    "item": {"item_id": pa.string(), "title": pa.string(), "release_year": pa.string(), "class": pa.string()},
}  # fmt: skip


def tables(archive: Path) -> dict[int, pa.Table]:
    """Span number -> its records, sorted by (timestamp, user_id, item_id).

    Columns: user_id, item_id, gender, occupation, zip_area string; age, release_year (null where the file has no
    year), timestamp (unix seconds), liked (0 or 1) int64; genres list<string>, at least one.

    Raises:
        InputError: the archive lacks a file, or a file is not as described above.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            ratings, users, items = (_read(opened, kind) for kind in ("inter", "user", "item"))
    except (zipfile.BadZipFile, KeyError, pa.ArrowInvalid) as error:
        raise InputError(f"{archive} is not the MovieLens archive that data/clicks.py reads: {error}.") from error
    records = _join(ratings, users, items, archive).sort_by(
        [("timestamp", "ascending"), ("user_id", "ascending"), ("item_id", "ascending")]
    )
    first = pc.min(records["timestamp"])
    # Integer division truncates, and no timestamp is before the first.
    number = pc.divide(pc.subtract(records["timestamp"], first), SPAN_SECONDS)
    return {value: records.filter(pc.equal(number, value)) for value in sorted(pc.unique(number).to_pylist())}


def _read(archive: zipfile.ZipFile, kind: str) -> pa.Table:
    columns = _COLUMNS[kind]
    return pyarrow.csv.read_csv(
        io.BytesIO(archive.read(f"{_FOLDER}.{kind}")),
        # One thread: rows in the order of the file, whatever the machine.
        read_options=pyarrow.csv.ReadOptions(column_names=list(columns), skip_rows=1, use_threads=False),
        # A title may hold a quotation mark: nothing is quoted in these files.
        parse_options=pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False),
        convert_options=pyarrow.csv.ConvertOptions(column_types=columns, null_values=[], strings_can_be_null=False),
    )


def _join(ratings: pa.Table, users: pa.Table, items: pa.Table, archive: Path) -> pa.Table:
    of_user = users.take(_positions(ratings, users, "user_id", archive))
    of_item = items.take(_positions(ratings, items, "item_id", archive))
    # A few films have a note, or a misspelt "unknown", in place of the year.
    has_year = pc.match_substring_regex(of_item["release_year"], r"^\d{4}$")
    year = pc.if_else(has_year, of_item["release_year"], pa.scalar(None, pa.string())).cast(pa.int64())
    return pa.table(
        {
            "user_id": ratings["user_id"],
            "item_id": ratings["item_id"],
            "age": of_user["age"],
            "gender": of_user["gender"],
            "occupation": of_user["occupation"],
            # The first digit of a US code is one of ten groups of states, the first letter of a Canadian one is a
            # province. Three characters would be 382 areas for 943 people: nearly a name, and too few rows to learn.
            "zip_area": pc.utf8_slice_codeunits(of_user["zip_code"], 0, 1),
            "release_year": year,
            "genres": pc.split_pattern(of_item["class"], " "),
            "timestamp": ratings["timestamp"],
            "liked": pc.greater_equal(ratings["rating"], LIKED_FROM_STARS).cast(pa.int64()),
        }
    )


def _positions(ratings: pa.Table, others: pa.Table, key: str, archive: Path) -> pa.ChunkedArray:
    positions = pc.index_in(ratings[key], value_set=others[key])
    if positions.null_count:
        raise InputError(f"{archive}: {positions.null_count} ratings name a {key} that the archive does not describe.")
    return positions
