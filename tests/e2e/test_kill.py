"""A chain of runs over the same records, each killed one node further on than the last."""

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.e2e import command, interference
from tests.e2e.command import Finished, Interference
from tests.e2e.conftest import SMALL
from tests.e2e.left_behind import Home
from tests.e2e.small import spans

# Every node that has an executor, in the order of a run; cheap ones are killed when their work is done, the worst time.
CHAIN: tuple[tuple[str, Interference], ...] = (
    ("CuratedSchema", partial(interference.kill_after, "CuratedSchema")),
    ("ExampleGen-span-0", partial(interference.kill_after, "ExampleGen-span-0")),
    ("ExampleGen-span-1", partial(interference.kill_before, "ExampleGen-span-1")),
    ("StatisticsGen-span-0", partial(interference.kill_after, "StatisticsGen-span-0")),
    ("StatisticsGen-span-1", partial(interference.kill_before, "StatisticsGen-span-1")),
    ("DataGate", partial(interference.kill_after, "DataGate")),
    ("SpanWindow", partial(interference.kill_after, "SpanWindow")),
    ("Transform", partial(interference.kill_after, "Transform")),
    ("Trainer", interference.kill_after_first_epoch),
    ("Evaluator", partial(interference.kill_before, "Evaluator")),
    ("ServingCheck", partial(interference.kill_before, "ServingCheck")),
    ("Verdict", partial(interference.kill_after, "Verdict")),
    ("RolloutPusher", interference.full_model_directory),  # not killed
    ("RolloutPusher", interference.kill_after_rename),
)
NODES = tuple(node for node, _ in CHAIN)
FULL_DISK = NODES.index("RolloutPusher")
STEPS = pytest.mark.parametrize("at", range(len(CHAIN)), ids=[f"{at}-{node}" for at, node in enumerate(NODES)])


@dataclass(frozen=True)
class Chain:
    """The killed runs, the last one, which was not, and what each left in MLMD."""

    home: Home
    ended: tuple[Finished, ...]
    states: tuple[dict[str, str], ...]
    versions: tuple[tuple[int, ...], ...]
    arguments: list[str]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    folder = tmp_path_factory.mktemp("killed")
    home, records = Home(folder / "home"), folder / "records"
    for number in (0, 1):
        spans.write(records, number, spans.table(seed=number + 1))
    arguments = ["run", SMALL, "--data", str(records)]
    ended, states, versions = [], [], []
    for harm in (*(harm for _, harm in CHAIN), None):
        ended.append(command.run(arguments, home.path, harm))
        states.append(home.states(home.newest_run()))
        versions.append(home.versions())
    return Chain(home, tuple(ended), tuple(states), tuple(versions), arguments)


@STEPS
def test_a_run_that_is_killed_in_a_node_leaves_no_broken_version(chain: Chain, at: int) -> None:
    node, done = NODES[at], chain.states[at]
    assert chain.ended[at].code == (2 if at == FULL_DISK else -9), chain.ended[at].said
    assert list(done) == list(dict.fromkeys(NODES[: at + 1]))
    assert done[node] == ("FAILED" if at == FULL_DISK else "RUNNING")
    assert chain.versions[at] == ((1,) if at > FULL_DISK else ())


@STEPS
def test_a_killed_node_is_all_that_the_next_run_repeats(chain: Chain, at: int) -> None:
    after = chain.states[at + 1]
    before = [node for node in NODES[:at] if node != NODES[at]]
    assert {node: after[node] for node in before if after[node] != "CACHED"} == {}
    if NODES[at + 1 : at + 2] != (NODES[at],):
        assert after[NODES[at]] == "COMPLETE"


def test_a_run_after_many_killed_ones_pushes_one_whole_version(chain: Chain) -> None:
    assert chain.ended[-1].code == 0, chain.ended[-1].said
    assert chain.home.versions() == (1,)
    assert (chain.home.models() / "1" / "assets.extra" / "pressline.json").is_file()
    assert [path.name for path in chain.home.models().iterdir() if path.name.startswith(".")] == [".pressline"]
    pushes = [one for one in chain.home.decisions("push") if one.verdict == "PUSHED"]
    assert [one.version for one in pushes] == [1]


def test_a_killed_training_continues_after_its_last_whole_epoch(chain: Chain) -> None:
    killed, continued = chain.ended[NODES.index("Trainer")], chain.ended[NODES.index("Trainer") + 1]
    assert "epoch 1:" not in killed.out  # it was killed before it could say so
    assert "epoch 1:" not in continued.out
    assert "epoch 2:" in continued.out


def test_a_full_model_directory_is_named(chain: Chain) -> None:
    ended = chain.ended[FULL_DISK]
    assert "was not published" in ended.err, ended.said
    assert f"{chain.home.models()}; it must be writable and have room" in ended.err


def test_runs_that_were_killed_are_listed_as_not_finished(chain: Chain) -> None:
    ended = command.run(["runs", SMALL], chain.home.path)
    assert ended.out.count("did not finish") == len(CHAIN) - 1
    assert ended.out.count("bad input: RolloutPusher") == 1


def test_a_version_that_was_removed_is_pushed_again(chain: Chain) -> None:
    shutil.rmtree(chain.home.models() / "1")
    ended = command.run(chain.arguments, chain.home.path)
    assert ended.code == 0, ended.said
    assert chain.home.versions() == (2,)
    assert "pushed: version 2" in ended.out


def test_a_full_disk_from_the_start_is_said_and_changes_nothing(tmp_path: Path) -> None:
    spans.write(tmp_path / "records", 0, spans.table(seed=1))
    home = Home(tmp_path / "home")
    ended = command.run(["run", SMALL, "--data", str(tmp_path / "records")], home.path, interference.full_disk)
    assert ended.code == 2, ended.said
    assert str(home.path) in ended.err
    assert home.versions() == ()
