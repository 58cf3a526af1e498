"""The join as the controller uses it."""

import asyncio
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.impressions import reading
from serving.impressions.feedback import Feedback, FeedbackSettings
from serving.impressions.join import Joined, outcomes
from serving.impressions.reading import RELIST_EVERY
from serving.impressions.recorder import Log, LogSettings
from serving.impressions.storage import Storage
from tests.serving.impressions.making import HOUR, T0, Counts, exchange, post
from tests.serving.impressions.naive_join import LABEL, MODEL, ROLLOUT, Query, Said, Shown, naive, put, read

THEN = datetime.fromtimestamp(T0, UTC)
JOINS_READ = "serving.impressions.join.read"
NOTHING = {"stable": 0, "canary": 0}


@pytest.fixture
def storage() -> Storage:
    return Storage(f"memory://{uuid.uuid4()}")


def joined(folder: str, since: datetime = THEN, lag_s: float = 0.0) -> Joined:
    return Joined(folder, MODEL, ROLLOUT, LABEL, 60.0, since, lag_s)


def test_where_there_is_nothing_there_are_empty_arrays(storage: Storage, tmp_path: Path) -> None:
    for folder in (storage.folder, str(tmp_path / "none")):
        nothing = joined(folder)
        assert nothing.update() == 0
        found = nothing.outcomes()
        assert read(found) == read(outcomes(folder, MODEL, ROLLOUT, THEN, None, LABEL, 60.0))
        assert found.variants["stable"].impressions.dtype == found.variants["canary"].impressions.dtype == np.int64
        assert found.variants["stable"].values.dtype == np.float64
        assert [one.keys for one in found.variants.values()] == [0, 0]


def test_impressions_without_any_feedback_and_feedback_without_any_impressions(storage: Storage) -> None:
    kept = joined(storage.folder)
    put(storage, "f", [Said("a"), Said("b"), Said("a")])
    kept.update()
    assert read(kept.outcomes())[3:] == (0, 0, 0, 2, 0)
    put(storage, "s", [Shown("c", key=1, how="key"), Shown("d", variant="canary")])
    again(kept)
    found = read(kept.outcomes())
    assert found.units == {"stable": [(1, 0.0)], "canary": [(1, 0.0)]}
    assert found.keys == {"stable": 1, "canary": 0}
    assert (found.unknown, found.duplicates) == (2, 0)


def again(kept: Joined) -> int:
    """Looks so often that hours that are long over are looked at as well; the number of files that were new."""
    return sum(kept.update() for _ in range(RELIST_EVERY))


def test_a_file_is_read_once(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []

    def counted(storage: Storage, path: str, names: Any) -> Any:
        reads.append(path)
        return reading.read(storage, path, names)

    monkeypatch.setattr(JOINS_READ, counted)
    kept = joined(storage.folder)
    put(storage, "s1", [Shown("a")])
    assert kept.update() == 1
    put(storage, "s2", [Shown("b")])
    put(storage, "f1", [Said("b")])
    assert again(kept) == 2
    assert again(kept) == 0
    assert len(reads) == len(set(reads)) == 3
    assert read(kept.outcomes()).units["stable"] == [(1, 0.0), (1, 1.0)]


def test_files_that_come_into_this_hour_are_found_at_once(storage: Storage) -> None:
    since = time.time() - T0
    kept = joined(storage.folder, since=datetime.now(UTC) - timedelta(minutes=1))
    for number in range(3):
        assert kept.update() == 0
        put(storage, f"s{number}", [Shown(str(number), since)])
        assert kept.update() == 1


def test_hours_before_the_rollout_are_not_looked_at(storage: Storage) -> None:
    put(storage, "old", [Shown("old", -7200.0)])
    put(storage, "new", [Shown("new")])
    kept = joined(storage.folder)
    assert again(kept) == 1
    assert read(kept.outcomes()).units["stable"] == [(1, 0.0)]


def test_feedback_on_what_was_shown_shortly_before_the_rollout_is_known_but_left_out(storage: Storage) -> None:
    put(storage, "before", [Shown("a", -30.0, rollout=None)])
    put(storage, "f", [Said("a", 1.0, 5.0, 5.0)])
    kept = joined(storage.folder)
    kept.update()
    assert read(kept.outcomes()) == ({"stable": [], "canary": []}, NOTHING, NOTHING, 0, 0, 0, 0, 0)


def test_files_that_are_torn_garbage_or_of_another_kind_are_counted_and_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Storage(str(tmp_path))
    put(storage, "good", [Shown("a")])
    folder = tmp_path / "impressions" / f"model={MODEL}" / HOUR
    whole = (folder / "good.parquet").read_bytes()
    bad = {
        "torn": whole[:-50],
        "empty": b"",
        "garbage": b"PAR1" + bytes(range(256)) * 4 + b"PAR1",
        "damaged": whole[:60] + bytes(40) + whole[100:],
    }
    for name, content in bad.items():
        (folder / f"{name}.parquet").write_bytes(content)
    (folder / ".hidden.parquet").write_bytes(b"x")
    (folder / "note.txt").write_text("x")
    put(storage, "said", [Said("a")])
    (tmp_path / "feedback" / HOUR / "other.parquet").write_bytes(whole)  # has no such columns
    kept = joined(str(tmp_path))
    for _ in range(3):
        again(kept)
        found = kept.outcomes()
        assert found.unreadable == 5
        assert read(found).units["stable"] == [(1, 1.0)]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 5
    assert all("is left out" in one for one in told)


def test_a_file_that_could_not_be_fetched_is_tried_again(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    put(storage, "s", [Shown("a")])
    kept = joined(storage.folder)
    with monkeypatch.context() as away:
        away.setattr(JOINS_READ, lambda *_: (_ for _ in ()).throw(ConnectionError("the store is away")))
        kept.update()
    assert kept.outcomes().unreadable == 1
    again(kept)
    assert kept.outcomes().unreadable == 0
    assert read(kept.outcomes()).units["stable"] == [(1, 0.0)]


def test_a_hundred_thousand_repetitions_change_nothing(storage: Storage) -> None:
    put(storage, "s", [Shown("a", key=1, how="key"), Shown("b", key=1, how="key")])
    for part in range(4):
        put(storage, f"f{part}", [Said("a", 1.0, 5.0, 5.0 + number / 1000) for number in range(25_000)])
    found = outcomes(storage.folder, MODEL, ROLLOUT, THEN, None, LABEL, 60.0)
    assert read(found).units["stable"] == [(2, 1.0)]
    assert (found.duplicates, found.late, found.unknown) == (99_999, 0, 0)


def test_a_hundred_thousand_requests_with_one_id_are_one_impression(storage: Storage) -> None:
    for part in range(4):
        put(storage, f"s{part}", [Shown("a", number / 10_000) for number in range(25_000)])
    found = outcomes(storage.folder, MODEL, ROLLOUT, THEN, None, LABEL, 60.0)
    assert read(found).units["stable"] == [(1, 0.0)]
    assert found.repeated == 99_999


def test_a_correction_counts_and_a_repetition_with_a_later_time_does_not_make_it_late(storage: Storage) -> None:
    put(storage, "s", [Shown("a"), Shown("b", variant="canary")])
    corrected = [Said("a", 1.0, 10.0, 10.0), Said("a", 0.0, 20.0, 20.0)]
    repeated = [Said("b", 1.0, 10.0, 10.0), Said("b", 1.0, 1000.0, 1000.0)]
    put(storage, "f", corrected + repeated)
    found = outcomes(storage.folder, MODEL, ROLLOUT, THEN, None, LABEL, 60.0)
    assert read(found).units == {"stable": [(1, 0.0)], "canary": [(1, 1.0)]}
    assert (found.duplicates, found.late) == (2, 0)


def test_several_rows_of_a_request_add_up_for_the_users_key(storage: Storage) -> None:
    put(storage, "s", [Shown(name, key=9, how="key") for name in "abc"] + [Shown("d")])
    put(storage, "f", [Said("a", row=0), Said("a", row=7), Said("b", 0.5), Said("d", 2.0)])
    found = outcomes(storage.folder, MODEL, ROLLOUT, THEN, None, LABEL, 60.0)
    assert read(found).units["stable"] == [(1, 2.0), (3, 2.5)]


def test_clocks_that_differ_a_little_do_no_harm_and_a_lot_is_told_apart(storage: Storage) -> None:
    put(storage, "s", [Shown(name, 100.0) for name in "abcd"])
    told = [Said("a", 1.0, 95.0), Said("b", 1.0, 94.999999), Said("c", 1.0, 160.0), Said("d", 1.0, 160.000001)]
    put(storage, "f", told)
    found = outcomes(storage.folder, MODEL, ROLLOUT, THEN, None, LABEL, 60.0, skew_s=5.0)
    assert read(found).units["stable"] == [(1, 0.0), (1, 0.0), (1, 1.0), (1, 1.0)]
    assert (found.early, found.late) == (1, 1)


def test_of_two_with_the_same_time_the_first_to_come_counts(storage: Storage) -> None:
    put(storage, "s", [Shown("a")])
    put(storage, "f", [Said("a", 1.0, 10.0, 12.0), Said("a", 2.0, 10.0, 11.0), Said("a", 3.0, 10.0, 11.0)])
    assert read(outcomes(storage.folder, MODEL, ROLLOUT, THEN, None, LABEL, 60.0)).units["stable"] == [(1, 2.0)]


def test_young_impressions_wait_for_their_window_and_for_the_gateways_to_write(storage: Storage) -> None:
    put(storage, "s", [Shown("a", 0.0), Shown("b", 10.0)])
    kept = joined(storage.folder, lag_s=15.0)
    kept.update()
    for seconds, judged in ((74.9, 0), (75.0, 1), (84.9, 1), (85.0, 2)):
        found = kept.outcomes(now=THEN + timedelta(seconds=seconds)).variants["stable"]
        assert (len(found.impressions), found.waiting) == (judged, 2 - judged)


def test_a_key_that_met_both_variants_is_of_the_first(storage: Storage) -> None:
    some = [(1, 0.0, "stable"), (1, 5.0, "canary"), (2, 3.0, "canary"), (2, 9.0, "stable"), (3, 1.0, "canary")]
    shown = [Shown(f"r{number}", at, key, variant, how="key") for number, (key, at, variant) in enumerate(some)]
    put(storage, "s", shown)
    found = outcomes(storage.folder, MODEL, ROLLOUT, THEN, None, LABEL, 60.0)
    assert {name: one.keys for name, one in found.variants.items()} == {"stable": 1, "canary": 2}
    assert read(found) == naive(shown, [], Query())


def test_failed_requests_are_no_impressions_but_their_keys_are_counted(storage: Storage) -> None:
    put(storage, "s", [Shown("a", key=1, how="key", variant="canary", code="INTERNAL", fell_back=True)])
    put(storage, "f", [Said("a")])
    found = outcomes(storage.folder, MODEL, ROLLOUT, THEN, None, LABEL, 60.0)
    assert read(found).units == {"stable": [], "canary": []}
    assert read(found).keys == {"stable": 0, "canary": 1}
    assert found.unknown == 0


@pytest.mark.parametrize("count", [1000])
def test_memory_is_as_the_module_says(storage: Storage, count: int) -> None:
    put(storage, "s", [Shown(str(number), key=number, how="key") for number in range(count)])
    put(storage, "f", [Said(str(number)) for number in range(count)])
    kept = joined(storage.folder)
    kept.update()
    kept.outcomes()
    assert kept.bytes <= count * (28 + 36 + 25)


def test_what_gateways_write_is_what_the_controller_reads(tmp_path: Path) -> None:
    """Two gateways and their clients at work while the controller looks, all at once."""
    began = datetime.now(UTC) - timedelta(seconds=1)
    counts = Counts()
    logs = [Log(counts, counts.drop, LogSettings(str(tmp_path), flush_s=0.02), "gateway") for _ in range(2)]
    takers = [Feedback(FeedbackSettings(str(tmp_path), flush_s=0.02), "gateway") for _ in range(2)]
    kept = Joined(str(tmp_path), MODEL, ROLLOUT, LABEL, 3600.0, began)
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.01):
            kept.update()
            kept.outcomes()

    async def work(which: int) -> None:
        for number in range(200):
            variant = "canary" if number % 4 == 0 else "stable"
            routed = {"variant": variant, "key_hash": which * 1000 + number % 50}
            logs[which].record(exchange(f"{which}-{number}", began_unix_s=time.time(), routed=routed))
            if number % 2 == 0:
                # At the other gateway, and told twice, as a client does that had no answer.
                for _ in range(2):
                    body = {"request_id": f"{which}-{number}", "value": 1}
                    assert (await takers[1 - which].answer(post(body))).status == 200

    looking = threading.Thread(target=look)
    parts: list[Log | Feedback] = [*logs, *takers]
    for part in parts:
        part.start()
    looking.start()
    threads = [threading.Thread(target=asyncio.run, args=(work(which),)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for part in parts:
        part.close()
    done.set()
    looking.join(60)
    kept.update()
    for one in (kept, Joined(str(tmp_path), MODEL, ROLLOUT, LABEL, 3600.0, began)):
        one.update()
        found = one.outcomes(now=datetime.now(UTC) + timedelta(hours=2))
        assert {name: int(some.impressions.sum()) for name, some in found.variants.items()} == {
            "stable": 300,
            "canary": 100,
        }
        assert {name: some.values.sum() for name, some in found.variants.items()} == {"stable": 100.0, "canary": 100.0}
        assert (found.duplicates, found.late, found.early, found.unknown, found.repeated) == (200, 0, 0, 0, 0)
