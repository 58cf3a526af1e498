import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.errors import InputError as DataInputError
from pipeline.records import choose, only_run
from pipeline.task import Gate, SpanWindow, Task
from serving.errors import InputError

TASK = Task(
    name="mine",
    question="?",
    label="a",
    split_by="b",
    gates=(Gate("auc", at_least=0.5),),
    preprocessing_fn="a.b",
    build_model="a.b",
    window=SpanWindow(latest=2),
)
HOLD = """
import sys
from pipeline.records import only_run
with only_run("mine"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def spans(tmp_path: Path) -> Path:
    for number in range(3, 7):
        (tmp_path / "spans" / f"span-{number}").mkdir(parents=True)
        (tmp_path / "spans" / f"span-{number}" / "records.csv").write_text(f"a,b\n{number},1\n")
    return tmp_path / "spans"


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRESSLINE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def holder(house: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the run lock of the task."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.parametrize(
    ("until_span", "window", "expected"),
    [(None, None, (5, 6)), (4, None, (3, 4)), (5, 1, (5,)), (None, 3, (4, 5, 6)), (None, 99, (3, 4, 5, 6))],
)
def test_the_window_is_the_newest_spans_up_to_the_one_asked_for(
    spans: Path, until_span: int | None, window: int | None, expected: tuple[int, ...]
) -> None:
    chosen = choose(TASK, str(spans), until_span, window)
    assert chosen.window == expected
    assert chosen.root == spans


def test_the_digest_is_of_the_records(spans: Path) -> None:
    before = choose(TASK, str(spans), None, None).digest
    assert choose(TASK, str(spans), None, None).digest == before
    (spans / "span-4" / "records.csv").write_text("a,b\n4,2\n")
    assert choose(TASK, str(spans), None, None).digest != before


def test_a_relative_folder_is_made_absolute(spans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(spans.parent)
    assert choose(TASK, "spans", None, None).root == spans


@pytest.mark.parametrize("until_span", [2, 7, -1])
def test_a_span_that_is_not_there_is_refused_with_those_that_are(spans: Path, until_span: int) -> None:
    with pytest.raises(InputError, match=f"--until-span {until_span}: {spans} has spans 3 to 6"):
        choose(TASK, str(spans), until_span, None)


def test_a_task_without_a_source_needs_the_users_spans() -> None:
    with pytest.raises(InputError, match=r"'mine' has no source of its own: give a folder of spans with --data DIR"):
        choose(TASK, None, None, None)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataInputError, match="expected a directory of spans"):
        choose(TASK, str(tmp_path / "none"), None, None)


def test_a_second_run_of_a_task_is_refused_with_the_first_ones_process(holder: subprocess.Popen[str]) -> None:
    with (
        pytest.raises(InputError, match=rf"another run of mine is at work \(process {holder.pid}\)"),
        only_run("mine"),
    ):
        pytest.fail("both run")


def test_a_refused_run_leaves_the_first_ones_number_in_the_lock(holder: subprocess.Popen[str], house: Path) -> None:
    for _ in range(2):
        with pytest.raises(InputError, match=str(holder.pid)), only_run("mine"):
            pytest.fail("both run")


def test_another_task_may_run_meanwhile(holder: subprocess.Popen[str], house: Path) -> None:
    with only_run("yours"):
        assert (house / "run-yours.lock").read_text() == str(os.getpid())


def test_the_lock_of_a_killed_run_is_free_at_once(holder: subprocess.Popen[str], house: Path) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with only_run("mine"):
        assert (house / "run-mine.lock").read_text() == str(os.getpid())


def test_the_lock_is_free_after_a_run_that_failed(house: Path) -> None:
    with pytest.raises(RuntimeError), only_run("mine"):
        raise RuntimeError
    with only_run("mine"):
        assert (house / "run-mine.lock").read_text() == str(os.getpid())


def test_a_home_that_cannot_be_written_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PRESSLINE_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match="name another folder with PRESSLINE_HOME"), only_run("mine"):
        pytest.fail("it runs")
