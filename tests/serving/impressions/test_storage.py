"""Folders that files are put into."""

import os
import time
import uuid
from pathlib import Path

import pytest

from serving.errors import InputError
from serving.impressions.storage import UNFINISHED, Storage
from tests.serving.impressions.full_disk import fill


@pytest.fixture(params=["path", "file", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    folders = {
        "path": str(tmp_path / "a b"),
        "file": f"file://{tmp_path}/a b",
        "memory": f"memory://{uuid.uuid4()}",
    }
    return Storage(folders[request.param])


def test_what_is_written_is_listed_and_read(storage: Storage) -> None:
    assert storage.names("x/y") == []
    storage.write("x/y/b", b"two")
    storage.write("x/y/a", b"one")
    assert storage.names("x") == ["y"]
    assert storage.names("x/y") == ["a", "b"]
    with storage.open("x/y/b") as file:
        assert file.read() == b"two"


def test_a_second_file_of_a_name_replaces_the_first(storage: Storage) -> None:
    storage.write("x/a", b"first")
    storage.write("x/a", memoryview(b"second"))
    assert storage.names("x") == ["a"]
    with storage.open("x/a") as file:
        assert file.read() == b"second"


def test_what_is_not_there_cannot_be_opened(storage: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        storage.open("x/none")


def test_a_file_where_a_folder_should_be_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    assert Storage(str(tmp_path)).names("x") == []


@pytest.mark.parametrize("url", ["nosuch://bucket/x", "gs3://x"])
def test_a_url_that_nothing_knows_is_refused_with_what_to_do(url: str) -> None:
    with pytest.raises(InputError, match="gcsfs"):
        Storage(url)


def test_a_full_disk_leaves_nothing_half_written(disk: Path) -> None:
    storage = Storage(str(disk))
    storage.write("x/a", b"before")
    filling = fill(disk)
    for path in ("x/a", "x/b", "new/c"):
        with pytest.raises(OSError, match="No space left"):
            storage.write(path, bytes(100_000))
    assert storage.names("x") == ["a"]
    assert list((disk / UNFINISHED).iterdir()) == []
    filling.unlink()
    storage.write("x/b", bytes(100_000))
    assert storage.names("x") == ["a", "b"]
    assert (disk / "x/a").read_bytes() == b"before"


def test_only_what_was_left_unfinished_long_ago_is_cleaned_away(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.clean()
    (tmp_path / UNFINISHED).mkdir()
    old, fresh = (tmp_path / UNFINISHED / name for name in ("old.1", "fresh.2"))
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    storage.clean()
    assert [path.name for path in (tmp_path / UNFINISHED).iterdir()] == ["fresh.2"]
