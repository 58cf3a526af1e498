"""Reloads of a server's models, and its stop, as test_models.py. TensorFlow is not needed."""

import threading
from pathlib import Path

import pytest

from serving.model_server.models import Models, Settings, State
from serving.model_server.polling import ConfigPoller
from serving.model_server.servable import Servable
from serving.status import Code, StatusError
from tests.serving.model_server.lifecycle_fakes import (
    HOUR_MICROS,
    Background,
    Loads,
    answering,
    answers,
    broken,
    config,
    is_free,
    model,
    reach,
    refused,
    serving,
    states,
    until,
    versions,
)

UNSET = type(config())()


# Reloads


def test_a_version_and_its_label_need_two_reloads(tmp_path: Path) -> None:
    base = versions(tmp_path, 1, 2)
    with serving(Loads()) as models:
        models.start(config(model("m", base, specific=[1])))
        models.reload(config(model("m", base, specific=[1], labels={"stable": 1})))
        both = config(model("m", base, specific=[1, 2], labels={"stable": 1, "canary": 2}))
        assert refused(models.reload, both) == (
            "FAILED_PRECONDITION: Request to assign label to version 2 of model m, "
            "which is not currently available for inference"
        )
        assert answering(models, "m", label="stable") == 1  # the old map is in force, as a whole
        assert 2 not in states(models, "m")  # and 2 is never loaded
        models.reload(config(model("m", base, specific=[1, 2], labels={"stable": 1})))
        reach(models, "m", 2, State.AVAILABLE)
        models.reload(both)
        assert answering(models, "m", label="canary") == 2
        models.reload(config(model("m", base, specific=[1, 2], labels={"stable": 2})))
        assert answering(models, "m", label="stable") == 2
        assert str(answering(models, "m", label="canary")).startswith("INVALID_ARGUMENT")


def test_a_label_of_one_model_that_fails_keeps_the_labels_of_all(tmp_path: Path) -> None:
    m, n = versions(tmp_path / "m", 1), versions(tmp_path / "n", 1)
    with serving(Loads()) as models:
        models.start(config(model("m", m), model("n", n)))
        wrong = config(model("m", m, labels={"stable": 1}), model("n", n, labels={"stable": 9}))
        assert refused(models.reload, wrong).startswith("FAILED_PRECONDITION")
        assert str(answering(models, "m", label="stable")).startswith("INVALID_ARGUMENT")


def test_a_version_may_be_dropped_while_a_label_points_to_it(tmp_path: Path) -> None:
    base = versions(tmp_path, 1, 2)
    with serving(Loads()) as models:
        models.start(config(model("m", base, specific=[1, 2])))
        until(lambda: set(states(models, "m").values()) == {State.AVAILABLE})
        models.reload(config(model("m", base, specific=[2], labels={"old": 1})))
        reach(models, "m", 1, State.END)
        assert answering(models, "m", label="old") == "NOT_FOUND: Servable not found for request: Specific(m, 1)"


def test_a_reload_is_the_whole_configuration(tmp_path: Path) -> None:
    m, n, o = (versions(tmp_path / name, 1) for name in "mno")
    load = Loads()
    with serving(load) as models:
        models.start(config(model("m", m), model("n", n)))
        models.reload(config(model("n", n), model("o", o)))
        assert answering(models, "o") == 1
        reach(models, "m", 1, State.END)
        assert load.tries("n", 1) == 1
        models.reload(config())
        until(lambda: states(models, "n") == states(models, "o") == {1: State.END})
        assert all(is_free(each) for each in load.loaded)
        models.reload(config(model("m", m)))
        assert answering(models, "m") == 1


def test_a_reload_does_not_wait_for_new_versions_of_a_known_model(tmp_path: Path) -> None:
    load = Loads()
    load.gates["m", 2] = threading.Event()
    base = versions(tmp_path, 1, 2)
    with serving(load) as models:
        models.start(config(model("m", base, specific=[1])))
        models.reload(config(model("m", base, specific=[2])))
        until(lambda: states(models, "m") == {2: State.LOADING, 1: State.AVAILABLE})
        assert answering(models, "m") == 1


def test_a_new_base_path_does_not_load_a_version_again(tmp_path: Path) -> None:
    old, new = versions(tmp_path / "old", 1), versions(tmp_path / "new", 1, 2)
    load = Loads()
    with serving(load) as models:
        models.start(config(model("m", old)))
        models.reload(config(model("m", new, specific=[1, 2])))
        until(lambda: answering(models, "m") == 2)
        assert [call[2] for call in load.calls] == [str(old / "1"), str(new / "2")]


def test_a_new_model_that_fails_fails_the_reload_which_is_in_force_all_the_same(tmp_path: Path) -> None:
    m, n = versions(tmp_path / "m", 1), versions(tmp_path / "n", 1)
    load = Loads()
    load.broken["n", 1] = broken("x")
    with serving(load, max_num_load_retries=0) as models:
        models.start(config(model("m", m)))
        assert refused(models.reload, config(model("n", n))) == (
            "UNKNOWN: 1 model(s) did not become available: {{{name: n version: 1} due to error: NOT_FOUND: x}, }"
        )
        reach(models, "m", 1, State.END)
        models.reload(config(model("n", n)))  # n is known now, and not waited for


def test_a_reload_with_a_missing_base_path_hangs_stops_all_polling_and_holds_up_later_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    m = versions(tmp_path / "m", 1)
    with serving(Loads()) as models:
        models.start(config(model("m", m)))
        hanging = Background(lambda: models.reload(config(model("m", m), model("n", tmp_path / "n"))))
        until(lambda: "Could not find base path" in caplog.text)
        later = Background(lambda: models.reload(config(model("m", m))))
        versions(m, 2)
        assert answering(models, "m") == 1
        assert hanging.waits
        assert later.waits
        versions(tmp_path / "n", 1)
        assert hanging.result() is None
        assert later.result() is None
        until(lambda: states(models, "n") == {1: State.END})
        until(lambda: answering(models, "m") == 2)


def test_a_model_removed_and_brought_back_at_once_is_waited_for_anew(tmp_path: Path) -> None:
    load = Loads()
    with serving(load) as models:
        models.start(config(model("m", versions(tmp_path, 1))))
        with answers(models, "m"):
            models.reload(config())
            reach(models, "m", 1, State.UNLOADING)
            back = Background(lambda: models.reload(config(model("m", tmp_path))))
            until(lambda: answering(models, "m") != 1)
            assert back.waits
        assert back.result() is None
        assert answering(models, "m") == 1
        assert load.tries("m", 1) == 2


def test_a_model_brought_back_answers_however_far_it_had_gone(tmp_path: Path) -> None:
    with serving(Loads()) as models:
        models.start(config(model("m", versions(tmp_path, 1))))
        for _ in range(20):
            models.reload(config())
            models.reload(config(model("m", tmp_path)))
            assert answering(models, "m") == 1


@pytest.mark.parametrize("wrong", ["unset", "twice", "relative", "platform"])
def test_a_refused_config_changes_nothing(tmp_path: Path, wrong: str) -> None:
    good = model("m", versions(tmp_path, 1))
    configs = {
        "unset": UNSET,
        "twice": config(good, good),
        "relative": config({**good, "base_path": "m"}),
        "platform": config({**good, "model_platform": "other"}),
    }
    with serving(Loads()) as models:
        models.start(config(good))
        assert refused(models.reload, configs[wrong]).startswith("INVALID_ARGUMENT: ")
        assert states(models, "m") == {1: State.AVAILABLE}
        models.reload(config(good))


def test_a_logging_config_is_refused_once_everything_else_is_done(tmp_path: Path) -> None:
    logged = config({**model("m", versions(tmp_path, 1)), "logging_config": {}})
    with serving(Loads()) as models:
        assert refused(models.start, logged) == "INVALID_ARGUMENT: No request-logger-creator provided."
        assert answering(models, "m") == 1


def test_a_label_waits_for_its_version_where_the_config_file_is_polled(tmp_path: Path) -> None:
    wanted = config(model("m", versions(tmp_path, 1), labels={"next": 2}))
    with serving(Loads()) as models:
        models.start(config(model("m", tmp_path)))
        poller = ConfigPoller(lambda: wanted, models.reload, 0.005)
        poller.start()
        versions(tmp_path, 2)
        until(lambda: answering(models, "m", label="next") == 2)
        models.stop()
        poller.stop()


# Stop


def test_stop_frees_a_hanging_reload_and_the_one_behind_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    m = versions(tmp_path / "m", 1)
    load = Loads()
    with serving(load) as models:
        models.start(config(model("m", m)))
        hanging = [Background(lambda: models.reload(config(model("n", tmp_path / "n")))) for _ in range(3)]
        until(lambda: "Could not find base path" in caplog.text)
        models.stop()
        assert [str(each.result()) for each in hanging] == ["CANCELLED: The model server is stopping."] * 3
        assert refused(models.reload, config()) == "CANCELLED: The model server is stopping."
        assert is_free(load.loaded[0])


def test_stop_ends_the_threads_also_in_the_wait_for_a_retry(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    load = Loads()
    load.broken["m", 1] = broken()
    with serving(load, num_load_threads=0, load_retry_interval_micros=HOUR_MICROS) as models:
        start = Background(lambda: models.start(config(model("m", versions(tmp_path, 1)))))
        until(lambda: load.tries("m", 1))
        models.stop()
        error = start.result()
        assert isinstance(error, StatusError)
        assert error.code is Code.CANCELLED
        until(lambda: set(threading.enumerate()) <= before)


def test_stop_lets_requests_in_flight_end(tmp_path: Path) -> None:
    load = Loads()
    with serving(load) as models:
        models.start(config(model("m", versions(tmp_path, 1))))
        held: Servable = models.acquire("m")
        stop = Background(models.stop)
        reach(models, "m", 1, State.UNLOADING)
        assert answering(models, "m") == "NOT_FOUND: Servable not found for request: Latest(m)"
        assert stop.waits
        held.release()
        assert stop.result() is None
        assert is_free(held)


def test_models_that_never_started_stop() -> None:
    models = Models(Loads(), Settings())
    models.stop()
    models.stop()
