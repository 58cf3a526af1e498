"""POST /v1/feedback, from the request to the files."""

import asyncio
import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from serving.errors import InputError
from serving.http.message import Request
from serving.impressions.feedback import Feedback, FeedbackSettings
from serving.impressions.reading import read_feedback
from tests.serving.impressions.full_disk import fill
from tests.serving.impressions.making import answered, post, wait_for

ONE = {"request_id": "r", "value": 1, "time": "2026-09-21T14:13:20Z"}


@contextmanager
def taking(folder: object, **settings: Any) -> Iterator[Feedback]:
    feedback = Feedback(FeedbackSettings(str(folder), **settings), "gateway")
    feedback.start()
    try:
        yield feedback
    finally:
        feedback.close()


def rows(folder: object) -> pa.Table:
    now = datetime.now(UTC)
    return read_feedback(str(folder), now - timedelta(hours=1), now + timedelta(hours=1))


def told(folder: object) -> list[str]:
    return sorted(rows(folder)["request_id"].to_pylist())


def test_what_is_accepted_is_in_the_folder_after_the_end(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    with taking(tmp_path, flush_s=1e6) as feedback:
        assert answered(feedback.answer(post([ONE, {"request_id": "s", "value": False, "row": 2}]))) == (
            200,
            {"accepted": 2},
        )
    first, second = sorted(rows(tmp_path).to_pylist(), key=lambda row: str(row["request_id"]))
    assert before <= first.pop("received") == second["received"] == second["time"] <= datetime.now(UTC)
    when = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
    assert first == {"request_id": "r", "row": 0, "label": "click", "value": 1.0, "time": when}
    assert (second["row"], second["value"]) == (2, 0.0)
    assert list((tmp_path / ".journal").iterdir()) == []


def test_feedback_is_written_while_the_gateway_runs(tmp_path: Path) -> None:
    def written(count: int) -> bool:
        return len(told(tmp_path)) == count

    with taking(tmp_path, flush_s=0.02) as feedback:
        for number in range(3):
            assert answered(feedback.answer(post(ONE | {"request_id": str(number)})))[0] == 200
            wait_for(partial(written, number + 1))
    assert told(tmp_path) == ["0", "1", "2"]


def test_a_folder_that_is_an_object_store_has_its_journal_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESSLINE_HOME", str(tmp_path))
    with taking("memory://feedback-test", flush_s=1e6) as feedback:
        assert answered(feedback.answer(post(ONE)))[0] == 200
        assert len(list((tmp_path / "serving").rglob("*.jsonl"))) == 1
    assert told("memory://feedback-test") == ["r"]


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        (post({"request_id": "r"}), 400, "record 0: value is missing"),
        (post([ONE, {"request_id": "r"}, ONE]), 400, "record 1: value is missing. Nothing of this request was taken"),
        (post(b"{"), 400, "not JSON"),
        (post(b"x", encoding=b"gzip"), 400, "gzip"),
        (post(gzip.compress(bytes(200_000)), encoding=b"gzip"), 400, "more than 100000 bytes"),
        (post(bytes(100_001)), 413, "more than 100000 bytes"),
        (post([ONE] * 101), 413, "at most 100"),
        (post(ONE, method="GET"), 405, "POST"),
    ],
)
def test_what_is_refused_says_why_and_leaves_nothing(tmp_path: Path, request_: Request, status: int, says: str) -> None:
    with taking(tmp_path, records=100, body_bytes=100_000) as feedback:
        found, body = answered(feedback.answer(request_))
    assert found == status
    assert says in body["error"]
    assert told(tmp_path) == []


def test_a_compressed_body_is_read(tmp_path: Path) -> None:
    with taking(tmp_path) as feedback:
        assert answered(feedback.answer(post(gzip.compress(orjson.dumps(ONE)), encoding=b"gzip")))[0] == 200
    assert told(tmp_path) == ["r"]


def test_without_a_folder_all_is_refused() -> None:
    with taking("") as feedback:
        assert answered(feedback.answer(post(ONE)))[0] == 404


def test_many_clients_at_once_share_syncs_and_none_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = 0
    real = __import__("os").fdatasync

    def counted(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        real(descriptor)

    async def flood(feedback: Feedback) -> list[int]:
        asked = [feedback.answer(post([ONE | {"request_id": f"{i}-{j}"} for j in range(10)])) for i in range(500)]
        return [response.status for response in await asyncio.gather(*asked)]

    monkeypatch.setattr("os.fdatasync", counted)
    with taking(tmp_path, flush_s=0.01) as feedback:
        assert asyncio.run(flood(feedback)) == [200] * 500
    assert syncs < 250
    assert told(tmp_path) == sorted(f"{i}-{j}" for i in range(500) for j in range(10))


@pytest.mark.parametrize("limit", [{"waiting": 10}, {"waiting_bytes": 600}])
def test_a_flood_is_refused_with_when_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: dict[str, int]
) -> None:
    go = threading.Event()
    monkeypatch.setattr("os.fdatasync", lambda descriptor: go.wait(30))

    async def flood(feedback: Feedback) -> list[tuple[int, bytes]]:
        tasks = [asyncio.ensure_future(feedback.answer(post(ONE | {"request_id": str(i)}))) for i in range(100)]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 50:
            done, _ = await asyncio.wait(tasks, timeout=0.01)
        go.set()
        return [(response.status, response.headers) for response in await asyncio.gather(*tasks)]

    with taking(tmp_path, **limit) as feedback:
        answers = asyncio.run(flood(feedback))
    refused = [headers for status, headers in answers if status == 429]
    assert 80 <= len(refused) < 100
    assert all(b"Retry-After: 1\r\n" in headers for headers in refused)
    assert told(tmp_path) == sorted(str(i) for i, (status, _) in enumerate(answers) if status == 200)


def test_a_client_that_goes_away_does_no_harm(tmp_path: Path) -> None:
    async def impatient(feedback: Feedback) -> int:
        going = asyncio.ensure_future(feedback.answer(post(ONE | {"request_id": "gone"})))
        await asyncio.sleep(0)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        return (await feedback.answer(post(ONE))).status

    with taking(tmp_path) as feedback:
        assert asyncio.run(impatient(feedback)) == 200
    assert told(tmp_path) == ["gone", "r"]


def test_a_full_disk_is_told_with_when_to_come_again_and_taken_again_when_there_is_room(disk: Path) -> None:
    with taking(disk, flush_s=0.02) as feedback:
        assert answered(feedback.answer(post(ONE | {"request_id": "before"})))[0] == 200
        filling = fill(disk)
        # What fits into the rest of a block of the disk is still taken.
        large = [ONE | {"request_id": f"lost-{i}"} for i in range(500)]
        response = asyncio.run(feedback.answer(post(large)))
        assert response.status == 503
        assert b"Retry-After: 10\r\n" in response.headers
        assert "No space left" in orjson.loads(response.body)["error"]
        filling.unlink()
        assert answered(feedback.answer(post(ONE | {"request_id": "after"})))[0] == 200
    assert told(disk) == ["after", "before"]


def test_a_folder_that_cannot_be_written_leaves_all_in_the_journal_until_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.write_text("a file where the folder should be")
    with taking(folder, flush_s=0.01, journal=tmp_path / "journal", journal_bytes=300) as feedback:
        taken = 1
        assert answered(feedback.answer(post(ONE | {"request_id": "000"})))[0] == 200
        wait_for(lambda: "stays in the journal" in caplog.text)
        while (status := answered(feedback.answer(post(ONE | {"request_id": f"{taken:03d}"})))[0]) == 200:
            taken += 1
        assert status == 503  # the journal is full
        folder.unlink()
        wait_for(lambda: len(told(folder)) == taken)
        assert answered(feedback.answer(post(ONE | {"request_id": "after"})))[0] == 200
    assert told(folder) == [*(f"{number:03d}" for number in range(taken)), "after"]
    stays = [record for record in caplog.records if "stays in the journal" in record.getMessage()]
    assert [record.levelname for record in stays] == ["WARNING"] * 2  # when it began, and when it was over


def test_a_journal_that_cannot_be_made_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="journal"):
        Feedback(FeedbackSettings(str(tmp_path), journal=tmp_path / "file" / "journal"), "gateway")
