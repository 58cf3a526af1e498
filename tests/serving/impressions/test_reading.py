"""Impressions and feedback as tables, for whoever makes data of them."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from serving.errors import InputError
from serving.impressions import schema
from serving.impressions.reading import RELIST_EVERY, Files, read_feedback, read_impressions
from serving.impressions.storage import Storage
from tests.serving.impressions.making import HOUR, T0
from tests.serving.impressions.naive_join import MODEL, Said, Shown, put

THEN = datetime.fromtimestamp(T0, UTC)


@pytest.fixture(params=["path", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(str(tmp_path) if request.param == "path" else f"memory://{uuid.uuid4()}")


def seconds(count: float) -> datetime:
    return THEN + timedelta(seconds=count)


def test_impressions_are_those_of_the_model_and_the_time_its_end_left_out(storage: Storage) -> None:
    put(storage, "one", [Shown("a", 0.0), Shown("b", 10.0), Shown("c", 20.0)])
    put(storage, "two", [Shown("d", 7200.0), Shown("e", 19.999)])  # filed by its first row
    table = read_impressions(storage.folder, MODEL, seconds(10), seconds(20))
    assert table.schema.equals(schema.impressions())
    assert table["request_id"].to_pylist() == ["b"]
    both = read_impressions(storage.folder, MODEL, seconds(0), seconds(7201))
    assert sorted(both["request_id"].to_pylist()) == ["a", "b", "c", "d", "e"]
    assert read_impressions(storage.folder, "another", seconds(0), seconds(7201)).num_rows == 0


def test_feedback_is_that_which_came_in_the_time_with_its_repetitions(storage: Storage) -> None:
    put(storage, "one", [Said("a", 1.0, 0.0, 5.0), Said("a", 1.0, 0.0, 5.0), Said("b", 1.0, 5.0, 50.0)])
    table = read_feedback(storage.folder, seconds(5), seconds(50))
    assert table.schema.equals(schema.feedback())
    assert table["request_id"].to_pylist() == ["a", "a"]


def test_where_there_is_nothing_the_table_is_empty(storage: Storage) -> None:
    folder = f"{storage.folder}/none"
    assert read_impressions(folder, MODEL, seconds(0), seconds(1)).schema.equals(schema.impressions())
    assert read_feedback(folder, seconds(0), seconds(1)).num_rows == 0


def test_a_url_that_nothing_knows_is_refused() -> None:
    with pytest.raises(InputError, match="nosuch"):
        read_feedback("nosuch://x", seconds(0), seconds(1))


def test_garbage_is_left_out_and_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(Storage(str(tmp_path)), "good", [Said("a")])
    (tmp_path / "feedback" / HOUR / "bad.parquet").write_bytes(b"garbage")
    assert read_feedback(str(tmp_path), seconds(0), seconds(1))["request_id"].to_pylist() == ["a"]
    assert "bad.parquet is left out" in caplog.text


def test_folders_that_are_none_of_ours_are_passed_over(storage: Storage) -> None:
    put(storage, "good", [Said("a")])
    for path in ("feedback/x/hour=22/a", f"feedback/{HOUR[:15]}/minute=1/a", "feedback/date=9999-99-99/hour=01/a"):
        storage.write(f"{path}.parquet", b"garbage")
    files = Files(storage, schema.FEEDBACK, 0)
    assert files.fresh() == [f"feedback/{HOUR}/good.parquet"]


def test_what_comes_late_into_an_hour_that_is_long_over_is_found_in_time(storage: Storage) -> None:
    files = Files(storage, schema.FEEDBACK, 0)
    assert files.fresh() == []
    put(storage, "late", [Said("a")])
    found = [path for _ in range(RELIST_EVERY) for path in files.fresh()]
    assert found == [f"feedback/{HOUR}/late.parquet"]
    files.again(found[0])
    assert [path for _ in range(RELIST_EVERY) for path in files.fresh()] == found
