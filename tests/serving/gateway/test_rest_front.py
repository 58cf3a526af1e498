"""The REST door: where requests go, what is said about it, what is kept and what is passed on."""

import gzip
from dataclasses import replace

import orjson
import pytest

from serving.gateway.rest_front import KEEP
from serving.gateway.upstream_connection import Answer
from serving.http.message import Request, Response
from serving.traffic_plan import TrafficPlan
from tests.serving.gateway.rest_fakes import JSON, STABLE, Door, headers_of, run

PREDICT = "/v1/models/m:predict"
BODY = b'{"instances": [1.0]}'


@pytest.mark.parametrize(("user", "variant", "version"), [(b"anna", "stable", "1"), (b"canary", "canary", "2")])
def test_a_request_goes_to_its_users_variant_and_the_answer_says_so(user: bytes, variant: str, version: str) -> None:
    door = Door()
    answer = door.say(PREDICT, BODY, x_user_id=user, x_request_id=b"r-1")
    path = f"/v1/models/m/labels/{variant}:predict"
    assert (answer.status, answer.body) == (200, b"answer to " + path.encode())
    assert headers_of(answer) == {
        "content-type": "application/json",
        "x-request-id": "r-1",
        "x-pressline-version": version,
        "x-pressline-variant": variant,
    }
    asked = door.upstream.asked[0]
    assert (asked.method, asked.path, asked.headers, asked.body) == (b"POST", path.encode(), JSON, BODY)


@pytest.mark.parametrize("verb", ["predict", "classify", "regress"])
def test_every_kind_of_inference_is_recorded_with_its_bytes(verb: str) -> None:
    door = Door()
    door.say(f"/v1/models/m:{verb}", BODY, x_user_id=b"canary", x_request_id=b"r-1")
    (exchange,) = door.recorded.exchanges
    assert (exchange.routed, exchange.api, exchange.protocol) == (door.router.canary, verb, "REST")
    assert (exchange.request_id, exchange.code, exchange.version) == ("r-1", "OK", 2)
    assert (exchange.request, exchange.response) == (BODY, f"answer to /v1/models/m/labels/canary:{verb}".encode())
    assert (exchange.shadow, exchange.fell_back) == (False, False)
    assert 0 <= exchange.latency_s < 30
    assert exchange.began_unix_s > 1.7e9


def test_a_variant_can_be_asked_for_by_number_while_labels_move() -> None:
    door = Door()
    door.router.stable = replace(STABLE, version=12, label=None)
    answer = door.say("/v1/models/a%2Fb%3A:predict")
    assert door.upstream.paths == ["/v1/models/a%2Fb%3A:predict"]  # another model: no plan
    assert set(headers_of(answer)) == {"content-type", "x-request-id"}
    assert headers_of(door.say(PREDICT))["x-pressline-version"] == "12"
    assert door.upstream.paths[1] == "/v1/models/m/versions/12:predict"


def test_a_label_is_escaped_and_a_target_with_a_host_is_a_path_again() -> None:
    door = Door()
    door.router.stable = replace(STABLE, label="a b/c")
    door.say("http://host:80/v1/models/m:predict")
    assert door.upstream.paths == ["/v1/models/m/labels/a%20b%2Fc:predict"]


@pytest.mark.parametrize("place", ["versions/9", "labels/canary", "labels/odd%20one"])
def test_a_request_that_says_what_it_wants_is_passed_on_as_it_is(place: str) -> None:
    door = Door()
    answer = door.say(f"/v1/models/m/{place}:predict", x_user_id=b"canary", x_pressline_variant=b"stable")
    assert door.upstream.paths == [f"/v1/models/m/{place}:predict"]
    assert "x-pressline-variant" not in headers_of(answer)
    assert door.router.keys == []
    (exchange,) = door.recorded.exchanges
    assert (exchange.routed.variant, exchange.routed.how) == ("", "unplanned")


@pytest.mark.parametrize("place", ["", "/versions/9", "/labels/canary", "/versions/9/metadata", "/labels/x/metadata"])
def test_status_and_explicit_metadata_are_passed_on(place: str) -> None:
    door = Door()
    answer = door.say(f"/v1/models/m{place}", b"", method="GET", x_request_id=b"r-1")
    assert answer.body == f"answer to /v1/models/m{place}".encode()
    assert headers_of(answer)["x-request-id"] == "r-1"
    assert door.recorded.exchanges == []


def test_metadata_is_of_stable_unless_the_request_or_no_plan_says_otherwise() -> None:
    door = Door()
    for model in ("m", "other"):
        door.say(f"/v1/models/{model}/metadata", b"", method="GET", x_user_id=b"canary")
    assert door.upstream.paths == ["/v1/models/m/labels/stable/metadata", "/v1/models/other/metadata"]


@pytest.mark.parametrize(("override", "label"), [(b"canary", "canary"), (b"stable", "stable")])
def test_a_tester_chooses_the_variant(override: bytes, label: str) -> None:
    door = Door()
    door.say(PREDICT, x_pressline_variant=override)
    assert door.upstream.paths == [f"/v1/models/m/labels/{label}:predict"]
    assert door.recorded.exchanges[0].routed.how == "override"


def test_a_variant_that_does_not_exist_is_refused() -> None:
    door = Door()
    answer = door.say(PREDICT, x_pressline_variant=b"best", x_request_id=b"r-1")
    assert (answer.status, orjson.loads(answer.body)) == (400, {"error": "no such variant"})
    assert headers_of(answer)["x-request-id"] == "r-1"
    assert door.upstream.asked == []


def test_a_request_without_an_id_gets_one() -> None:
    door = Door()
    first, second = (headers_of(door.say(PREDICT, x_request_id=given))["x-request-id"] for given in (b"", b"a b"))
    assert first != second
    assert [one.request_id for one in door.recorded.exchanges] == [first, second]


def test_a_compressed_body_is_passed_on_as_it_is_and_recorded_as_it_was() -> None:
    door = Door(key_field="user")
    for size in (1, 100_000):  # small ones are inflated at once, large ones in a thread
        plain = orjson.dumps({"instances": [{"user": "canary", "x": list(range(size))}]})
        packed = gzip.compress(plain)

        async def ask(packed: bytes = packed) -> None:
            await door.ask(PREDICT, packed, encoding=b"gzip")

        run(ask())
        assert door.upstream.asked[-1].body == packed
        assert door.upstream.asked[-1].headers == JSON + b"Content-Encoding: gzip\r\n"
        assert door.recorded.exchanges[-1].request == plain
        assert door.recorded.exchanges[-1].routed.variant == "canary"


@pytest.mark.parametrize("cut", [0, 1, 5, 30])
def test_a_damaged_compressed_body_is_the_model_servers_to_refuse(cut: int) -> None:
    door = Door(key_field="user")
    packed = gzip.compress(b"x" * 100)[:cut] + b"\xff" * 4  # which says that it is 4 GiB long

    async def ask() -> None:
        await door.ask(PREDICT, packed, encoding=b"gzip")
        await door.ask(PREDICT, packed, encoding=b"deflate")

    run(ask())
    assert [one.body for one in door.upstream.asked] == [packed, packed]
    assert door.recorded.exchanges[0].request == b""


def test_the_key_comes_from_the_header_and_only_else_from_the_body() -> None:
    door = Door(key_field="user")
    body = b'{"instances": [{"user": "canary"}]}'
    door.say(PREDICT, body, x_user_id=b"anna")
    door.say(PREDICT, body)
    door.say(PREDICT, body, x_user_id=b"")
    assert door.router.keys == [b"anna", b"canary", b"canary"]
    other = Door()
    other.say(PREDICT, body)
    assert other.router.keys == [None]


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_an_error_of_stable_is_the_clients_answer_with_variant_and_version(status: int) -> None:
    door = Door(lambda _: Answer(status, JSON, b'{"error": "no"}'))
    answer = door.say(PREDICT)
    assert (answer.status, answer.body) == (status, b'{"error": "no"}')
    assert headers_of(answer)["x-pressline-version"] == "1"
    (exchange,) = door.recorded.exchanges
    assert exchange.code == {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 500: "INTERNAL", 503: "UNAVAILABLE"}[status]
    assert exchange.response == b""
    assert len(door.upstream.asked) == 1


@pytest.mark.parametrize("target", ["/v1/models/m", "/v1/models/m/metadata", "/v1/nonsense", "/v1/models/m:explain"])
def test_what_no_model_server_answers_is_refused_as_it_would(target: str) -> None:
    door = Door()
    answer = door.say(target)
    assert answer.status == 400
    assert orjson.loads(answer.body)["error"].startswith("Malformed request: POST /v1/")
    assert door.upstream.asked == []


@pytest.mark.parametrize("target", ["/", "/other", "/monitoring/prometheus/metrics"])
def test_what_is_not_under_v1_is_not_found(target: str) -> None:
    assert Door().say(target, b"", method="GET").status == 404


def test_pages_of_other_origins_are_answered_only_if_that_is_wanted() -> None:
    def allowed(door: Door, target: str, method: str) -> bool:
        return "access-control-allow-origin" in headers_of(door.say(target, method=method))

    wanted, unwanted = Door(cors=True), Door()
    for target, method in (
        (PREDICT, "OPTIONS"),
        (PREDICT, "POST"),
        ("/v1/feedback", "OPTIONS"),
        ("/v1/feedback", "POST"),
    ):
        assert (allowed(wanted, target, method), allowed(unwanted, target, method)) == (True, False)


def test_what_the_server_keeps_are_the_headers_that_are_read() -> None:
    assert set(KEEP) == {b"x-user-id", b"x-pressline-variant", b"x-request-id", b"authorization"}


def test_an_error_text_of_any_characters_is_json() -> None:
    door = Door()
    answer = door.front.answer(Request("POST", b'/v1/"\xff\xc3', b"", b"", b""))
    assert isinstance(answer, Response)
    assert "error" in orjson.loads(answer.body)


def test_the_plan_is_not_needed_for_requests() -> None:
    door = Door()
    door.watch.plan = TrafficPlan()
    assert door.say("/v1/models/other:predict").status == 200
