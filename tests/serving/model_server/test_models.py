"""The models of a server as its users see them: start, requests, status, reloads, stop. TensorFlow is not needed."""

from pathlib import Path

import pytest

from serving.model_server.models import Models, Settings, State
from tests.serving.model_server.lifecycle_fakes import (
    FAST,
    HOUR_MICROS,
    Background,
    Loads,
    answering,
    broken,
    config,
    model,
    refused,
    serving,
    states,
    until,
    versions,
)

UNSET = type(config())()


# Start
def test_the_port_may_open_when_start_returns_since_every_model_answers(tmp_path: Path) -> None:
    m, n = versions(tmp_path / "m", 1, 2, 10), versions(tmp_path / "n", 7)
    load = Loads()
    with serving(load) as models:
        models.start(config(model("m", m), model("n", n)))
        assert answering(models, "m") == 10
        assert answering(models, "n") == 7
        assert states(models, "m") == {10: State.AVAILABLE}
        assert sorted(load.calls) == [("m", 10, str(m / "10")), ("n", 7, str(n / "7"))]


def test_start_waits_for_a_base_path_that_is_missing_then_empty_and_then_has_a_version(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(Loads()) as models:
        start = Background(lambda: models.start(config(model("m", tmp_path / "m"))))
        until(lambda: "Could not find base path" in caplog.text)
        assert start.waits
        (tmp_path / "m").mkdir()
        until(lambda: "No versions of servable m" in caplog.text)
        assert start.waits
        versions(tmp_path / "m", 1)
        assert start.result() is None
        assert answering(models, "m") == 1


def test_start_fails_when_the_highest_version_that_got_somewhere_has_failed(tmp_path: Path) -> None:
    m, n = versions(tmp_path / "m", 1), versions(tmp_path / "n", 1)
    load = Loads()
    load.broken["m", 1] = broken(f"Could not find SavedModel at: {m / '1'}")
    with serving(load, max_num_load_retries=2) as models:
        assert refused(models.start, config(model("n", n), model("m", m))) == (
            "UNKNOWN: 1 servable(s) did not become available: "
            f"{{{{{{name: m version: 1}} due to error: NOT_FOUND: Could not find SavedModel at: {m / '1'}}}, }}"
        )
        assert load.tries("m", 1) == 3


def test_start_names_all_models_that_failed(tmp_path: Path) -> None:
    load = Loads()
    load.broken = {("b", 1): broken("x"), ("a", 1): ValueError("odd")}
    with serving(load, max_num_load_retries=0) as models:
        each = [model(name, versions(tmp_path / name, 1)) for name in "ab"]
        assert refused(models.start, config(*each)) == (
            "UNKNOWN: 2 servable(s) did not become available: "
            "{{{name: a version: 1} due to error: INTERNAL: ValueError: odd}, "
            "{{name: b version: 1} due to error: NOT_FOUND: x}, }"
        )


def test_start_goes_on_with_a_good_version_while_a_higher_one_is_retried(tmp_path: Path) -> None:
    load = Loads()
    load.broken["m", 2] = broken()
    with serving(load, load_retry_interval_micros=HOUR_MICROS) as models:
        models.start(config(model("m", versions(tmp_path, 1, 2), specific=[1, 2])))
        assert answering(models, "m") == 1


def test_start_without_any_configuration_serves_nothing_and_a_reload_brings_models(tmp_path: Path) -> None:
    with serving(Loads()) as models:
        models.start(UNSET)
        assert answering(models, "m") == "NOT_FOUND: Servable not found for request: Latest(m)"
        assert answering(models, "m", label="L") == "UNAVAILABLE: Model labels does not init yet.L"
        models.reload(config(model("m", versions(tmp_path, 1))))
        assert answering(models, "m") == 1
        assert answering(models, "m", label="L") == "INVALID_ARGUMENT: Unrecognized servable version label: L"


def test_labels_at_the_start_need_the_flag(tmp_path: Path) -> None:
    wanted = config(model("m", versions(tmp_path, 1), labels={"stable": 1}))
    with serving(Loads()) as models:
        assert "Request to assign label to version 1 of model m, which is not" in refused(models.start, wanted)
        assert states(models, "m") == {}
    with serving(Loads(), allow_version_labels_for_unavailable_models=True) as models:
        models.start(wanted)
        assert answering(models, "m", label="stable") == 1


def test_with_the_flag_a_label_still_does_not_move_to_a_version_that_is_not_available(tmp_path: Path) -> None:
    base = versions(tmp_path, 1)
    with serving(Loads(), allow_version_labels_for_unavailable_models=True) as models:
        models.start(config(model("m", base, labels={"stable": 1})))
        moved = config(model("m", base, labels={"stable": 2}))
        assert refused(models.reload, moved).startswith("FAILED_PRECONDITION")
        assert answering(models, "m", label="stable") == 1


def test_with_polling_off_start_never_finds_a_version_and_stop_frees_it(tmp_path: Path) -> None:
    models = Models(Loads(), Settings(**{**FAST, "file_system_poll_wait_seconds": -1}))
    start = Background(lambda: models.start(config(model("m", versions(tmp_path, 1)))))
    until(lambda: str(answering(models, "m", label="L")).startswith("INVALID"))
    assert start.waits
    models.stop()
    assert str(start.result()) == "CANCELLED: The model server is stopping."
