"""Requests, status and versions of a server's models, as test_models.py. TensorFlow is not needed."""

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from serving.model_server.models import Models, Settings, State
from tests.serving.model_server.lifecycle_fakes import (
    HOUR_MICROS,
    Loads,
    answering,
    answers,
    broken,
    config,
    is_free,
    model,
    reach,
    refused,
    servable,
    serving,
    states,
    status,
    until,
    versions,
)


# Requests and status
@pytest.fixture
def three(tmp_path: Path) -> Any:
    """A config of versions 1 and 2, with 3 in the directory but not served, and labels."""
    labels = {"stable": 1, "canary": 2, "next": 3}
    return config(model("m", versions(tmp_path / "m", 1, 2, 3), specific=[1, 2], labels=labels))


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ({"name": "m"}, 2),
        ({"name": "m", "version": 1}, 1),
        ({"name": "m", "label": "stable"}, 1),
        ({"name": "m", "label": "canary"}, 2),
        ({"name": ""}, "INVALID_ARGUMENT: ModelSpec has no name specified."),
        ({"name": "x"}, "NOT_FOUND: Servable not found for request: Latest(x)"),
        ({"name": "x", "version": 0}, "NOT_FOUND: Servable not found for request: Specific(x, 0)"),
        ({"name": "m", "version": 3}, "NOT_FOUND: Servable not found for request: Specific(m, 3)"),
        ({"name": "m", "label": "next"}, "NOT_FOUND: Servable not found for request: Specific(m, 3)"),
        ({"name": "m", "label": "L"}, "INVALID_ARGUMENT: Unrecognized servable version label: L"),
        ({"name": "m", "label": ""}, "INVALID_ARGUMENT: Unrecognized servable version label: "),
        ({"name": "x", "label": "stable"}, "INVALID_ARGUMENT: Unrecognized servable version label: stable"),
    ],
)
def test_a_request_is_answered_by(three: Any, request_: dict[str, Any], answer: int | str) -> None:
    with serving(Loads(), allow_version_labels_for_unavailable_models=True) as models:
        models.start(three)
        until(lambda: set(states(models, "m").values()) == {State.AVAILABLE})
        assert answering(models, **request_) == answer


def test_a_loading_and_a_failed_version_answer_as_if_unknown(tmp_path: Path) -> None:
    load = Loads()
    load.gates["m", 2] = threading.Event()
    load.broken["m", 2] = broken()
    with serving(load, max_num_load_retries=0) as models:
        models.start(config(model("m", versions(tmp_path, 1))))
        versions(tmp_path, 2)
        text = "NOT_FOUND: Servable not found for request: Specific(m, 2)"
        reach(models, "m", 2, State.LOADING)
        assert answering(models, "m", 2) == text
        load.gates["m", 2].set()
        reach(models, "m", 2, State.END)
        assert answering(models, "m", 2) == text
        assert answering(models, "m") == 1


def test_statuses_list_every_version_there_ever_was_highest_first(tmp_path: Path) -> None:
    with serving(Loads()) as models:
        models.start(config(model("m", versions(tmp_path, 1))))
        for number in (3, 10):
            versions(tmp_path, number)
            reach(models, "m", number, State.AVAILABLE)
        until(lambda: status(models, "m", 3).state is State.END)
        assert [each.version for each in models.statuses("m")] == [10, 3, 1]
        assert status(models, "m", 1).error is None
        assert refused(models.statuses, "m", 2) == "NOT_FOUND: Could not find version 2 of model m"
        assert refused(models.statuses, "x") == "NOT_FOUND: Could not find any versions of model x"
        assert refused(models.statuses, "") == "NOT_FOUND: Could not find any versions of model "


def test_a_version_that_retires_between_lookup_and_use_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    models = Models(Loads(), Settings())
    leaving, staying = servable(version=1), servable(version=2)
    leaving.retire()
    serving_map = type(models._lifecycle.serving)
    maps = iter([serving_map({"m": leaving}), serving_map({"m": staying})])
    monkeypatch.setattr(type(models._lifecycle), "serving", property(lambda _: next(maps)), raising=False)
    assert models.acquire("m") is staying


def test_requests_never_fail_while_versions_change(tmp_path: Path) -> None:
    changes = 50
    versions(tmp_path, 1)
    load = Loads()
    done = threading.Event()
    counts = [0] * 8
    failures: list[BaseException] = []

    def ask(models: Models, which: int) -> None:
        highest = 0
        while not done.is_set():
            try:
                with answers(models, "m") as version:
                    assert not is_free(load.loaded[version - 1])
                    assert version >= highest
                    highest = version
            except BaseException as error:
                failures.append(error)
                return
            counts[which] += 1
            done.wait(0.0001)

    with serving(load) as models:
        models.start(config(model("m", tmp_path)))
        threads = [threading.Thread(target=ask, args=(models, which)) for which in range(8)]
        for thread in threads:
            thread.start()
        try:
            for number in range(2, changes + 2):
                versions(tmp_path, number)
                shutil.rmtree(tmp_path / str(number - 1))
                reach(models, "m", number, State.AVAILABLE)
                reach(models, "m", number - 1, State.END)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert not failures
        assert min(counts) > 0
        until(lambda: all(is_free(each) for each in load.loaded[:-1]))
    assert len(load.loaded) == changes + 1


def test_available_means_that_requests_work_and_states_go_forward_only(tmp_path: Path) -> None:
    versions(tmp_path, 1)
    seen: dict[int, list[State]] = {}
    failures: list[str] = []
    done = threading.Event()
    with serving(Loads()) as models:

        def watch() -> None:
            while not done.wait(0.0002):
                for each in models.statuses("m") if states(models, "m") else []:
                    known = seen.setdefault(each.version, [])
                    if not known or known[-1] is not each.state:
                        known.append(each.state)
                    silent = each.state is State.AVAILABLE and answering(models, "m", each.version) != each.version
                    # It may have left since; but then its state has gone on too.
                    if silent and status(models, "m", each.version).state is State.AVAILABLE:
                        failures.append(f"{each.version} is AVAILABLE and does not answer")

        watcher = threading.Thread(target=watch)
        watcher.start()
        models.start(config(model("m", tmp_path)))
        for number in range(2, 12):
            versions(tmp_path, number)
            reach(models, "m", number - 1, State.END)
        done.set()
        watcher.join()
    assert not failures
    assert all(history == sorted(history) for history in seen.values()), seen


# Versions
def test_a_stuck_request_holds_its_version_but_not_its_successor(tmp_path: Path) -> None:
    load = Loads()
    with serving(load) as models:
        models.start(config(model("m", versions(tmp_path, 1))))
        with answers(models, "m") as version:
            assert version == 1
            versions(tmp_path, 2)
            until(lambda: answering(models, "m") == 2)
            reach(models, "m", 1, State.UNLOADING)
            assert answering(models, "m", 1) == "NOT_FOUND: Servable not found for request: Specific(m, 1)"
            assert not is_free(load.loaded[0])
        reach(models, "m", 1, State.END)
        assert is_free(load.loaded[0])


def test_a_broken_version_leaves_the_good_one_and_the_other_models_alone(tmp_path: Path) -> None:
    m, n = versions(tmp_path / "m", 1), versions(tmp_path / "n", 1)
    load = Loads()
    load.broken["m", 2] = ValueError("not a model")
    with serving(load, load_retry_interval_micros=HOUR_MICROS) as models:
        models.start(config(model("m", m), model("n", n)))
        versions(m, 2)
        until(lambda: load.tries("m", 2))
        assert states(models, "m") == {2: State.LOADING, 1: State.AVAILABLE}
        versions(n, 2)
        until(lambda: answering(models, "n") == 2)
        assert answering(models, "m") == 1
        shutil.rmtree(m / "2")  # un-aspired: the pending retry ends
        reach(models, "m", 2, State.END)
        assert str(status(models, "m", 2).error) == "INTERNAL: ValueError: not a model"
        assert answering(models, "m") == 1


def test_an_emptied_base_path_unloads_and_a_vanished_one_changes_nothing(tmp_path: Path) -> None:
    m, n = versions(tmp_path / "m", 1), versions(tmp_path / "n", 1)
    both = config(model("n", n), model("m", m))
    with serving(Loads()) as models:
        models.start(both)
        shutil.rmtree(m / "1")
        reach(models, "m", 1, State.END)
        assert answering(models, "m") == "NOT_FOUND: Servable not found for request: Latest(m)"
        shutil.rmtree(m)
        versions(n, 2)
        models.reload(both)
        assert answering(models, "n") == 1
        m.mkdir()
        until(lambda: answering(models, "n") == 2)
