"""What a watch takes for a plan, and what it does while there is none."""

import asyncio
import contextlib
import logging
import os
import threading
from pathlib import Path

import pytest

from serving.gateway import plan_watch
from serving.gateway.plan_watch import PlanWatch
from serving.traffic_plan import ModelPlan, Target, TrafficPlan, encode, write


def plan(generation: int, version: int = 1) -> TrafficPlan:
    return TrafficPlan(generation, {"clicks": ModelPlan("clicks", Target(version))})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "plan.json"


def aged(path: Path, seconds: float) -> None:
    """Makes the file that old, so that the watch relies on its times."""
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns - int(seconds * 1e9)))


def test_no_file_is_no_plan_until_it_comes(path: Path) -> None:
    watch = PlanWatch(path)
    assert not watch.check()
    assert (watch.plan, watch.refusals) == (TrafficPlan(), 0)
    write(path, plan(1))
    assert watch.check()
    assert watch.plan == plan(1)


def test_a_plan_is_taken_once(path: Path) -> None:
    write(path, plan(1))
    watch = PlanWatch(path)
    assert watch.check()
    taken = watch.plan
    assert not watch.check()
    write(path, plan(1))  # published again, such as by a controller that has started anew
    assert not watch.check()
    assert watch.plan is taken


def test_each_new_plan_is_taken_and_a_file_that_goes_away_changes_nothing(path: Path) -> None:
    watch = PlanWatch(path)
    for generation in (1, 2, 5):
        write(path, plan(generation, version=generation))
        assert watch.check()
        assert watch.plan == plan(generation, version=generation)
    path.unlink()
    assert not watch.check()
    assert watch.plan.generation == 5
    write(path, plan(6))
    assert watch.check()
    assert watch.refusals == 0


WHOLE = encode(plan(8)).encode()


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\0" * 100, b"{", b"null", b"[]", b"\xff\xfe", b"[" * 100_000, b"{}", WHOLE[:-40]),
        *(WHOLE.replace(b'"format": 1', b'"format": 2'), WHOLE.replace(b"8", b"1e400"), b" " * (17 << 20)),
    ],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_plan_leaves_the_last_good_one(path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    write(path, plan(7))
    watch = PlanWatch(path)
    watch.check()
    path.write_bytes(content)
    for _ in range(5):
        assert not watch.check()
    assert (watch.plan, watch.refusals) == (plan(7), 1)
    assert len([one for one in caplog.records if one.levelno >= logging.ERROR]) == 1
    assert "generation 7 stays" in caplog.text
    write(path, plan(9))
    assert watch.check()


def test_a_file_that_grows_as_it_is_looked_at_is_taken_when_it_is_whole(path: Path) -> None:
    content = encode(plan(3)).encode()
    watch = PlanWatch(path)
    for size in range(len(content) - 1):  # without the line's end it is whole as well
        path.write_bytes(content[:size])
        assert not watch.check()
    path.write_bytes(content)
    assert watch.check()
    assert watch.plan == plan(3)


def test_a_plan_in_place_with_the_same_size_and_time_is_seen(path: Path) -> None:
    write(path, plan(3, version=1))
    watch = PlanWatch(path)
    watch.check()
    times = path.stat()
    path.write_text(encode(plan(4, version=2)))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as within one tick of the file system's clock
    assert watch.check()
    assert watch.plan == plan(4, version=2)


def test_an_old_file_is_not_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, plan(3))
    aged(path, 60)
    watch = PlanWatch(path)
    assert watch.check()
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it was read again"))
    assert not watch.check()


def test_an_older_plan_is_refused_but_by_a_new_process(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(path, plan(9))
    watch = PlanWatch(path)
    watch.check()
    write(path, plan(8))
    assert not watch.check()
    assert not watch.check()
    assert (watch.plan, watch.refusals) == (plan(9), 1)
    assert "older than 9" in caplog.text
    assert PlanWatch(path).check()


def test_another_plan_of_the_same_generation_is_taken_so_that_all_gateways_agree(path: Path) -> None:
    write(path, plan(9))
    watch = PlanWatch(path)
    watch.check()
    write(path, plan(9, version=2))
    assert watch.check()
    assert watch.plan == plan(9, version=2)


def test_a_folder_and_a_pipe_are_no_plans_and_do_not_hold_up_the_gateway(path: Path) -> None:
    watch = PlanWatch(path)
    path.mkdir()
    assert not watch.check()
    path.rmdir()
    os.mkfifo(path)
    assert not watch.check()
    assert watch.refusals == 1  # for the same reason
    path.unlink()
    write(path, plan(1))
    assert watch.check()


def test_a_file_that_cannot_be_read_is_refused_until_it_can(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    write(path, plan(1))
    aged(path, 60)
    watch = PlanWatch(path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", denied)
        assert not watch.check()
        assert not watch.check()
    assert watch.refusals == 1
    assert watch.check()


def test_a_path_through_a_file_is_no_plan(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    watch = PlanWatch(tmp_path / "file" / "plan.json")
    assert not watch.check()
    assert (watch.plan, watch.refusals) == (TrafficPlan(), 1)


def test_beside_a_writer_that_is_always_writing_only_whole_plans_are_seen(path: Path) -> None:
    def publish() -> None:
        for generation in range(1, 200):
            write(path, plan(generation, version=generation))

    watch = PlanWatch(path)
    writer = threading.Thread(target=publish)
    writer.start()
    seen = []
    while writer.is_alive():
        if watch.check():
            seen.append(watch.plan.generation)
    writer.join()
    watch.check()
    assert watch.plan == plan(199, version=199)
    assert seen == sorted(seen)
    assert watch.refusals == 0


def test_a_watch_that_runs_sees_plans_come(path: Path) -> None:
    async def seen() -> None:
        watch = PlanWatch(path, poll_s=0.01)
        running = asyncio.create_task(watch.run())
        for generation in (1, 2):
            write(path, plan(generation))
            async with asyncio.timeout(30):
                while watch.plan.generation < generation:
                    await asyncio.sleep(0.005)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(seen())


def test_the_largest_plan_that_is_read_holds_thousands_of_models(path: Path) -> None:
    models = {f"model-{number}": ModelPlan(f"model-{number}", Target(number)) for number in range(10_000)}
    write(path, TrafficPlan(1, models))
    assert path.stat().st_size < plan_watch.LARGEST_BYTES
    watch = PlanWatch(path)
    assert watch.check()
    assert len(watch.plan.models) == 10_000
