"""The threads that look at base paths and at the configuration file."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from serving.model_server import polling
from serving.model_server.aspired import Aspired, Source, poll
from serving.model_server.polling import ConfigPoller, FileSystemPolling
from serving.status import Code, StatusError
from tests.serving.model_server.lifecycle_fakes import Background, until, versions

OFTEN_S = 0.005


class Wanted:
    """What the polling says, as it says it."""

    def __init__(self) -> None:
        self.now: dict[str, list[int]] = {}
        self.calls: list[str] = []

    def __call__(self, name: str, directories: Mapping[int, str]) -> None:
        self.now[name] = sorted(directories)
        self.calls.append(name)


@pytest.fixture
def make() -> Iterator[Callable[[Wanted, float], FileSystemPolling]]:
    made: list[FileSystemPolling] = []

    def one(wanted: Wanted, wait_seconds: float = OFTEN_S) -> FileSystemPolling:
        made.append(FileSystemPolling(wanted, wait_seconds))
        return made[-1]

    yield one
    for each in made:
        each.stop()


Make = Callable[..., FileSystemPolling]


def test_it_follows_the_directories(tmp_path: Path, make: Make) -> None:
    wanted = Wanted()
    assert make(wanted).set_sources([Source("m", str(versions(tmp_path, 1)))]) == {"m"}
    until(lambda: wanted.now == {"m": [1]})
    versions(tmp_path, 2)
    until(lambda: wanted.now == {"m": [2]})
    for child in list(tmp_path.iterdir()):
        child.rmdir()
    until(lambda: wanted.now == {"m": []})


def test_a_model_that_is_left_out_wants_nothing_at_once_and_the_new_names_are_told(tmp_path: Path, make: Make) -> None:
    wanted = Wanted()
    polled = make(wanted, 3600)
    old, new = Source("old", str(versions(tmp_path, 1))), Source("new", str(tmp_path))
    polled.set_sources([old])
    until(lambda: wanted.now == {"old": [1]})
    assert polled.set_sources([new]) == {"new"}
    assert wanted.now["old"] == []
    until(lambda: wanted.now.get("new") == [1])  # and it looks at once, an hour before its time
    assert polled.set_sources([new]) == set()


def test_a_look_under_way_does_not_bring_back_a_model_that_is_removed(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, go_on = threading.Event(), threading.Event()

    def slow(sources: Sequence[Source]) -> dict[str, Aspired]:
        looking.set()
        assert go_on.wait(30)
        return poll(sources)

    monkeypatch.setattr(polling, "poll", slow)
    wanted = Wanted()
    polled = make(wanted, 3600)
    polled.set_sources([Source("m", str(versions(tmp_path, 1)))])
    assert looking.wait(30)
    removal = Background(lambda: polled.set_sources([]))
    go_on.set()
    assert removal.result() is None
    polled.stop()
    assert wanted.now == {"m": []}


def test_a_missing_base_path_stops_the_look_at_every_model_and_is_said_once(
    tmp_path: Path, make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = threading.Semaphore(0)

    def counted(sources: Sequence[Source]) -> dict[str, Aspired]:
        looks.release()
        return poll(sources)

    monkeypatch.setattr(polling, "poll", counted)
    wanted = Wanted()
    polled = make(wanted)
    good, late = Source("good", str(versions(tmp_path / "good", 1))), Source("late", str(tmp_path / "late"))
    polled.set_sources([good, late])
    for _ in range(5):
        assert looks.acquire(timeout=30)
    assert not wanted.calls
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    versions(tmp_path / "late", 4)
    until(lambda: wanted.now == {"good": [1], "late": [4]})


def test_a_warning_is_said_again_only_after_it_was_over(
    tmp_path: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = Wanted()
    make(wanted).set_sources([Source("m", str(tmp_path))])
    until(lambda: len(wanted.calls) > 3)
    assert len(caplog.records) == 1
    versions(tmp_path, 1)
    until(lambda: wanted.now == {"m": [1]})
    (tmp_path / "1").rmdir()
    until(lambda: len(caplog.records) == 2)
    assert caplog.messages[0] == caplog.messages[1]


def test_a_base_path_that_no_file_system_takes_ends_nothing(tmp_path: Path, make: Make) -> None:
    wanted = Wanted()
    polled = make(wanted)
    polled.set_sources([Source("odd", "/a\0b")])
    polled.set_sources([Source("m", str(versions(tmp_path, 1)))])
    until(lambda: wanted.now.get("m") == [1])


def test_with_0_it_looks_once(tmp_path: Path, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    wanted = Wanted()
    polled = make(wanted, 0)
    source = Source("m", str(versions(tmp_path, 1)))
    polled.set_sources([source])
    until(lambda: wanted.now == {"m": [1]})
    until(lambda: "file-system-polling" not in {thread.name for thread in threading.enumerate()})
    polled.set_sources([source, Source("late", str(tmp_path))])
    assert wanted.calls == ["m"]
    assert "Nothing looks for versions of late" in caplog.text


def test_with_less_it_never_looks(tmp_path: Path, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    wanted = Wanted()
    make(wanted, -1).set_sources([Source("m", str(versions(tmp_path, 1)))])
    assert "Nothing looks for versions of m" in caplog.text
    assert not wanted.calls


def test_it_stops_in_the_middle_of_its_wait(make: Make) -> None:
    polled = make(Wanted(), 3600)
    polled.set_sources([])
    assert Background(polled.stop).result() is None


class Config:
    """A file and a server: what is read and what was applied."""

    def __init__(self) -> None:
        self.content: Callable[[], Any] = lambda: "config"
        self.refusal: StatusError | None = None
        self.applied: list[Any] = []

    def read(self) -> Any:
        return self.content()

    def apply(self, config: Any) -> None:
        self.applied.append(config)
        if self.refusal is not None:
            raise self.refusal


def test_the_config_is_applied_again_and_again_also_unchanged() -> None:
    config = Config()
    poller = ConfigPoller(config.read, config.apply, OFTEN_S)
    poller.start()
    until(lambda: config.applied[:3] == ["config"] * 3)
    config.content = lambda: "another"
    until(lambda: "another" in config.applied)
    poller.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "config-polling"]


def test_a_half_written_config_and_a_refused_one_are_said_once_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config, tries = Config(), threading.Semaphore(0)

    def half_written() -> Any:
        tries.release()
        raise StatusError(Code.INVALID_ARGUMENT, "Error parsing text-format")

    config.content = half_written
    poller = ConfigPoller(config.read, config.apply, OFTEN_S)
    poller.start()
    for _ in range(4):
        assert tries.acquire(timeout=30)
    assert not config.applied
    config.refusal = StatusError(Code.FAILED_PRECONDITION, "label")
    config.content = lambda: "config"
    until(lambda: len(config.applied) > 3)
    poller.stop()
    said = "The model config file is not applied: "
    assert caplog.messages == [
        f"{said}INVALID_ARGUMENT: Error parsing text-format",
        f"{said}FAILED_PRECONDITION: label",
    ]


def test_a_config_poller_with_0_never_reads() -> None:
    config = Config()
    poller = ConfigPoller(config.read, config.apply, 0)
    poller.start()
    poller.stop()
    assert not config.applied


def test_a_stopping_server_ends_the_config_poller_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    config = Config()
    config.refusal = StatusError(Code.CANCELLED, "stopping")
    poller = ConfigPoller(config.read, config.apply, OFTEN_S)
    poller.start()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "config-polling"])
    poller.stop()
    assert len(config.applied) == 1
    assert not caplog.records
