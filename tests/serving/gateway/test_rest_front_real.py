"""The REST door before a real model server: its contract comes through, whoever answers."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import orjson
import pytest
import urllib3

from serving.client.rest_client import RestClient
from serving.traffic_plan import ModelPlan, Target
from tests.serving.gateway.running import Gateway, gateway, write_plan
from tests.serving.model_server.conformance.process import Server, running
from tests.serving.model_server.conformance.shelf import config, entry, specific
from tests.serving.model_server.models import build, push

BODY = b'{"instances": [1.0, 2.0]}'
CANARY = Target(2)
STABLE_SAYS, CANARY_SAYS = [2.5, 3.0], [3.5, 4.0]


@dataclass(frozen=True)
class Behind:
    """A gateway, and the model server that it asks."""

    gateway: Gateway
    server: Server
    http: urllib3.PoolManager
    generations: Iterator[int]

    def ask(
        self, place: str = "", body: bytes = BODY, method: str = "POST", **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """What the gateway says to a request for the model `half`."""
        return self._ask(f"{self.gateway.url}/v1/models/half{place}", body, method, headers)

    def ask_server(self, place: str, body: bytes = BODY, method: str = "POST") -> urllib3.BaseHTTPResponse:
        """What the model server itself says."""
        return self._ask(f"http://127.0.0.1:{self.server.rest_port}/v1/models/half{place}", body, method, {})

    def _ask(self, url: str, body: bytes, method: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.request(method, url, body=body, headers=named, retries=False)

    def plan(self, share: float, canary: Target = CANARY) -> None:
        """Publishes a plan and waits until it is followed."""
        generation = next(self.generations)
        write_plan(self.gateway.plan, generation, ModelPlan("half", Target(1), canary, share, salt="s", rollout=1))
        self.gateway.wait_for_generation(generation)


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    folder = tmp_path_factory.mktemp("behind")
    push(build("half_plus_two", folder / "two"), folder / "half", 1)
    push(build("half_plus_three", folder / "three"), folder / "half", 2)
    labels = {"stable": 1, "canary": 2}
    (folder / "config").write_text(config(entry("half", folder / "half", specific(1, 2), labels)))
    flags = (f"--model_config_file={folder}/config", "--allow_version_labels_for_unavailable_models=true")
    with running(folder, *flags) as server, urllib3.PoolManager() as http:
        upstream = f"--rest-upstream=http://127.0.0.1:{server.rest_port}"
        with gateway(folder, upstream, f"--grpc-upstream=127.0.0.1:{server.port}") as door:
            yield Behind(door, server, http, itertools.count(1))


def test_the_plan_decides_and_every_change_of_it_is_followed(behind: Behind) -> None:
    behind.plan(1.0)
    answer = behind.ask(":predict", x_user_id="anna")
    assert orjson.loads(answer.data)["predictions"] == CANARY_SAYS
    assert (answer.headers["x-pressline-variant"], answer.headers["x-pressline-version"]) == ("canary", "2")
    behind.plan(0.0)
    answer = behind.ask(":predict", x_user_id="anna")
    assert orjson.loads(answer.data)["predictions"] == STABLE_SAYS
    assert (answer.headers["x-pressline-variant"], answer.headers["x-pressline-version"]) == ("stable", "1")


@pytest.mark.parametrize(
    ("place", "body", "method"),
    [
        (":predict", b"{", "POST"),
        (":predict", b'{"instances": [{"z": 1}]}', "POST"),
        (":predict", b'{"instances": ["text"]}', "POST"),
        (":classify", b'{"examples": [{}]}', "POST"),
        (":explain", BODY, "POST"),
        ("/versions/7:predict", BODY, "POST"),
        ("/versions/2:predict", BODY, "POST"),
        ("/labels/odd:predict", BODY, "POST"),
        ("/labels/canary:predict", BODY, "POST"),
        ("", b"", "GET"),
        ("/versions/2", b"", "GET"),
        ("/labels/canary/metadata", b"", "GET"),
        ("/nonsense", b"", "GET"),
    ],
)
def test_what_the_gateway_says_is_what_the_server_says(behind: Behind, place: str, body: bytes, method: str) -> None:
    behind.plan(1.0)
    own, through = behind.ask_server(place, body, method), behind.ask(place, body, method)
    assert (through.status, through.data) == (own.status, own.data)
    assert through.headers["content-type"] == own.headers["content-type"]
    assert through.headers["x-request-id"]


def test_a_canary_that_does_not_answer_is_not_noticed(behind: Behind) -> None:
    behind.plan(1.0, Target(9, "version"))
    answer = behind.ask(":predict", x_user_id="anna")
    assert (answer.status, orjson.loads(answer.data)["predictions"]) == (200, STABLE_SAYS)
    assert (answer.headers["x-pressline-variant"], answer.headers["x-pressline-version"]) == ("stable", "1")
    assert b"NOT_FOUND" in behind.gateway.get("/v1/tallies")


def test_the_clients_mistake_is_not_the_canarys_error(behind: Behind) -> None:
    behind.plan(1.0)
    assert behind.ask(":predict", b"{", x_user_id="anna").status == 400
    assert b"INVALID_ARGUMENT" not in behind.gateway.get("/v1/tallies")


def test_the_houses_client_works_through_the_gateway(behind: Behind) -> None:
    behind.plan(0.0)
    client = RestClient(behind.gateway.url)
    assert client.metadata("half").version == 1
    (outputs,) = client.predict("half", {"x": np.array([1.0, 2.0], np.float32)}).outputs.values()
    assert outputs.tolist() == STABLE_SAYS
    client.close()


def test_it_is_ready_and_says_so(behind: Behind) -> None:
    behind.plan(0.0)
    assert behind.gateway.get("/readyz") == b"ready\n"
    assert behind.gateway.get("/healthz") == b"alive\n"
