"""The log as gateways use it: what is recorded is found in files, and requests are never held up."""

import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from serving.gateway.request_id import sampled
from serving.impressions.messages import messages
from serving.impressions.reading import read_impressions
from serving.impressions.recorder import Log, LogSettings
from tests.serving.impressions.full_disk import fill
from tests.serving.impressions.making import T0, Counts, exchange, wait_for

DAY = timedelta(days=1)
THEN = datetime.fromtimestamp(T0, UTC)


@contextmanager
def logging_to(folder: str, counts: Counts, **settings: Any) -> Iterator[Log]:
    log = Log(counts, counts.drop, LogSettings(folder, **settings), "gateway")
    log.start()
    try:
        yield log
    finally:
        log.close()


def rows(folder: object, model: str = "clicks") -> pa.Table:
    return read_impressions(str(folder), model, THEN - DAY, THEN + DAY)


@pytest.fixture(params=["path", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "path" else f"memory://{uuid.uuid4()}"


def test_what_is_recorded_is_counted_at_once_and_found_in_files_after_the_end(folder: str) -> None:
    counts = Counts()
    with logging_to(folder, counts) as log:
        for number in range(1000):
            log.record(exchange(str(number), began_unix_s=T0 + number))
        assert len(counts.counted) == 1000
    table = rows(folder)
    assert sorted(table["request_id"].to_pylist(), key=int) == [str(number) for number in range(1000)]
    assert set(table["request"].to_pylist()) == {'{"instances": [{"x": 1}]}'}
    assert set(table["response"].to_pylist()) == {'{"predictions": [0.25]}'}
    assert not counts.dropped


def test_rows_are_written_while_the_gateway_runs_when_they_are_old_or_many(tmp_path: Path) -> None:
    counts = Counts()
    with logging_to(str(tmp_path / "old"), counts, flush_s=0.05) as log:
        log.record(exchange())
        wait_for(lambda: rows(tmp_path / "old").num_rows == 1)
    with logging_to(str(tmp_path / "many"), counts, flush_s=1e6, flush_rows=100) as log:
        for number in range(250):
            log.record(exchange(str(number)))
        wait_for(lambda: rows(tmp_path / "many").num_rows >= 200)


def test_two_gateways_of_one_name_write_to_one_folder(folder: str) -> None:
    counts = Counts()
    with logging_to(folder, counts, flush_rows=10) as one, logging_to(folder, counts, flush_rows=10) as other:
        for number in range(100):
            (one, other)[number % 2].record(exchange(str(number)))
    assert sorted(map(int, rows(folder)["request_id"].to_pylist())) == list(range(100))


def test_a_request_without_a_plan_is_counted_but_not_logged(tmp_path: Path) -> None:
    counts = Counts()
    with logging_to(str(tmp_path), counts) as log:
        log.record(exchange(routed={"variant": "", "how": "unplanned", "model": "../../anything"}))
    assert len(counts.counted) == 1
    assert counts.numbers == []
    assert list(tmp_path.iterdir()) == []


def test_copies_and_answers_of_stable_in_the_canarys_place_say_so(tmp_path: Path) -> None:
    counts = Counts()
    with logging_to(str(tmp_path), counts) as log:
        log.record(exchange("copy", shadow=True, routed={"variant": "canary"}))
        log.record(exchange("fallen", fell_back=True, code="INTERNAL", response=b""))
    found = {row["request_id"]: row for row in rows(tmp_path).to_pylist()}
    assert (found["copy"]["shadow"], found["copy"]["fell_back"]) == (True, False)
    assert (found["fallen"]["shadow"], found["fallen"]["fell_back"]) == (False, True)
    assert (found["fallen"]["code"], found["fallen"]["response"]) == ("INTERNAL", None)


def test_a_sample_is_that_of_every_gateway_and_the_rest_is_still_counted(tmp_path: Path) -> None:
    counts = Counts()
    with logging_to(str(tmp_path), counts, rate=0.3) as log:
        for number in range(500):
            log.record(exchange(str(number)))
    wanted = {str(number) for number in range(500) if sampled(str(number), 0.3)}
    assert set(rows(tmp_path)["request_id"].to_pylist()) == wanted
    assert set(rows(tmp_path)["rate"].to_pylist()) == {0.3}
    assert len(counts.counted) == 500


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_numbers_of_answers_are_looked_at_so_many_a_second_for_each_variant(tmp_path: Path, rate: float) -> None:
    counts = Counts()
    with logging_to(str(tmp_path), counts, rate=rate, answers_per_s=5) as log:
        for number in range(60):
            second, variant = T0 + number // 30, "stable" if number % 3 else "canary"
            log.record(exchange(str(number), began_unix_s=second, routed={"variant": variant}))
        log.record(exchange("failed", code="INTERNAL", response=b"", began_unix_s=T0 + 5))
    looked = [(one.began_unix_s, one.routed.variant) for one, numbers in counts.numbers if numbers.tolist() == [0.25]]
    assert {one: looked.count(one) for one in looked} == {
        (float(T0 + second), variant): 5 for second in (0, 1) for variant in ("stable", "canary")
    }


def test_answers_too_large_to_be_stored_are_still_looked_at_so_many_bytes_a_second(tmp_path: Path) -> None:
    counts = Counts()
    with logging_to(str(tmp_path), counts, body_bytes=50, answer_bytes_per_s=250) as log:
        for number in range(9):
            log.record(exchange(str(number), response=b'{"predictions": [' + b"1.25, " * 15 + b"0.5]}"))
        log.record(exchange("x", began_unix_s=T0 + 1, response=b'{"predictions": [' + b"1.25, " * 50 + b"0.5]}"))
    assert [len(numbers) for _, numbers in counts.numbers] == [16, 16]
    assert set(rows(tmp_path)["response"].to_pylist()) == {None}
    assert counts.dropped == {"too_large": 10}


def test_without_a_folder_only_numbers_are_looked_at() -> None:
    counts = Counts()
    with logging_to("", counts, numbers_per_answer=1) as log:
        log.record(exchange(response=b'{"predictions": [1.5, 2.5]}'))
    assert [numbers.tolist() for _, numbers in counts.numbers] == [[1.5]]
    assert not counts.dropped


def test_a_grpc_request_is_logged_as_json_and_its_numbers_are_found(tmp_path: Path) -> None:
    request, response = messages()["PredictRequest"](), messages()["PredictResponse"]()
    request.inputs["x"].MergeFrom(messages()["Tensor"](dtype=1, float_val=[0.5]))
    response.outputs["y"].MergeFrom(messages()["Tensor"](dtype=1, float_val=[float("nan")]))
    counts = Counts()
    with logging_to(str(tmp_path), counts) as log:
        log.record(
            exchange(protocol="GRPC", request=request.SerializeToString(), response=response.SerializeToString())
        )
    (row,) = rows(tmp_path).to_pylist()
    assert (row["request"], row["response"]) == ('{"inputs":{"x":0.5}}', '{"outputs": {"y": NaN}}')
    assert np.isnan(counts.numbers[0][1]).tolist() == [True]


def test_bodies_that_are_large_or_garbage_are_left_out_of_their_row_and_counted(tmp_path: Path) -> None:
    counts = Counts()
    with logging_to(str(tmp_path), counts, body_bytes=100) as log:
        log.record(exchange("large", request=b"x" * 101))
        log.record(exchange("large answer", response=b"x" * 101))
        log.record(exchange("garbage", protocol="GRPC", request=b"\xff", response=b""))
        log.record(exchange("failed", code="INVALID_ARGUMENT", request=b"{", response=b""))
    found = {row["request_id"]: (row["request"], row["response"]) for row in rows(tmp_path).to_pylist()}
    assert found["large"] == (None, '{"predictions": [0.25]}')
    assert found["large answer"] == ('{"instances": [{"x": 1}]}', None)
    assert found["garbage"] == found["failed"] == (None, None)
    assert counts.dropped == {"too_large": 2, "undecodable": 2}


@pytest.mark.parametrize("limits", [{"queue_rows": 10}, {"queue_bytes": 7000}])
def test_what_does_not_fit_into_the_queue_is_dropped_and_counted(tmp_path: Path, limits: dict[str, int]) -> None:
    counts = Counts()
    log = Log(counts, counts.drop, LogSettings(str(tmp_path), **limits), "gateway")
    for number in range(50):  # nothing takes them yet
        log.record(exchange(str(number)))
    assert len(counts.counted) == 50
    assert counts.dropped == {"queue_full": 40}
    log.start()
    wait_for(lambda: not log.waiting)
    log.record(exchange("later"))
    log.close()
    assert rows(tmp_path).num_rows == 11
    assert counts.dropped == {"queue_full": 40}


def test_a_full_disk_drops_rows_counts_them_and_is_used_again_when_there_is_room(
    disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counts = Counts()
    with logging_to(str(disk), counts, flush_s=0.01) as log:
        filling = fill(disk)
        for number in range(3):
            log.record(exchange(f"lost {number}"))
            wait_for(lambda: counts.dropped["disk_full"] == len(counts.counted))
        filling.unlink()
        log.record(exchange("kept"))
        wait_for(lambda: rows(disk).num_rows == 1)
    assert rows(disk)["request_id"].to_pylist() == ["kept"]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2  # when it began, and when it was over


def test_any_error_of_a_store_drops_rows_and_counts_them(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counts()
    with logging_to(folder, counts, flush_s=0.01) as log:
        with monkeypatch.context() as broken:
            broken.setattr(log.storage, "write", lambda *_: (_ for _ in ()).throw(RuntimeError("the store is away")))
            log.record(exchange("lost"))
            wait_for(lambda: counts.dropped["write_failed"])
        log.record(exchange("kept"))
        wait_for(lambda: rows(folder).num_rows == 1)
    assert rows(folder)["request_id"].to_pylist() == ["kept"]


def test_a_store_that_hangs_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts, hangs, go = Counts(), threading.Event(), threading.Event()
    log = Log(counts, counts.drop, LogSettings(str(tmp_path), flush_s=0.001, queue_rows=10), "gateway")

    def write(path: str, content: object) -> None:
        hangs.set()
        go.wait()

    monkeypatch.setattr(log.storage, "write", write)
    log.start()
    log.record(exchange())
    assert hangs.wait(30)
    for number in range(100):
        log.record(exchange(str(number)))
    assert counts.dropped["queue_full"] == 90
    log.close(limit_s=0.01)
    go.set()
    wait_for(lambda: not log.waiting)


def test_a_defect_of_the_counts_is_counted_and_nothing_is_raised(tmp_path: Path) -> None:
    class Broken(Counts):
        def predictions(self, *_: object) -> None:
            raise ZeroDivisionError

    counts = Broken()
    with logging_to(str(tmp_path), counts) as log:
        log.record(exchange())
        wait_for(lambda: counts.dropped["defect"])
    assert rows(tmp_path).num_rows == 1
    broken: Any = None
    log = Log(broken, counts.drop, LogSettings(""), "gateway")
    log.record(exchange())
    assert counts.dropped["defect"] == 2


def test_names_of_files_tell_the_gateway_and_its_start(tmp_path: Path) -> None:
    with logging_to(str(tmp_path), Counts()) as log:
        log.record(exchange())
    (path,) = tmp_path.rglob("*.parquet")
    name, start, number = path.stem.split("-")
    assert (name, number) == ("gateway", "1")
    assert start.endswith(f".{os.getpid()}")
