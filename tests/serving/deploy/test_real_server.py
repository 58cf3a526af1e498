"""nginx by label before a real model server, and what the rendered configs and probes ask of one."""

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from serving.deploy.options import Options, Servers, server_configs
from serving.deploy.render import render
from serving.gateway.assignment import in_canary
from serving.model_server import model_configs
from serving.model_server.aspired import Specific
from serving.model_server.config_files import read_model_config
from serving.traffic_plan import ModelPlan, Target, TrafficPlan
from tests.serving.deploy.proxies import alone, clicks, proxy
from tests.serving.model_server.conformance.process import Server, free_port, running, until
from tests.serving.model_server.conformance.shelf import config, entry, specific
from tests.serving.model_server.models import build, push

ODD = 'odd "name" +ü'
PLANS = [clicks(0.3), clicks(0.3, model=ODD)]
PROMOTING = ModelPlan("clicks", Target(3, "version"), Target(7, "version"), 0.5, 0.0, "s", 4, 3)
BODY = json.dumps({"instances": [2.0, 4.0]}).encode()
ANSWERS = {3: [3.0, 4.0], 7: [4.0, 5.0]}


@dataclass(frozen=True)
class Real:
    """A server that reads its config file again every second, and holds both versions by label at first."""

    server: Server
    folder: Path
    config: Path

    @property
    def options(self) -> Options:
        stable = Servers((f"127.0.0.1:{self.server.rest_port}",))
        return Options(stable=stable, rest=f"127.0.0.1:{free_port()}", models_root=str(self.folder))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """Versions 3 (x / 2 + 2), labelled stable, and 7 (x / 2 + 3), labelled canary."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "clicks").mkdir()
    labels = {"stable": 3, "canary": 7}
    names = ("clicks", ODD.replace('"', '\\"'))
    text = config(*(entry(name, folder / "clicks", specific(3, 7), labels) for name in names))
    (folder / "models.config").write_text(text)
    flags = (
        f"--model_config_file={folder}/models.config",
        "--model_config_file_poll_wait_seconds=1",
        "--allow_version_labels_for_unavailable_models=true",
    )
    with running(folder / "run", *flags, wait=False) as server:
        # It waits for versions, so both start at once: importing TensorFlow takes each its seconds.
        for version, kind in ((3, "half_plus_two"), (7, "half_plus_three")):
            push(build(kind, folder / kind), folder / "clicks", version)
        server.wait_until_open()
        until(lambda: available(server) == {3, 7}, "both versions are there")
        yield Real(server, folder, folder / "models.config")


def available(server: Server) -> set[int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.rest_port}/v1/models/clicks", timeout=10) as answer:
        states = json.load(answer)["model_version_status"]
    return {int(one["version"]) for one in states if one["state"] == "AVAILABLE"}


def test_users_meet_the_version_that_the_plan_gives_them(real: Real, tmp_path: Path) -> None:
    with proxy("nginx", real.options, tmp_path, *PLANS) as made:
        for path in ("/v1/models/clicks", "/v1/models/odd%20%22name%22%20+%C3%BC"):
            for number in range(60):
                answer = made.ask(f"{path}:predict", user=f"user-{number}", body=BODY)
                version = 7 if in_canary(b"clicks/4", f"user-{number}".encode(), 0.3) else 3
                assert (answer.status, answer.json) == (200, {"predictions": ANSWERS[version]})
                assert answer.headers["x-pressline-version"] == str(version)
        assert made.ask("/v1/models/clicks/versions/7:predict", body=BODY).json["predictions"] == ANSWERS[7]
        assert made.ask("/v1/models/clicks/labels/stable:predict", body=BODY).json["predictions"] == ANSWERS[3]
        wrong = made.ask(user="user-1", body=b"{}", x_pressline_variant="stable")
        assert (wrong.status, "instances" in wrong.json["error"]) == (400, True)


def test_a_canary_that_the_server_does_not_have_is_answered_for_by_stable(real: Real, tmp_path: Path) -> None:
    gone = ModelPlan("clicks", Target(3), Target(8, "version"), 1.0, 0.0, "s", 4, 1)
    with proxy("nginx", real.options, tmp_path, gone) as made:
        answer = made.ask(user="user-1", body=BODY)
        assert (answer.json["predictions"], answer.variant) == (ANSWERS[3], "stable")
        assert made.ask(x_pressline_variant="canary", body=BODY).status == 404


def test_a_pods_probe_is_answered_well_only_by_a_server_that_has_its_version(real: Real, tmp_path: Path) -> None:
    with proxy("nginx", real.options, tmp_path, clicks(0.0)) as made:
        states = [made.ask(f"/v1/models/clicks/versions/{version}/metadata", body=None).status for version in (3, 7, 8)]
    assert states == [200, 200, 404]


def test_a_running_server_follows_the_rendered_config_through_a_promotion(real: Real, tmp_path: Path) -> None:
    options = replace(real.options, canary=Servers(("127.0.0.1:1",)))
    by_label = real.config.read_text()
    promoted = [(3, clicks(0.5)), (7, PROMOTING), (7, ModelPlan("clicks", Target(7))), (3, alone())]
    try:
        for generation, (version, plan) in enumerate(promoted):
            render("nginx", TrafficPlan(generation, {"clicks": plan}), options, tmp_path)
            (tmp_path / "models.stable.config").replace(real.config)
            until(lambda version=version: available(real.server) == {version}, "only the plan's version is there")  # type: ignore[misc]
            with urllib.request.urlopen(
                f"http://127.0.0.1:{real.server.rest_port}/v1/models/clicks:predict", BODY, timeout=10
            ) as answer:
                assert json.load(answer) == {"predictions": ANSWERS[version]}
    finally:
        real.config.write_text(by_label)
        until(lambda: available(real.server) == {3, 7}, "both versions are back")


def test_the_configs_of_two_servers_are_what_a_model_server_reads(tmp_path: Path) -> None:
    plans = [*PLANS, ModelPlan("topic", Target(5))]
    held = {}
    for variant, text in server_configs(plans, "/mo\\dels").items():
        (tmp_path / variant).write_text(text)
        read = model_configs.read(read_model_config(str(tmp_path / variant)))
        held[variant] = {one.name: (one.source.policy, one.source.base_path) for one in read}
        assert all(not one.labels for one in read)
    three, seven = (Specific(frozenset({version})) for version in (3, 7))
    assert held == {
        "stable": {
            "clicks": (three, "/mo\\dels/clicks"),
            ODD: (three, f"/mo\\dels/{ODD}"),
            "topic": (Specific(frozenset({5})), "/mo\\dels/topic"),
        },
        "canary": {"clicks": (seven, "/mo\\dels/clicks"), ODD: (seven, f"/mo\\dels/{ODD}")},
    }
