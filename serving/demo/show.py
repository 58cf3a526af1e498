"""The course of the demonstration: start the parts, let four versions meet users, tell what became of each."""

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving import model_directory
from serving.demo import variants
from serving.demo.processes import Processes, answers, free_ports
from serving.demo.screen import Act, Screen
from serving.demo.users import Users, visits
from serving.errors import InputError
from serving.home import PROJECT

if TYPE_CHECKING:
    from serving.rollout.state import Rollout
    from serving.rollout.store import Store

MODEL = "clicks"
LIMIT_S = 120.0  # for one version
POLL_S = 0.25
SETTINGS = """\
# The demonstration's: what takes days in earnest takes seconds here.
rollback_window_s = 1
settle_s = 0.5
drain_s = 1
warm_limit_s = 60
steps = [
    {share = 0.1, least_s = 5, most_s = 60, least_samples = 150},  # a p99 takes a thousand answers of stable's
    {share = 0.5, least_s = 5, most_s = 90, least_samples = 200, evidence = true},
]
[guardrails]
least_samples = 50
[outcome]
label = "liked"
alpha = 0.002  # one demonstration in 500 may blame the good version by chance
worse_by = 0.2
margin = 0.15
window_s = 2
"""
ACTS = (
    Act("good", "stable", "the same model, trained again"),
    Act("harmful", "rolled_back", "ranks the other way round"),
    Act("slow", "rolled_back", "same answers, later"),
    Act("broken", "rolled_back", "answers NaN"),
)


@dataclass(frozen=True)
class Stage:
    """What runs.

    Attributes:
        gateway, status: REST ports.
        model: base path of the demonstration's own model directory.
        url: of the database.
    """

    processes: Processes
    gateway: int
    status: int
    model: Path
    url: str


def show(good: Path, spans: Path, home: Path, rate: float, replicas: int, seed: int, picture: Path | None) -> int:
    """Runs it; see serving.demo.__main__.

    Args:
        good: base path of the model whose newest version is the good one.
        spans: folder of the spans with the users' records.
        home: folder for everything; made anew.
        picture: an SVG file to draw the last table into; None for none.

    Raises:
        InputError: there is no model or no record, or a part does not start.
    """
    versions = model_directory.versions(good)
    if not versions:
        raise InputError(f"there is no pushed model in {good}; `make run` makes one")
    best = model_directory.version_path(good, versions[-1])
    numbers = sorted(int(span.name.removeprefix("span-")) for span in spans.glob("span-*"))
    some = visits([spans / f"span-{number}" for number in numbers[-4:]], _example(best), seed)
    _clear(home)
    with _stage(best, home, replicas) as stage:
        users = Users(stage.gateway, MODEL, some, rate)
        try:
            return _play(stage, best, users, picture)
        finally:
            users.stop()


def _play(stage: Stage, best: Path, users: Users, picture: Path | None) -> int:
    from serving.rollout.store import open_store

    store = open_store(stage.url)
    began = time.monotonic()
    with Screen(ACTS, users.seen) as screen:
        for number, act in enumerate(ACTS):
            version = _publish(best, act.kind, stage.model)
            rollout = store.submit(MODEL, version, "demo", act.about)
            ended = _watch(stage, store, rollout.id, screen, number)
            screen.end(number, ended.phase.value if not ended.promoted or ended.bad else "stable", ended.reason)
        users.stop()
        screen.finish(time.monotonic() - began, picture)
    return 0 if screen.as_expected and not users.seen.failed else 1


def _watch(stage: Stage, store: "Store", rollout: int, screen: Screen, number: int) -> "Rollout":
    """Shows a rollout until it is over; returns it."""
    from serving.rollout.state import Phase

    deadline = time.monotonic() + LIMIT_S
    while True:
        stage.processes.check()
        found = next(one for one in store.rollouts(MODEL) if one.id == rollout)
        status = _status(stage.status)
        screen.update(number, status if status.get("version") == found.version else {})
        if not found.live or found.phase in (Phase.STABLE, Phase.RETIRING):
            return found
        if time.monotonic() > deadline:
            raise InputError(
                f"version {found.version} is still {found.phase.value} after {LIMIT_S:.0f} s: {found.reason}"
            )
        time.sleep(POLL_S)


@contextmanager
def _stage(best: Path, home: Path, replicas: int) -> Iterator[Stage]:
    """Model servers, gateway and controller, ready and with version 1 as stable."""
    from serving.rollout.store import open_store

    model, serving = home / "models" / MODEL, home / "serving"
    url = f"sqlite:///{home / 'ledger.sqlite'}"
    first = _publish(best, "good", model)
    serving.mkdir(parents=True)
    (serving / "rollout.toml").write_text(SETTINGS)
    (serving / "models.config").write_text(_first_config(model, first))
    gateway, status, *ports = free_ports(2 + 2 * replicas)
    grpc_ports, rest_ports = ports[:replicas], ports[replicas:]
    with Processes(home) as processes:
        for number, (grpc_port, rest_port) in enumerate(zip(grpc_ports, rest_ports, strict=True), 1):
            processes.start(
                f"model-server-{number}",
                "serving.model_server",
                *(f"--port={grpc_port}", f"--rest_api_port={rest_port}"),
                f"--model_config_file={serving / 'models.config'}",
                *("--allow_version_labels_for_unavailable_models=true", "--max_num_load_retries=0"),
            )
        servers = [f"127.0.0.1:{port}" for port in grpc_ports]
        processes.start(
            "gateway",
            "serving.gateway",
            *(f"--rest-port={gateway}", "--grpc-port=0", "--flush-s=0.5"),
            *(f"--rest-upstream=http://127.0.0.1:{port}" for port in rest_ports),
            *(f"--grpc-upstream={server}" for server in servers),
        )
        processes.start(
            "controller",
            "serving.rollout",
            *("run", "--flush-s=1", f"--port={status}", f"--settings={serving / 'rollout.toml'}"),
            *(f"--replica={server}" for server in servers),
            f"--gateway=http://127.0.0.1:{gateway}",
        )
        print("starting model servers, gateway and controller", flush=True)
        processes.wait(lambda: all(answers(f"http://127.0.0.1:{port}/v1/models/{MODEL}") for port in rest_ports), MODEL)
        store = open_store(url)
        store.submit(MODEL, first, "demo", "the first version")
        processes.wait(lambda: store.stable().get(MODEL) == first, "the first stable version")
        processes.wait(lambda: answers(f"http://127.0.0.1:{gateway}/readyz"), "the gateway")
        yield Stage(processes, gateway, status, model, url)


def _publish(best: Path, kind: str, model: Path) -> int:
    staged = model.parent / f"{kind}-staged"
    staged.parent.mkdir(parents=True, exist_ok=True)
    variants.make(best, staged, kind)
    version = model_directory.publish(staged, model, {})
    shutil.rmtree(staged)
    return version


def _first_config(model: Path, version: int) -> str:
    path = json.dumps(str(model), ensure_ascii=False)
    policy = f"model_version_policy {{ specific {{ versions: {version} }} }}"
    about = f'name: "{MODEL}" base_path: {path} model_platform: "tensorflow" {policy}'
    return f"model_config_list {{ config {{ {about} }} }}\n"


def _example(version: Path) -> dict[str, Any]:
    """One instance that the model takes."""
    command = [sys.executable, "-m", "serving.example_request", str(version)]
    said = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    if not said.stdout.strip():
        raise InputError(
            f"{version} holds no warm-up request to learn its inputs from; `make run` pushes one that does"
        )
    instance: dict[str, Any] = json.loads(said.stdout)["instances"][0]
    return instance


def _status(port: int) -> dict[str, Any]:
    """What the controller's status page says of the model; empty while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/rollouts/{MODEL}", timeout=2) as answer:
            said: dict[str, Any] = json.loads(answer.read())
            return said
    except (OSError, ValueError):
        return {}


def _clear(home: Path) -> None:
    """Removes what an earlier demonstration left; a folder that is none of its own stays."""
    mark = home / "demo-rollout"
    if home.exists() and any(home.iterdir()) and not mark.exists():
        raise InputError(f"{home} is not a folder of an earlier demonstration; give another --home")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    mark.touch()
