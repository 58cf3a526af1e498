"""What is Envoy's own: several models with any names, replicas that are gone, files that appear in its folder."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from serving.deploy.options import Options, Servers
from serving.traffic_plan import ModelPlan, Target
from tests.serving.deploy.echoes import Echo
from tests.serving.deploy.proxies import Proxy, alone, clicks, proxy
from tests.serving.model_server.conformance.process import free_port, until

ODD = 'odd (n)+ü"$\\1'
PROMOTING = ModelPlan("moving", Target(3, "version"), Target(7, "version"), 0.5, 0.0, "s", 4, 3)
SEVERAL = [clicks(1.0), alone("topic"), ModelPlan(ODD, Target(5), Target(6), 1.0, 0.0, "s", 5, 1), PROMOTING]


@pytest.fixture(scope="module")
def running(
    two_servers: Options, servers: tuple[Echo, Echo], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """The stable servers are two by host name, and one of them does not listen."""
    gone = Servers((f"localhost:{servers[0].rest_port}", f"localhost:{free_port()}"))
    options = replace(two_servers, stable=gone, rest=f"127.0.0.1:{free_port()}", grpc=None)
    with proxy("envoy", options, tmp_path_factory.mktemp("envoy"), *SEVERAL) as made:
        yield made


def test_each_model_has_its_own_split_and_versions(running: Proxy) -> None:
    answered = {
        "clicks": ("canary", "7"),
        "topic": ("stable", "3"),
        "odd%20%28n%29%2B%c3%BC%22%24%5c1": ("canary", "6"),
        "odd%20(n)+%C3%BC%22$%5C1": ("canary", "6"),
    }
    for name, (variant, version) in answered.items():
        answer = running.ask(f"/v1/models/{name}:predict", user="user")
        assert (answer.status, answer.variant, answer.headers["x-pressline-version"]) == (200, variant, version)
        assert answer.json["path"] == f"/v1/models/{name}:predict"
    assert running.ask("/v1/models/odd:predict").status == 404


def test_while_stables_servers_change_versions_none_is_told_for_them(running: Proxy) -> None:
    path = "/v1/models/moving:predict"
    assert "x-pressline-version" not in running.ask(path, x_pressline_variant="stable").headers
    assert running.ask(path, x_pressline_variant="canary").headers["x-pressline-version"] == "7"


def test_a_replica_that_is_gone_fails_no_request(running: Proxy) -> None:
    for _ in range(40):
        for path in ("/v1/models/topic:predict", "/v1/models/topic/labels/stable:predict"):
            assert running.ask(path).json["by"] == "stable"


@pytest.mark.parametrize("damage", [lambda text: text[: len(text) // 2], lambda text: text.replace("weight", "weigth")])
def test_routes_that_envoy_cannot_read_leave_those_that_it_has(running: Proxy, damage: Callable[[str], str]) -> None:
    running.follow(clicks(1.0))
    before = running.said.count("config update ")
    (running.folder / "dropped").write_text(damage((running.folder / "routes.rest.json").read_text()))
    (running.folder / "dropped").replace(running.folder / "routes.rest.json")
    until(lambda: running.said.count("config update ") > before, "Envoy says that it takes no such routes")
    assert running.ask(user="user").variant == "canary"
    running.follow(clicks(0.0))
    assert running.ask(user="user").variant == "stable"


def test_a_file_that_stands_half_written_beside_the_routes_is_not_read(running: Proxy) -> None:
    (running.folder / ".routes.rest.json.123").write_text("{")
    running.follow(clicks(1.0))
    assert running.ask(user="user").variant == "canary"


def test_the_folder_holds_nothing_but_what_is_named(running: Proxy, tmp_path: Path) -> None:
    named = {path.name for path in running.folder.iterdir() if not path.name.startswith((".", "log"))}
    assert named == {
        *("clusters.json", "listeners.json", "routes.rest.json", "envoy.json"),
        *("models.stable.config", "models.canary.config"),
    }
