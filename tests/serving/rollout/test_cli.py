"""`python -m serving.rollout`, as an operator uses it where no controller runs, and as a process."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import get_args

import pytest

from serving.rollout import cli
from serving.rollout.state import Phase
from serving.rollout.store import Store, Verb, open_store
from serving.traffic_plan import ModelPlan, Target, TrafficPlan, plan_path, write
from tests.serving.rollout.pages import FACTS, Facts, page
from tests.serving.rollout.stores import led, moved, promoted

LIMIT_S = 60
LIGHT = "import sys; from serving.rollout.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n" + (
    "print(sorted({'tensorflow', 'grpc', 'sqlalchemy', 'pyarrow', 'rich', 'numpy'} & set(sys.modules)))"
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With versions 1 to 3 of clicks pushed."""
    monkeypatch.setenv("PRESSLINE_HOME", str(tmp_path))
    monkeypatch.delenv("PRESSLINE_LEDGER_URL", raising=False)
    for version in (1, 2, 3):
        (tmp_path / "models" / "clicks" / str(version)).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def store(home: Path) -> Store:
    return open_store()


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """What it prints, of which there is something on one of the two streams only."""
    assert cli.main(arguments) == code
    out, err = capsys.readouterr()
    assert bool(out) != bool(err)
    return out + err


def test_a_start_waits_for_a_controller_and_says_so(
    home: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        told = said(capsys, "start", "clicks", "3", "--reason", "looks good")
        assert told.startswith("clicks: version 3 is staged; no controller leads, it waits until one does")
    (rollout,) = store.rollouts()
    assert (rollout.version, rollout.phase, rollout.reason) == (3, Phase.STAGED, "looks good")
    assert store.history("clicks")[0].actor == cli.who()
    led(store, "desk:7")
    assert "the controller desk:7 leads" in said(capsys, "start", "clicks", "3")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["start", "clicks", "9"], "models/clicks has no version 9; it has 1, 2, 3"),
        (["start", "topic", "1"], "models/topic has no version 1; it has none"),
        (["pause", "clicks"], "there has been no rollout of 'clicks'"),
        (["status", "clicks"], "there has been no rollout of 'clicks'"),
        (["history", "clicks"], "there has been no rollout of 'clicks'; there are some of: no model yet"),
        (["retry", "clicks", "--version", "2"], "there has been no rollout of 'clicks'"),
        (["run", "--replica", "8500"], "--replica is HOST:PORT"),
        (["run", "--replica", "host:0"], "--replica is HOST:PORT"),
        (["run", "--replica", "a:1", "--gateway", "127.0.0.1:8600"], "--gateway is a URL"),
        (["run", "--replica", "a:1", "--settings", "/nothing.toml"], "settings /nothing.toml cannot be read"),
        (["run", "--replica", "a:1", "--token-file", "/nothing"], "token cannot be read"),
        (["render", "nginx", "--out", "/tmp"], "no traffic plan"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_told_in_a_line_and_the_code_is_2(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert told in said(capsys, *arguments, code=2)


@pytest.mark.parametrize(
    "arguments", [[], ["undo"], ["pause"], ["start", "clicks"], ["start", "clicks", "two"], ["run"]]
)
def test_a_wrong_command_line_is_refused_with_the_usage(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    assert "usage: python -m serving.rollout" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["run", "--replica", "8500"], ["pause"]])
def test_help_and_mistakes_load_nothing_heavy(home: Path, arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_it_knows_every_verb_of_the_store() -> None:
    assert set(cli.VERBS) == set(get_args(Verb))


@pytest.mark.parametrize("verb", ["pause", "resume", "promote", "abort"])
def test_a_verb_is_recorded_with_its_reason_and_waits(
    store: Store, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    store.submit("clicks", 1, "pipeline")
    for _ in range(2):
        assert f"clicks: {verb} is recorded; no controller leads" in said(capsys, verb, "clicks", "--reason", "why not")
    (ask,) = store.asks()
    assert (ask.verb, ask.actor, ask.reason) == (verb, cli.who(), "why not")


def test_waiting_ends_with_what_the_controller_says_or_with_the_time(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.submit("clicks", 1, "pipeline")
    assert "pause is recorded" in said(capsys, "pause", "clicks", "--wait", "0.2", code=1)
    lease = led(store)

    def leading() -> None:
        deadline = time.monotonic() + LIMIT_S
        while len(store.asks()) < 2 and time.monotonic() < deadline:
            pass
        store.answer(lease, store.asks()[1], "no change: it is staged")

    thread = threading.Thread(target=leading)
    thread.start()
    assert said(capsys, "resume", "clicks", "--wait") == "clicks: no change: it is staged\n"
    thread.join(LIMIT_S)


def test_retry_begins_anew_at_once(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    moved(store, led(store), store.submit("clicks", 2, "pipeline"), Phase.ROLLED_BACK, bad=True, reason="NaN")
    told = said(capsys, "start", "clicks", "2", code=2)
    assert "marked bad: NaN. `python -m serving.rollout retry clicks --version 2`" in told
    assert said(capsys, "retry", "clicks", "--version", "2") == "clicks: version 2 is staged again\n"
    assert said(capsys, "retry", "clicks") == "clicks: version 2 is under way already\n"


def test_status_without_a_controller_tells_what_the_database_and_the_plan_know(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no rollouts yet" in said(capsys, "status")
    lease = led(store, "desk:7")
    promoted(store, lease, "clicks", 1)
    rollout = moved(store, lease, store.submit("clicks", 2, "pipeline"), Phase.CANARY, 2, reason="[warm]", paused=True)
    store.submit("clicks", 3, "pipeline")
    store.ask("clicks", "resume", "ann")
    store.release(lease)
    plan = ModelPlan("clicks", Target(1), Target(2), 0.25, 0.0, "salt", rollout.id, 2)
    write(plan_path(), TrafficPlan(1, {"clicks": plan}))
    told = said(capsys, "status")
    for word in ("canary 2, paused", "0.25", "[warm]", "waiting behind it: version 3", "not yet taken: resume"):
        assert word in told
    assert "no controller leads" in told
    (model,) = json.loads(said(capsys, "status", "clicks", "--json"))["rollouts"]
    assert (model["phase"], model["step"], model["steps"], model["share"]) == ("canary", 2, None, 0.25)
    assert (model["stable"], model["version"], model["waiting"], model["asked"]) == (1, 2, [3], ["resume"])


def test_status_with_a_controller_tells_what_it_sees_and_only_of_its_own_rollouts(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lease = led(store, "desk:7")
    moved(store, lease, store.submit("clicks", 2, "pipeline"), Phase.CANARY, 2)
    with page(store, Facts({"clicks": FACTS})) as port:
        told = said(capsys, "status", "--page", f"http://127.0.0.1:{port}")
    for word in ("canary 2/3", "0.25", "82 of 200 samples", "10.0.0.1:8500 does not serve what it should yet slow"):
        assert word in told
    other = open_store(f"sqlite:///{tmp_path}/other.sqlite")
    other.submit("clicks", 2, "pipeline")
    with page(other, Facts({"clicks": FACTS})) as port:
        store.beat(lease)
        assert "82 of 200 samples" not in said(capsys, "status", "--page", f"http://127.0.0.1:{port}")
