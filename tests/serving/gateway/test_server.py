"""The whole gateway as a process before a real model server: both doors, plans that change, signals."""

import asyncio
import contextlib
import json
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.client.grpc_client import GrpcClient
from serving.client.rest_client import RestClient
from serving.gateway.grpc_front import PREDICTION
from serving.status import StatusError
from serving.traffic_plan import ModelPlan, Target
from tests.serving.gateway.grpc_stub import hanging, predict, stub, wait_for
from tests.serving.gateway.running import Gateway, gateway, start, write_plan
from tests.serving.model_server.conformance.process import Server, listens, running
from tests.serving.model_server.conformance.shelf import config, entry
from tests.serving.model_server.grpc_running import LIMIT_S
from tests.serving.model_server.models import build, push

MODEL = "half_plus"
X = {"x": np.array([4.0], np.float32)}
STABLE, CANARY = 4.0, 5.0  # of 4: half of it plus 2, plus 3


def plan(share: float, **more: Any) -> ModelPlan:
    return ModelPlan(MODEL, Target(1), Target(2), share, salt="t/1", rollout=1, step=1, **more)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("models")
    for version, kind in ((1, "half_plus_two"), (2, "half_plus_three")):
        push(build(kind, folder / kind), folder / MODEL, version)
    push(folder / "half_plus_two", folder / MODEL, 3)  # what a request that nobody directs would meet
    file = folder / "models.config"
    file.write_text(config(entry(MODEL, folder / MODEL, "all {}", {"stable": 1, "canary": 2})))
    flags = (f"--model_config_file={file}", "--allow_version_labels_for_unavailable_models=true")
    with running(folder / "server", *flags) as server:
        yield server


def before(models: Server) -> tuple[str, str]:
    """The flags that put a gateway before this server."""
    return f"--rest-upstream=http://127.0.0.1:{models.rest_port}", f"--grpc-upstream=127.0.0.1:{models.port}"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, models: Server) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("gateway"), *before(models)) as made:
        yield made


_GENERATION = iter(range(1, 1_000_000))


def publish(to: Gateway, share: float, **more: Any) -> None:
    """A new plan, that the gateway has taken when this returns."""
    generation = next(_GENERATION)
    write_plan(to.plan, generation, plan(share, **more))
    to.wait_for_generation(generation)


@contextlib.contextmanager
def clients(of: Gateway) -> Iterator[tuple[RestClient, GrpcClient]]:
    rest, over_grpc = RestClient(of.url), GrpcClient(of.target)
    try:
        yield rest, over_grpc
    finally:
        rest.close()
        over_grpc.close()


@pytest.mark.parametrize(("share", "answer", "version"), [(0.0, STABLE, 1), (1.0, CANARY, 2)])
def test_both_doors_lead_to_the_variant_of_the_plan_and_follow_it_without_a_restart(
    started: Gateway, share: float, answer: float, version: int
) -> None:
    publish(started, share)
    with clients(started) as (rest, over_grpc):
        over_rest = rest.predict(MODEL, X)
        said = over_grpc.predict(MODEL, X)
    assert (said.outputs["y"].tolist(), said.version) == ([answer], version)
    assert over_rest.outputs["y"].tolist() == [answer]


def test_both_doors_put_a_user_on_the_same_side(started: Gateway) -> None:
    publish(started, 0.5)
    sides: dict[str, list[float]] = {"rest": [], "grpc": []}
    with grpc.insecure_channel(started.target) as channel:
        ask = channel.unary_unary(f"/{PREDICTION}/Predict")
        for number in range(30):
            user = f"user {number}"
            body = json.dumps({"inputs": {"x": [4.0]}}).encode()
            request = urllib.request.Request(
                f"{started.url}/v1/models/{MODEL}:predict", body, {"X-User-Id": user}, method="POST"
            )
            with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
                sides["rest"].append(json.load(answer)["outputs"][0])
            _, call = ask.with_call(example(), metadata=(("x-user-id", user),), timeout=LIMIT_S)
            trailing = dict(call.trailing_metadata())
            sides["grpc"].append(STABLE if trailing["x-pressline-variant"] == "stable" else CANARY)
    assert sides["rest"] == sides["grpc"]
    assert set(sides["rest"]) == {STABLE, CANARY}


def example(model: str = MODEL) -> bytes:
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add(size=1)
    request.inputs["x"].float_val.append(4.0)
    content: bytes = request.SerializeToString()
    return content


def test_versions_labels_errors_status_and_metadata_are_those_of_the_model_server(
    started: Gateway, models: Server
) -> None:
    publish(started, 0.0)
    direct = GrpcClient(f"127.0.0.1:{models.port}")
    with clients(started) as (_, over_grpc):
        assert over_grpc.predict(MODEL, X, version=2).outputs["y"].tolist() == [CANARY]
        assert over_grpc.predict(MODEL, X, label="canary").version == 2
        assert over_grpc.status(MODEL) == direct.status(MODEL)
        assert over_grpc.metadata(MODEL).version == 1
        for wrong in ({"model": "nobody"}, {"model": MODEL, "version": 9}, {"model": MODEL, "label": "odd"}):
            with pytest.raises(StatusError) as expected:
                direct.predict(inputs=X, **wrong)
            with pytest.raises(StatusError) as got:
                over_grpc.predict(inputs=X, **wrong)
            assert (got.value.code, got.value.message) == (expected.value.code, expected.value.message)
    direct.close()


@pytest.mark.parametrize("garbage", [b"\x0a\x05ab", b"\xff" * 20, b"\x0a\x03\x0a\x01\xff"])
def test_garbage_is_refused_the_way_the_model_server_refuses_it(
    started: Gateway, models: Server, garbage: bytes
) -> None:
    said = []
    for target in (f"127.0.0.1:{models.port}", started.target):
        with grpc.insecure_channel(target) as channel, pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(f"/{PREDICTION}/Predict")(garbage, timeout=LIMIT_S)
        said.append((caught.value.code(), caught.value.details()))
    assert said[0] == said[1]


def test_what_the_canary_cannot_do_stable_does(started: Gateway) -> None:
    generation = next(_GENERATION)
    broken = ModelPlan(MODEL, Target(1), Target(77, "version"), 1.0, salt="t/1", rollout=1, step=1)
    write_plan(started.plan, generation, broken)
    started.wait_for_generation(generation)
    with clients(started) as (rest, over_grpc):
        assert over_grpc.predict(MODEL, X).version == 1
        assert rest.predict(MODEL, X).outputs["y"].tolist() == [STABLE]


def test_health_is_told_over_both_doors(started: Gateway) -> None:
    publish(started, 0.0)
    assert started.get("/healthz")
    assert started.get("/readyz")
    with grpc.insecure_channel(started.target) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=LIMIT_S)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_tallies_and_metrics_count_what_came_over_both_doors(started: Gateway) -> None:
    publish(started, 1.0)

    def requests() -> int:
        return sum(one["keyed"] + one["random"] for one in json.loads(started.get("/v1/tallies"))["tallies"])

    counted = requests()
    with clients(started) as (rest, over_grpc):
        rest.predict(MODEL, X)
        over_grpc.predict(MODEL, X)
    assert requests() == counted + 2
    page = started.get("/metrics").decode()
    assert all(f'protocol="{name}"' in page for name in ("REST", "GRPC"))


def test_feedback_needs_the_token_and_is_on_disk_when_the_gateway_ends(tmp_path: Path, models: Server) -> None:
    body = json.dumps({"request_id": "r-1", "label": "click", "value": 1}).encode()
    token = {"PRESSLINE_TOKEN": "sesame"}
    with gateway(tmp_path, *before(models), environment=token) as made:

        def post(headers: dict[str, str]) -> int:
            request = urllib.request.Request(f"{made.url}/v1/feedback", body, headers, method="POST")
            with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
                status: int = answer.status
            return status

        with pytest.raises(urllib.error.HTTPError, match="401"):
            post({})
        assert post({"Authorization": "Bearer sesame"}) == 200
    assert len(list((tmp_path / "impressions" / "feedback").rglob("*.parquet"))) == 1


def test_a_gateway_without_plan_and_model_servers_starts_says_so_and_finds_them_later(
    tmp_path: Path, models: Server
) -> None:
    nowhere = ("--rest-upstream=http://127.0.0.1:1", "--grpc-upstream=127.0.0.1:1")
    with gateway(tmp_path / "nowhere", *nowhere) as alone:
        assert "no traffic plan" in alone.log()
        with grpc.insecure_channel(alone.target) as channel, pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(f"/{PREDICTION}/Predict")(example(), timeout=LIMIT_S)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        with pytest.raises(urllib.error.HTTPError):
            alone.get("/readyz")
    with gateway(tmp_path / "there", *before(models)) as unplanned, clients(unplanned) as (_, over_grpc):
        assert over_grpc.predict(MODEL, X).version == 3
        publish(unplanned, 0.0)
        assert over_grpc.predict(MODEL, X).version == 1


def test_two_gateways_share_plan_impressions_and_secret(tmp_path: Path, models: Server) -> None:
    with gateway(tmp_path, *before(models)) as one, gateway(tmp_path, *before(models)) as other:
        for made in (one, other):
            publish(made, 0.0)
            with clients(made) as (_, over_grpc):
                over_grpc.predict(MODEL, X)
    secrets = list((tmp_path / "home" / "serving").glob("gateway.secret"))
    assert len(secrets) == 1
    assert len(list((tmp_path / "impressions").rglob("*.parquet"))) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_is_under_way_end_writes_impressions_and_exits_with_0(tmp_path: Path, number: int) -> None:
    release = threading.Event()

    async def slow(context: Any) -> None:
        while not release.is_set():
            await asyncio.sleep(0.005)

    with stub() as server:
        server.faults[1] = slow
        made = start(tmp_path, f"--grpc-upstream={server.target}")
        try:
            write_plan(made.plan, 1, ModelPlan("m", Target(1)))
            made.wait_for_generation(1)
            with grpc.insecure_channel(made.target) as channel:
                call = channel.unary_unary(f"/{PREDICTION}/Predict").future(predict(), timeout=LIMIT_S)
                wait_for(lambda: server.seen)
                made.process.send_signal(number)
                wait_for(lambda: not listens(made.grpc_port) and not listens(made.rest_port))
                assert made.process.poll() is None
                release.set()
                assert call.result()
            assert made.process.wait(LIMIT_S) == 0
        finally:
            made.kill()
    assert "Draining" in made.log()
    assert len(list(made.impressions.rglob("*.parquet"))) == 1


def test_a_second_signal_drops_what_is_under_way_and_still_writes_impressions(tmp_path: Path) -> None:
    with stub() as server:
        made = start(tmp_path, f"--grpc-upstream={server.target}")
        try:
            write_plan(made.plan, 1, ModelPlan("m", Target(1)))
            made.wait_for_generation(1)
            with grpc.insecure_channel(made.target) as channel:
                ask = channel.unary_unary(f"/{PREDICTION}/Predict")
                ask(predict(), timeout=LIMIT_S)
                server.faults[1] = hanging
                call = ask.future(predict(), timeout=LIMIT_S)
                wait_for(lambda: len(server.seen) == 2)
                made.process.send_signal(signal.SIGTERM)
                wait_for(lambda: "Draining" in made.log())
                assert made.stop() == 0
                with pytest.raises(grpc.RpcError):
                    call.result()
        finally:
            made.kill()
    assert "second signal" in made.log()
    assert len(list(made.impressions.rglob("*.parquet"))) == 1
