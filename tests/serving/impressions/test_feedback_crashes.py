"""kill -9 at every point between the acknowledgement and the file: nothing is lost, nothing is there twice."""

import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from serving.home import PROJECT
from serving.impressions.feedback import Feedback, FeedbackSettings
from serving.impressions.reading import read_feedback
from tests.serving.impressions.killed_gateway import TAKEN, WHILE_ROLLING, WHILE_TAKING
from tests.serving.impressions.making import answered, post, wait_for


def kill(folder: Path, point: str, taken: int = TAKEN) -> list[str]:
    """Runs a gateway until it dies there; the ids that it accepted."""
    command = [sys.executable, "-m", "tests.serving.impressions.killed_gateway", str(folder), point, str(taken)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -9, done.stderr
    return done.stdout.split()


def rows(folder: Path) -> Counter[tuple[str, int]]:
    now = datetime.now(UTC)
    table = read_feedback(str(folder), now - timedelta(hours=1), now + timedelta(hours=1))
    return Counter(zip(table["request_id"].to_pylist(), table["row"].to_pylist(), strict=True))


def recover(folder: Path) -> None:
    feedback = Feedback(FeedbackSettings(str(folder), flush_s=1e6), "next")
    feedback.start()
    feedback.close()
    assert list((folder / ".journal").iterdir()) == []


@pytest.mark.parametrize("point", [*WHILE_TAKING, *WHILE_ROLLING])
def test_a_gateway_that_is_killed_loses_nothing_and_writes_nothing_twice(tmp_path: Path, point: str) -> None:
    accepted = kill(tmp_path, point)
    assert len(accepted) == TAKEN - (point in WHILE_TAKING)
    recover(tmp_path)
    found = rows(tmp_path)
    assert set(found.values()) == {1}
    assert {(one, row) for one in accepted for row in (0, 1)} <= found.keys()
    if point == "in the middle of a line":
        assert len(found) == 2 * len(accepted)  # a request is there whole or not at all
    recover(tmp_path)
    assert rows(tmp_path) == found


def test_a_gateway_that_lives_takes_over_what_dead_ones_left(tmp_path: Path) -> None:
    living = Feedback(FeedbackSettings(str(tmp_path), flush_s=0.05), "living")
    living.start()
    accepted = kill(tmp_path, "before Parquet is written") + kill(tmp_path, "before the segment is removed")
    assert answered(living.answer(post({"request_id": "own", "value": 1})))[0] == 200
    wanted = Counter([("own", 0), *((one, row) for one in accepted for row in (0, 1))])
    wait_for(lambda: rows(tmp_path) == wanted)
    wait_for(lambda: list((tmp_path / ".journal").iterdir()) == [])
    living.close()
    assert rows(tmp_path) == wanted


def test_recovery_that_is_killed_itself_is_recovered(tmp_path: Path) -> None:
    accepted = kill(tmp_path, "before Parquet is written")
    for point in WHILE_ROLLING:  # the last one is past the end
        kill(tmp_path, point, taken=0)
    recover(tmp_path)
    assert rows(tmp_path) == Counter((one, row) for one in accepted for row in (0, 1))


def test_broken_lines_of_a_dead_gateway_do_not_stop_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / ".journal"
    folder.mkdir()
    good = b'[1790000000000000,[["%s",0,"click",1.0,1790000000000000]]]\n'
    broken = b"\x00\x00\n{}\n[1,2]\n[1790000000000000,[[1]]]\n"
    (folder / "dead-1.jsonl").write_bytes(good % b"a" + broken + good % b"b" + b"[17900000")
    recover(tmp_path)
    then = datetime.fromtimestamp(1_790_000_000, UTC)
    table = read_feedback(str(tmp_path), then, then + timedelta(seconds=1))
    assert sorted(table["request_id"].to_pylist()) == ["a", "b"]
    assert "1 torn and 4 broken lines" in caplog.text
