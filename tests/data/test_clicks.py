import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.catalogue import CATALOGUE
from data.clicks import tables
from data.ensure import ensure
from data.errors import InputError
from data.fetch import fetch
from data.parquet import write_span
from data.spans import list_spans
from tests.data.tiny_movielens import DAY, write_movielens


def archive(path: Path, days: tuple[int, ...]) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        write_movielens(opened, days)
    return path


def test_records_hold_what_the_three_files_say(tmp_path: Path) -> None:
    table = tables(archive(tmp_path / "a.zip", (0,)))[0]
    first = table["timestamp"][0].as_py()
    assert table.to_pylist() == [
        {"user_id": "1", "item_id": "10", "age": 24, "gender": "M", "occupation": "technician", "zip_area": "0",
         "release_year": 1995, "genres": ["Drama", "War"], "timestamp": first, "liked": 1},
        {"user_id": "2", "item_id": "11", "age": 53, "gender": "F", "occupation": "other", "zip_area": "V",
         "release_year": None, "genres": ["unknown"], "timestamp": first, "liked": 0},
    ]  # fmt: skip
    assert table.schema == pa.schema(
        [("user_id", pa.string()), ("item_id", pa.string()), ("age", pa.int64()), ("gender", pa.string()),
         ("occupation", pa.string()), ("zip_area", pa.string()), ("release_year", pa.int64()),
         ("genres", pa.list_(pa.string())), ("timestamp", pa.int64()), ("liked", pa.int64())]
    )  # fmt: skip


def test_a_span_is_fourteen_days_from_the_first_record(tmp_path: Path) -> None:
    spans = tables(archive(tmp_path / "a.zip", (30, 0, 13, 14, 27)))
    first = spans[0]["timestamp"][0].as_py()
    days = {number: [(at - first) // DAY for at in table["timestamp"].to_pylist()] for number, table in spans.items()}
    assert days == {0: [0, 0, 13, 13], 1: [14, 14, 27, 27], 2: [30, 30]}


def test_a_rating_of_an_unknown_user_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        write_movielens(opened)
    with zipfile.ZipFile(tmp_path / "a.zip") as old, zipfile.ZipFile(tmp_path / "b.zip", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content.replace(b"2\t53\tF", b"3\t53\tF"))
    with pytest.raises(InputError, match="6 ratings name a user_id that the archive does not describe"):
        tables(tmp_path / "b.zip")


@pytest.mark.parametrize("content", [b"", b"not a zip file"])
def test_an_archive_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(InputError, match="not the MovieLens archive"):
        tables(tmp_path / "a.zip")


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr("a.txt", "a")
    with pytest.raises(InputError, match="not the MovieLens archive"):
        tables(tmp_path / "a.zip")


@pytest.fixture(scope="module")
def clicks() -> pa.Table:
    return pa.concat_tables(pq.read_table(span.files[0]) for span in list_spans(ensure("clicks")))


def test_clicks_has_100_000_records_in_16_spans_in_order_of_time(clicks: pa.Table) -> None:
    assert [span.number for span in list_spans(ensure("clicks"))] == list(range(16))
    assert clicks.num_rows == 100_000
    at = clicks["timestamp"].to_pylist()
    assert at == sorted(at)
    assert len(set(zip(clicks["user_id"].to_pylist(), clicks["item_id"].to_pylist(), strict=True))) == 100_000


def test_only_release_years_are_missing(clicks: pa.Table) -> None:
    assert {name: clicks[name].null_count for name in clicks.column_names if clicks[name].null_count} == {
        "release_year": 15
    }


def test_the_real_spans_have_equal_bytes_when_written_again(tmp_path: Path) -> None:
    root = ensure("clicks")
    for number, table in tables(fetch(CATALOGUE["clicks"].package)).items():
        again = write_span(tmp_path, number, table).read_bytes()
        # Compared outside of the assertion: a difference of long bytes would be spelt out.
        equal = again == (root / f"span-{number}" / "records.parquet").read_bytes()
        assert equal, f"span {number} differs"
