"""nginx and Envoy between a model server of stable versions and one of candidates, over REST and gRPC."""

import contextlib
import http.client
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from serving.deploy.options import Options
from tests.serving.deploy.echoes import Echo
from tests.serving.deploy.proxies import PREDICT, Caller, Proxy, alone, ask, caller, clicks, proxy
from tests.serving.model_server.conformance.process import free_port

USERS = [f"user-{number}" for number in range(500)]
BIG = b"x" * 3_000_000  # past what proxies keep in memory or send at once unasked


@pytest.fixture(scope="module", params=["nginx", "envoy"])
def running(
    request: pytest.FixtureRequest, two_servers: Options, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    with proxy(request.param, two_servers, tmp_path_factory.mktemp(request.param), clicks(0.1)) as made:
        yield made


@pytest.fixture
def at_10_percent(running: Proxy) -> Proxy:
    running.follow(clicks(0.1))
    return running


@pytest.fixture
def client(at_10_percent: Proxy) -> Iterator[Caller]:
    with caller(at_10_percent.options.grpc) as made:
        yield made


def met_canary(at: Proxy, users: list[str]) -> set[str]:
    assert at.options.rest is not None
    with contextlib.closing(http.client.HTTPConnection(at.options.rest, timeout=20)) as client:
        return {user for user in users if ask(client, "/v1/models/clicks:predict", user).variant == "canary"}


def code_of(client: Caller, variant: str = "", method: str = PREDICT) -> grpc.StatusCode:
    wish = {"x_pressline_variant": variant} if variant else {}
    with pytest.raises(grpc.RpcError) as failed:
        client.call(None, method, b"x", **wish)
    code: grpc.StatusCode = failed.value.code()
    return code


def test_the_share_of_users_meets_the_canary_over_both_protocols_and_again(
    at_10_percent: Proxy, client: Caller
) -> None:
    canaries = met_canary(at_10_percent, USERS)
    # The hash of 500 fixed users at 10 %: 50, and four standard deviations of a fair draw.
    assert 23 <= len(canaries) <= 77
    assert {user for user in USERS if client.call(user)[1]["x-pressline-variant"] == "canary"} == canaries
    assert met_canary(at_10_percent, USERS[:200]) == canaries & set(USERS[:200])


def test_the_answer_tells_variant_version_and_request(at_10_percent: Proxy, client: Caller) -> None:
    user = min(met_canary(at_10_percent, USERS[:100]))
    answer, (said, told) = at_10_percent.ask(user=user, x_request_id="mine"), client.call(user, x_request_id="mine")
    assert answer.json["by"] == "canary"
    assert answer.json["id"] == "mine"
    assert said == "canary 1"
    expected = {"x-pressline-variant": "canary", "x-pressline-version": "7", "x-request-id": "mine"}
    assert answer.headers.items() >= expected.items()
    assert told.items() >= expected.items()
    assert at_10_percent.ask().headers["x-request-id"] != at_10_percent.ask().headers["x-request-id"]


def test_who_has_no_key_is_drawn_anew_each_time(at_10_percent: Proxy, client: Caller) -> None:
    at_10_percent.follow(clicks(0.5))
    for key in (None, ""):
        drawn = [at_10_percent.ask(user=key).variant for _ in range(200)]
        assert 60 <= drawn.count("canary") <= 140  # 100, and 5.6 standard deviations
    drawn = [client.call()[1]["x-pressline-variant"] for _ in range(200)]
    assert 60 <= drawn.count("canary") <= 140


def test_another_salt_has_other_users_meet_the_canary(at_10_percent: Proxy) -> None:
    before = met_canary(at_10_percent, USERS)
    at_10_percent.follow(clicks(0.1, salt="clicks/5\\1$x"))
    after = met_canary(at_10_percent, USERS)
    assert 23 <= len(after) <= 77
    assert len(before & after) <= 20  # 5 by chance


@pytest.mark.parametrize(("share", "all_meet"), [(0.0, "stable"), (0.00004, "stable"), (1.0, "canary")])
def test_nothing_and_everything_are_exact(at_10_percent: Proxy, client: Caller, share: float, all_meet: str) -> None:
    at_10_percent.follow(clicks(share))
    assert {at_10_percent.ask(user=user).variant for user in [*USERS[:300], ""]} == {all_meet}
    assert {client.call(user)[1]["x-pressline-variant"] for user in USERS[:100]} == {all_meet}
    for variant in ("stable", "canary"):
        assert at_10_percent.ask(x_pressline_variant=variant).json["by"] == variant


def test_a_tester_gets_the_variant_that_he_names(at_10_percent: Proxy, client: Caller) -> None:
    for variant in ("stable", "canary"):
        for user in (None, *USERS[:20]):
            assert at_10_percent.ask(user=user, x_pressline_variant=variant).json["by"] == variant
            assert client.call(user, x_pressline_variant=variant)[0] == f"{variant} 1"
    refused = at_10_percent.ask(x_pressline_variant="Canary")
    assert (refused.status, list(refused.json)) == (400, ["error"])
    assert code_of(client, "both") is grpc.StatusCode.INVALID_ARGUMENT


def test_without_a_canary_all_meet_stable_and_a_tester_of_it_is_told(at_10_percent: Proxy, client: Caller) -> None:
    at_10_percent.follow(alone())
    assert met_canary(at_10_percent, USERS[:100]) == set()
    assert at_10_percent.ask(x_pressline_variant="stable").json["by"] == "stable"
    refused = at_10_percent.ask(x_pressline_variant="canary")
    assert (refused.status, "no canary" in refused.json["error"]) == (400, True)
    assert code_of(client, "canary") is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_what_the_canary_fails_stable_answers(at_10_percent: Proxy, stable: Echo, canary: Echo, status: int) -> None:
    user = min(met_canary(at_10_percent, USERS[:100]))
    canary.status = status
    for body in (b"{}", BIG):
        answer = at_10_percent.ask(user=user, body=body)
        assert (answer.status, answer.variant, answer.headers["x-pressline-version"]) == (200, "stable", "3")
        assert (answer.json["by"], answer.json["bytes"]) == ("stable", len(body))
    assert at_10_percent.ask(x_pressline_variant="canary").status == status
    stable.status = 409
    assert at_10_percent.ask(user=user).status == 409


def test_stables_own_errors_are_passed_on_and_not_asked_again(at_10_percent: Proxy, stable: Echo) -> None:
    user = min(set(USERS[:100]) - met_canary(at_10_percent, USERS[:100]))
    stable.well()
    stable.status = 500
    assert at_10_percent.ask(user=user).json["by"] == "stable"
    assert len(stable.asked) == 1


def test_what_the_canary_fails_over_grpc_envoy_asks_stable_for(
    at_10_percent: Proxy, client: Caller, stable: Echo, canary: Echo
) -> None:
    at_10_percent.follow(clicks(1.0))
    canary.code = grpc.StatusCode.NOT_FOUND
    if at_10_percent.kind == "nginx":  # it reads no trailers
        assert code_of(client) is grpc.StatusCode.NOT_FOUND
        return
    for body in (b"x", BIG):
        said, told = client.call(body=body)
        assert (said, told["x-pressline-variant"]) == (f"stable {len(body)}", "stable")
    stable.code = grpc.StatusCode.RESOURCE_EXHAUSTED
    assert code_of(client) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert code_of(client, "canary") is grpc.StatusCode.NOT_FOUND
    assert len(stable.asked) == 3


def test_a_canary_that_is_down_harms_nobody(at_10_percent: Proxy, client: Caller, canary: Echo) -> None:
    at_10_percent.follow(clicks(1.0))
    canary.stop()
    try:
        for body in (b"{}", BIG):
            answer, (said, told) = at_10_percent.ask(user="user", body=body), client.call("user", body=body)
            assert (answer.status, answer.json["bytes"], answer.variant) == (200, len(body), "stable")
            assert (said, told["x-pressline-variant"]) == (f"stable {len(body)}", "stable")
            assert (answer.headers["x-pressline-version"], told["x-pressline-version"]) == ("3", "3")
        tester = at_10_percent.ask(x_pressline_variant="canary")
        assert tester.status in (502, 503)
        assert list(tester.json) == ["error"]
        assert code_of(client, "canary") is grpc.StatusCode.UNAVAILABLE
    finally:
        canary.start()
    assert at_10_percent.ask(user="user").variant == "canary"
    assert client.call("user")[0] == "canary 1"


def test_a_path_that_names_a_version_or_a_label_goes_to_who_holds_it(at_10_percent: Proxy) -> None:
    here = "/v1/models/clicks"
    holders = {
        f"{here}/versions/7:predict": "canary",
        f"{here}/versions/07:classify": "canary",
        f"{here}/labels/canary:predict": "canary",
        f"{here}/labels/canary/metadata": "canary",
        f"{here}/labels/canary": "canary",
        f"{here}/versions/77:predict": "stable",
        f"{here}/versions/3:regress": "stable",
        f"{here}/labels/stable:predict": "stable",
        f"{here}/labels/other:predict": "stable",
        f"{here}/metadata": "stable",
        here: "stable",
    }
    for path, holder in holders.items():
        answer = at_10_percent.ask(path, user=USERS[0], body=b"{}" if ":" in path else None)
        # The servers hold one version each and know no labels.
        seen = path.replace("/labels/canary", "").replace("/labels/stable", "")
        assert (answer.status, answer.json["by"], answer.json["path"]) == (200, holder, seen)
    for path in (f"{here}s:predict", "/v1/models/other:predict", f"{here}:Predict", "/monitoring/prometheus/metrics"):
        assert at_10_percent.ask(path).status == 404


def test_over_grpc_the_status_is_stables_and_no_one_may_reload(at_10_percent: Proxy, client: Caller) -> None:
    at_10_percent.follow(clicks(1.0))
    service = "/tensorflow.serving.ModelService"
    assert client.call(method=f"{service}/GetModelStatus")[0] == "stable 1"
    assert client.call(method="/grpc.health.v1.Health/Check")[0] == "stable 1"
    assert code_of(client, method=f"{service}/HandleReloadConfigRequest") is grpc.StatusCode.UNIMPLEMENTED


def test_a_server_that_never_answers_is_given_up_in_time(running: Proxy, stable: Echo, tmp_path: Path) -> None:
    hasty = replace(running.options, rest=f"127.0.0.1:{free_port()}", grpc=None, timeout_s=0.2)
    stable.mute = True
    with proxy(running.kind, hasty, tmp_path, alone()) as made:
        answer = made.ask()
    assert (answer.status, list(answer.json)) == (504, ["error"])
