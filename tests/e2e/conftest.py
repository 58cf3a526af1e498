"""One home folder and the runs in it, in the order of their story; each is made once and every test may look at it.

first -> unchanged -> second (a new span, and a rival while it is at work) -> rebaselined -> refused -> blessed
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import command
from tests.e2e.command import Finished
from tests.e2e.interference import LONGEST_S, Hold
from tests.e2e.left_behind import Home
from tests.e2e.small import spans
from tests.e2e.taxi import spans as taxi_spans

SMALL, STRICT, TAXI = "tests.e2e.small.task", "tests.e2e.small.strict", "tests.e2e.taxi.task"


@dataclass(frozen=True)
class Run:
    """A run that has ended, and the states of its nodes."""

    name: str
    ended: Finished
    states: dict[str, str]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("e2e") / "home")


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small task's spans: 0 and 1 from the start, 2 from the second run on."""
    root = tmp_path_factory.mktemp("e2e-records")
    for number in (0, 1):
        spans.write(root, number, spans.table(seed=number + 1))
    return root


@pytest.fixture(scope="session")
def first(home: Home, records: Path) -> Run:
    return _run(home, command.run(["run", SMALL, "--data", str(records)], home.path))


@pytest.fixture(scope="session")
def unchanged(first: Run, home: Home, records: Path) -> Finished:
    """The same command again, as a user starts it; standard error lists what was imported."""
    return command.as_user(["run", SMALL, "--data", str(records)], home.path, "-X", "importtime")


@dataclass(frozen=True)
class Meeting:
    """A run, and the rival that was started while it was at work."""

    run: Run
    rival: Finished
    process: int


@pytest.fixture(scope="session")
def meeting(unchanged: Finished, home: Home, records: Path) -> Meeting:
    """Span 2, whose users are all new, has come; the run over it has a rival when it is in the middle."""
    spans.write(records, 2, spans.new_users(spans.table(seed=3)))
    hold = Hold("SpanWindow", command.context().Event(), command.context().Event())
    started = command.start(["run", SMALL, "--data", str(records)], home.path, hold)
    process = started.process.pid
    assert process is not None
    try:
        assert hold.arrived.wait(LONGEST_S)
        rival = command.run(["run", SMALL, "--data", str(records)], home.path)
    finally:
        hold.go_on.set()
        ended = started.wait()
    return Meeting(_run(home, ended), rival, process)


@pytest.fixture(scope="session")
def second(meeting: Meeting) -> Run:
    return meeting.run


@pytest.fixture(scope="session")
def backtested(second: Run, home: Home, records: Path) -> Finished:
    return command.run(["backtest", SMALL, "--data", str(records), "--spans", "2"], home.path)


@pytest.fixture(scope="session")
def rebaselined(backtested: Finished, home: Home) -> Finished:
    return command.run(["rebaseline", SMALL, "--version", "1", "--reason", "2 was trained on a bad week"], home.path)


@pytest.fixture(scope="session")
def refused(rebaselined: Finished, home: Home, records: Path) -> Run:
    """The strict variant, on span 1 alone."""
    options = ["--data", str(records), "--until-span", "1", "--window", "1"]
    return _run(home, command.run(["run", STRICT, *options], home.path))


@pytest.fixture(scope="session")
def blessed(refused: Run, home: Home) -> Finished:
    return command.run(["bless", refused.name, "--reason", "the demo is at noon"], home.path)


@pytest.fixture(scope="session")
def taxi(first: Run, home: Home, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The taxi task in the same home, as a user starts it."""
    root = tmp_path_factory.mktemp("e2e-taxi")
    taxi_spans.write(root)
    return _run(home, command.as_user(["run", TAXI, "--data", str(root)], home.path), "taxi")


def _run(home: Home, ended: Finished, task: str = "small") -> Run:
    assert home.decisions("run_started", task), ended.said
    name = home.newest_run(task)
    return Run(name, ended, home.states(name))
