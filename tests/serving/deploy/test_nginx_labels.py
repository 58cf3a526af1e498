"""nginx before one model server, by label, over REST: the same users as the gateway's split, whatever the names."""

import random
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from serving.deploy import nginx
from serving.deploy.options import Options
from serving.errors import InputError
from serving.gateway.assignment import in_canary
from serving.traffic_plan import ModelPlan, Target, TrafficPlan
from tests.serving.deploy.echoes import Echo
from tests.serving.deploy.proxies import Proxy, alone, clicks, proxy
from tests.serving.model_server.conformance.process import free_port, until

ODD = 'odd $1 "name"\\ +ü {x}; #'
SPLITS = {  # model -> share and salt
    "clicks": (0.09, "clicks/4"),
    "half": (0.5, ""),
    "rare": (0.0001, "rare/1"),
    "nearly": (0.9999, "nearly/2"),
    "cut": (0.333399, "cut/3"),
    "none": (0.0, "none/4"),
    "all": (1.0, "all/5"),
    ODD: (0.29, f"{ODD}/${{x}}\\n'5"),
}


@pytest.fixture(scope="module")
def running(one_server: Options, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    models = [clicks(share, salt, model) for model, (share, salt) in SPLITS.items()]
    with proxy("nginx", one_server, tmp_path_factory.mktemp("nginx"), *models) as made:
        yield made


def path_of(model: str, verb: str = "predict") -> str:
    return f"/v1/models/{quote(model, safe='')}:{verb}"


def label_in(path: str, model: str) -> str:
    """Which label nginx has set."""
    start, end = f"/v1/models/{model}/labels/", ":predict"
    assert unquote(path).startswith(start), path
    return unquote(path).removeprefix(start).removesuffix(end)


@pytest.mark.parametrize("model", SPLITS)
def test_the_split_is_the_gateways_bit_for_bit(running: Proxy, model: str) -> None:
    share, salt = SPLITS[model]
    draw = random.Random(model)
    visible = bytes(code for code in range(0x21, 0x100) if code != 0x7F)
    for _ in range(150):
        key = bytes(draw.choices(visible, k=draw.randrange(1, 40)))
        answer = running.ask(path_of(model), user=key.decode("latin1"))
        # Finer than 0.01 % is cut off.
        assert (answer.variant == "canary") == in_canary(salt.encode(), key, int(share * 10_000) / 10_000)
        assert label_in(answer.json["path"], model) == answer.variant
        assert answer.headers["x-pressline-version"] == {"stable": "3", "canary": "7"}[answer.variant]


def test_the_variants_label_is_set_for_every_verb(running: Proxy) -> None:
    for verb in ("classify", "predict", "regress"):
        for variant in ("stable", "canary"):
            answer = running.ask(path_of("clicks", verb), x_pressline_variant=variant)
            assert answer.json["path"] == f"/v1/models/clicks/labels/{variant}:{verb}"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/all/labels/stable:predict",
        "/v1/models/all/labels/other:predict",
        "/v1/models/all/versions/9:classify",
        "/v1/models/all/versions/9/metadata",
        "/v1/models/all/metadata",
        "/v1/models/all",
        "/v1/models/unknown:predict",
        "/v1/models/odd%2Fname%3a:predict?a=%20b",
    ],
)
def test_what_names_a_version_or_a_label_or_asks_no_prediction_passes_untouched(running: Proxy, path: str) -> None:
    answer = running.ask(path, body=b"{}" if ":" in path else None)
    assert (answer.status, answer.json["path"]) == (200, path)
    assert "x-pressline-variant" not in answer.headers


def test_errors_of_the_canary_label_are_answered_by_the_stable_label(running: Proxy, stable: Echo) -> None:
    stable.status = 503
    assert running.ask(path_of("all"), user="u").status == 503
    assert stable.asked == ["/v1/models/all/labels/canary:predict", "/v1/models/all/labels/stable:predict"]
    stable.well()
    stable.status = 503
    answer = running.ask(path_of(ODD), user="u", x_pressline_variant="canary")
    assert (answer.status, len(stable.asked)) == (503, 1)


def test_versions_are_asked_for_by_number_while_labels_move(one_server: Options, tmp_path: Path) -> None:
    moving = ModelPlan("clicks", Target(3, "version"), Target(7, "version"), 1.0, 0.0, "s", 4, 2)
    back = ModelPlan("clicks", Target(3, "version"))
    with proxy("nginx", replace(one_server, rest=f"127.0.0.1:{free_port()}"), tmp_path, moving) as made:
        assert made.ask().json["path"] == "/v1/models/clicks/versions/7:predict"
        assert made.ask(x_pressline_variant="stable").json["path"] == "/v1/models/clicks/versions/3:predict"
        assert made.ask(x_pressline_variant="stable").headers["x-pressline-version"] == "3"
        made.follow(back)
        assert made.ask().json["path"] == "/v1/models/clicks/versions/3:predict"
        made.follow(alone())
        assert made.ask().json["path"] == "/v1/models/clicks/labels/stable:predict"


def test_a_body_over_the_limit_is_refused_in_json(one_server: Options, tmp_path: Path) -> None:
    small = replace(one_server, rest=f"127.0.0.1:{free_port()}", body_bytes=1000)
    with proxy("nginx", small, tmp_path, clicks(0.5)) as made:
        assert made.ask(body=b"x" * 1000).status == 200
        refused = made.ask(body=b"x" * 1001)
    assert (refused.status, list(refused.json)) == (413, ["error"])


def test_a_file_that_nginx_refuses_leaves_the_split_as_it_was(running: Proxy) -> None:
    before = running.ask(path_of("all")).variant
    config = running.folder / "pressline.conf"
    good = config.read_text()
    config.write_text(good[: len(good) // 2])  # as a copy does that is not renamed into place
    try:
        running.process.send_signal(signal.SIGHUP)
        until(lambda: "[emerg]" in running.said, "nginx says that it cannot read it")
        assert {running.ask(path_of("all")).variant for _ in range(20)} == {before}
    finally:
        config.write_text(good)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"grpc": "127.0.0.1:1"}, "--canary-grpc"),
        ({"rest": "localhost"}, "host:port"),
        ({"rest": "::1:80"}, r"\[::1\]:8501"),
        ({"models": ("clicks", "other")}, "no model other; it has clicks"),
    ],
)
def test_what_nginx_cannot_do_is_an_error_that_says_what_to_do(change: dict[str, object], said: str) -> None:
    options = replace(Options(), **change)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=said):
        nginx.files(TrafficPlan(1, {"clicks": clicks(0.1)}), options)


def test_a_salt_with_a_line_break_is_an_error() -> None:
    with pytest.raises(InputError, match="control characters"):
        nginx.files(TrafficPlan(1, {"clicks": clicks(0.1, salt="a\n; b")}), Options())
