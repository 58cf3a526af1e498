"""Segments: whose they are, and what is in them after a fault."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.home import PROJECT
from serving.impressions.journal import Journal, lock
from tests.serving.impressions.full_disk import fill

ANOTHER_PROCESS = """
import sys
from pathlib import Path
from serving.impressions.journal import Journal
journal = Journal(Path(sys.argv[1]), "other", 1000)
journal.append(b"theirs\\n")
print("written", flush=True)
sys.stdin.read()
"""


def journal(folder: Path, start: str = "ours", most_bytes: int = 1 << 20) -> Journal:
    return Journal(folder, start, most_bytes)


def test_what_was_appended_is_in_the_segment(tmp_path: Path) -> None:
    ours = journal(tmp_path / "new" / "folder")
    assert ours.rotate() == []
    ours.append(b"one\n")
    ours.append(b"two\nthree\n")
    (segment,) = ours.rotate()
    assert segment.read() == b"one\ntwo\nthree\n"
    ours.append(b"four\n")
    assert segment.read() == b"one\ntwo\nthree\n"
    (other,) = ours.rotate()
    assert other.path != segment.path
    for one in (segment, other):
        one.remove()
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_a_segment_belongs_to_its_process_until_that_is_dead(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ANOTHER_PROCESS, str(tmp_path)]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "written\n"
        assert journal(tmp_path).abandoned() == []
        other.kill()
        other.wait(30)
        first, second = journal(tmp_path), journal(tmp_path, "third")
        (segment,) = first.abandoned()
        assert second.abandoned() == []  # the first to lock it has it
        assert segment.read() == b"theirs\n"
        segment.remove()
        assert second.abandoned() == []


def test_an_abandoned_segment_without_anything_is_cleaned_away(tmp_path: Path) -> None:
    (tmp_path / "dead-1.jsonl").write_bytes(b"")
    (tmp_path / "note.txt").write_text("not ours")
    assert journal(tmp_path).abandoned() == []
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


@pytest.mark.parametrize("again", [False, True])
def test_a_segment_that_is_removed_while_it_is_being_locked_is_not_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    path = tmp_path / "dead-1.jsonl"
    path.write_bytes(b"x\n")
    real = fcntl.flock

    def removed_meanwhile(descriptor: int, operation: int) -> None:
        path.rename(tmp_path / "removed")
        if again:
            path.write_bytes(b"another\n")
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", removed_meanwhile)
    assert lock(path) is None


def test_a_journal_that_closes_leaves_what_it_holds_to_others(tmp_path: Path) -> None:
    ours = journal(tmp_path)
    ours.append(b"one\n")
    ours.close()
    (segment,) = journal(tmp_path, "next").abandoned()
    assert segment.read() == b"one\n"


def test_on_a_full_disk_lines_are_refused_whole_and_taken_again_when_there_is_room(disk: Path) -> None:
    ours = journal(disk)
    ours.append(b"before\n")
    filling = fill(disk)
    refused = bytes(5000) + b"\n"  # a part of it fits
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            ours.append(refused)
    filling.unlink()
    ours.append(b"after\n")
    (segment,) = ours.rotate()
    assert segment.read() == segment.path.read_bytes() == b"before\nafter\n"
    segment.release()


def test_a_full_segment_refuses_lines_until_it_is_rotated(tmp_path: Path) -> None:
    ours = journal(tmp_path, most_bytes=10)
    ours.append(b"12345678\n")
    with pytest.raises(OSError, match="full") as raised:
        ours.append(b"90\n")
    assert raised.value.errno == errno.ENOSPC
    ours.rotate()
    ours.append(b"90\n")


def test_a_disk_that_fails_to_sync_costs_the_lines_of_that_sync_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = journal(tmp_path)
    ours.append(b"before\n")
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", _fails)
        with pytest.raises(OSError, match="broken"):
            ours.append(b"lost\n")
    ours.append(b"after\n")
    segments = ours.rotate()
    assert [one.read() for one in segments] == [b"before\n", b"after\n"]


def _fails(descriptor: int) -> None:
    raise OSError(errno.EIO, "the disk is broken")


def test_the_folder_may_be_removed_while_it_is_used(tmp_path: Path) -> None:
    ours = journal(tmp_path / "journal")
    ours.append(b"one\n")
    for path in (tmp_path / "journal").iterdir():
        path.unlink()
    (tmp_path / "journal").rmdir()
    (segment,) = ours.rotate()
    assert segment.read() == b"one\n"
    segment.remove()
    ours.append(b"two\n")
    assert ours.rotate()[0].read() == b"two\n"
