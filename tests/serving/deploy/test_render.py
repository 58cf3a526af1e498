"""Writing files: whole or not at all, only what has changed, again with each plan; and the command line's options."""

import argparse
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from serving import traffic_plan
from serving.deploy.options import Options, Servers, parts
from serving.deploy.render import KINDS, flags, follow, options_of, render, verb
from serving.errors import InputError
from serving.traffic_plan import ModelPlan, Target, TrafficPlan
from tests.serving.deploy.proxies import alone, clicks
from tests.serving.model_server.conformance.process import until

TWO = Options(canary=Servers(("127.0.0.1:9501",), ("127.0.0.1:9500",)))


def plan(generation: int, *models: ModelPlan) -> TrafficPlan:
    return TrafficPlan(generation, {one.model: one for one in models})


def given(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    flags(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize("kind", KINDS)
def test_only_files_that_have_changed_are_written(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    first = render(kind, plan(1, clicks(0.05)), TWO, out)
    assert sorted(first) == sorted(out.iterdir())
    assert render(kind, plan(1, clicks(0.05)), TWO, out) == []
    changed = {
        "nginx": {"pressline.conf"},
        "envoy": {"routes.rest.json"},
        "gateway-api": {"routes.json"},
    }
    assert {path.name for path in render(kind, plan(2, clicks(0.25)), TWO, out)} == changed[kind]


def test_a_file_that_cannot_be_written_is_as_it_was_and_nothing_is_left_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render("nginx", plan(1, clicks(0.05)), Options(), tmp_path)
    before = {path: path.read_text() for path in tmp_path.iterdir()}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        render("nginx", plan(2, clicks(0.25)), Options(), tmp_path)
    assert {path: path.read_text() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("kind", "options", "models", "said"),
    [
        ("haproxy", Options(), [alone()], "there are nginx, envoy, gateway-api"),
        ("envoy", Options(), [alone()], "--canary-rest"),
        ("envoy", replace(TWO, canary=Servers((), ("h:1",))), [alone()], "no rest address of the canary"),
        ("nginx", replace(TWO, grpc="127.0.0.1:1"), [alone(), alone("topic")], "clicks, topic"),
        ("nginx", TWO, [], "no model at all"),
    ],
)
def test_what_does_not_fit_is_an_error_and_writes_nothing(
    kind: str, options: Options, models: list[ModelPlan], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        render(kind, plan(1, *models), options, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("share", "part"), [(0, 0), (0.3333, 3333), (0.29, 2900), (0.00009, 0), (0.99999, 9999), (1, 10000)]
)
def test_shares_are_cut_not_rounded(share: float, part: int) -> None:
    assert parts(float(share)) == part


@contextmanager
def following(path: Path, out: Path, then: str) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=follow, args=("nginx", path, Options(), out, then, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_each_new_plan_is_rendered_and_the_command_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.deploy.render.AGAIN_S", 0.05)
    path, out, told = tmp_path / "plan.json", tmp_path / "out", tmp_path / "told"
    then = f"sh -c 'cat {out}/pressline.conf >> {told}'"

    def followed(generation: int) -> bool:
        return told.is_file() and f"generation {generation}." in told.read_text()

    with following(path, out, then):
        traffic_plan.write(path, plan(1, clicks(0.05)))
        until(lambda: followed(1), "the first plan, which was not there at first", 10)
        path.write_text(path.read_text()[:40])
        traffic_plan.write(path, plan(7, clicks(0.5)))
        until(lambda: followed(7), "the next after a broken one", 10)
        traffic_plan.write(path, plan(6, alone()))
        traffic_plan.write(path, plan(8, clicks(0.0)))
        until(lambda: followed(8), "the newest", 10)
    assert "generation 6." not in told.read_text()


def test_a_command_that_fails_is_run_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.deploy.render.AGAIN_S", 0.05)
    path, ready, told = tmp_path / "plan.json", tmp_path / "ready", tmp_path / "told"
    traffic_plan.write(path, plan(1, clicks(0.05)))
    with following(path, tmp_path / "out", f"sh -c 'test -e {ready} && touch {told}'"):
        until(lambda: "stays as it is" in capfd.readouterr().err, "it says that the command failed", 10)
        ready.touch()
        until(told.is_file, "it is run again", 10)


def test_the_command_line_says_all_that_the_options_do(tmp_path: Path) -> None:
    short = options_of(given("nginx", "--out", "x"))
    assert short == Options()
    everything = options_of(
        given(
            *("envoy", "--out", "x", "--model", "clicks", "--model", "topic", "--timeout-s", "2.5", "--rest", ""),
            *("--grpc", "[::1]:81", "--stable-rest", "a:1", "--stable-rest", "b:1", "--stable-grpc", "a:2"),
            *("--canary-grpc", "c:2", "--admin", "127.0.0.1:9901", "--gateway", "edge", "--stable-pods", "4"),
        )
    )
    assert everything == Options(
        models=("clicks", "topic"),
        timeout_s=2.5,
        rest=None,
        grpc="[::1]:81",
        stable=Servers(("a:1", "b:1"), ("a:2",)),
        canary=Servers((), ("c:2",)),
        admin="127.0.0.1:9901",
        gateway="edge",
        stable_pods=4,
    )


def test_the_verb_writes_the_plan_that_is_there_and_says_where_none_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = given("nginx", "--out", str(tmp_path / "out"), "--plan", str(tmp_path / "plan.json"))
    with pytest.raises(InputError, match=r"no traffic plan: .*plan\.json"):
        verb(asked)
    traffic_plan.write(tmp_path / "plan.json", plan(3, ModelPlan("clicks", Target(3))))
    assert verb(asked) == 0
    said = capsys.readouterr().out.split()
    assert [Path(line).name for line in said] == ["pressline.conf", "nginx.conf"]
    assert all(Path(line).is_file() for line in said)
