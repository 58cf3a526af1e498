"""A model config file that is read again every second (contract 4)."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.model_server.conformance import process
from tests.serving.model_server.conformance.clients import Grpc, predict_text
from tests.serving.model_server.conformance.process import Server, until
from tests.serving.model_server.conformance.shelf import Models, config, entry, reload, specific
from tests.serving.model_server.models import push

HERE = "AVAILABLE"


class Polled:
    """A server, the file it polls and a client."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.file = folder / "models.config"
        self.grpc = Grpc(f"127.0.0.1:{server.port}")

    def write(self, *entries: str) -> None:
        """Replaces the file at once, as a careful publisher does."""
        replace(self.file, config(*entries))

    def reaches(self, model: str, states: dict[int, str]) -> None:
        until(lambda: self.grpc.statuses(model) == states, f"{model} reaches {states}")

    def complains(self) -> None:
        """Waits until the server has printed something more."""
        printed = len(self.server.printed)
        until(lambda: len(self.server.printed) > printed, "the log says something")

    def y(self, model: str, spec: str = "") -> float:
        return float(self.grpc.call("Predict", predict_text(model, spec=spec)).outputs["y"].float_val[0])

    def reaches_y(self, model: str, label: str, y: float) -> None:
        """Waits until a label answers with this."""
        import grpc

        def is_there() -> bool:
            try:
                return self.y(model, f'version_label: "{label}"') == y
            except grpc.RpcError:
                return False

        until(is_there, f"{model} answers {y} to {label}")


def replace(file: Path, text: str) -> None:
    """Writes beside the file and renames over it."""
    unfinished = file.with_suffix(".tmp")
    unfinished.write_text(text)
    os.replace(unfinished, file)  # noqa: PTH105


@pytest.fixture(scope="module")
def polled(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Iterator[Polled]:
    folder = tmp_path_factory.mktemp("polled")
    for name in ("first", "second"):
        push(models("half_plus_two"), folder / name, 1)
        push(models("half_plus_three"), folder / name, 2)
    replace(folder / "models.config", config(entry("first", folder / "first", specific(1), {"stable": 1, "early": 2})))
    flags = (
        f"--model_config_file={folder / 'models.config'}",
        "--model_config_file_poll_wait_seconds=1",
        "--allow_version_labels_for_unavailable_models",
        "--num_load_threads=2",
        "--max_num_load_retries=0",
    )
    with process.running(folder / "log", *flags) as server:
        yield Polled(server, folder)


def first(polled: Polled, policy: str = specific(1), **labels: int) -> str:
    return entry("first", polled.folder / "first", policy, labels or {"stable": 1})


def test_labels_of_versions_to_come_are_taken_at_the_start_with_the_flag(polled: Polled) -> None:
    assert polled.y("first", 'version_label: "stable"') == 3.0
    came = polled.grpc.refusal("Predict", predict_text("first", spec='version_label: "early"'))
    assert (came.code, came.message) == ("NOT_FOUND", "Servable not found for request: Specific(first, 2)")


def test_the_file_adds_and_takes_models_away(polled: Polled) -> None:
    polled.write(first(polled), entry("second", polled.folder / "second"))
    polled.reaches("second", {2: HERE})
    polled.write(first(polled))
    polled.reaches("second", {2: "END"})
    polled.reaches("first", {1: HERE})


def test_a_file_that_is_wrong_is_logged_and_changes_nothing(polled: Polled) -> None:
    for wrong in ("model_config_list {", first(polled) * 2, config(first(polled) * 2), "\x00\xff", "x: 1"):
        replace(polled.file, wrong)
        polled.complains()
        assert polled.y("first", 'version_label: "stable"') == 3.0
    polled.file.unlink()
    polled.complains()
    assert polled.y("first") == 3.0
    polled.write(first(polled), entry("second", polled.folder / "second", specific(1)))
    polled.reaches("second", {1: HERE, 2: "END"})
    polled.write(first(polled))


def test_a_label_can_be_named_before_its_version_but_not_moved_there(polled: Polled) -> None:
    polled.write(first(polled, specific(1), stable=1, canary=9))
    until(lambda: refused(polled, "canary") == "NOT_FOUND", "the new label is taken")
    printed = len(polled.server.printed)
    polled.write(first(polled, specific(1), stable=9))
    text = "Request to assign label to version 9 of model first"
    until(lambda: text in polled.server.printed[printed:], "the move is refused")
    assert polled.y("first", 'version_label: "stable"') == 3.0
    polled.write(first(polled, "all {}", stable=1, next=2))
    polled.reaches_y("first", "next", 4.0)
    polled.write(first(polled, "all {}", stable=2))
    polled.reaches_y("first", "stable", 4.0)
    assert refused(polled, "next") == "INVALID_ARGUMENT"
    polled.write(first(polled))
    polled.reaches_y("first", "stable", 3.0)


def test_the_file_wins_over_a_reload_by_rpc(polled: Polled) -> None:
    polled.write(first(polled))
    polled.reaches("first", {1: HERE, 2: "END"})
    request = reload(first(polled), entry("second", polled.folder / "second", specific(2)))
    polled.grpc.call("HandleReloadConfigRequest", request, 30)
    polled.reaches("second", {1: "END", 2: "END"})


def refused(polled: Polled, label: str) -> str:
    """The code with which a label is refused; nothing where it answers."""
    import grpc

    try:
        polled.y("first", f'version_label: "{label}"')
    except grpc.RpcError as error:
        return str(error.code().name)
    return ""
