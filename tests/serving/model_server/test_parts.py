"""From flags to parts, without TensorFlow: its import is replaced by nothing, and no model is loaded."""

from pathlib import Path
from typing import Any

import pytest

from serving.model_server import config_files, cpus, parts
from serving.model_server.flags import Flags
from serving.model_server.parts import prepare, read_config
from serving.status import Code, StatusError


@pytest.fixture
def imports(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `prepare` would have imported."""
    done: list[str] = []
    monkeypatch.setattr(parts, "_import_tensorflow", lambda: done.append("tensorflow"))
    return done


def _flags(**values: Any) -> Flags:
    return Flags(**{"model_base_path": "/models/m", "model_name": "m", **values})


@pytest.mark.parametrize(
    ("values", "threads"),
    [
        ({}, 2 * cpus.schedulable()),
        ({"grpc_max_threads": 1}, Flags().rest_api_num_threads),
        ({"rest_api_num_threads": 3, "grpc_max_threads": 7}, 7),
        ({"rest_api_num_threads": 0, "grpc_max_threads": 0}, 1),
    ],
    ids=["neither flag", "one flag", "both flags", "none wanted"],
)
def test_models_run_on_two_threads_a_core_unless_a_flag_says_otherwise(
    imports: list[str], values: dict[str, int], threads: int
) -> None:
    made = prepare(_flags(**values))
    assert len(made.runner._threads) == threads
    made.close()


@pytest.mark.parametrize(
    ("values", "addresses"),
    [
        ({}, ["127.0.0.1:8500"]),
        ({"pressline_host": "::"}, ["[::]:8500"]),
        ({"pressline_host": "[::1]"}, ["[::1]:8500"]),
        ({"grpc_socket_path": "/run/m.sock"}, ["127.0.0.1:8500", "unix:/run/m.sock"]),
        ({"grpc_socket_path": "/run/m.sock", "port": 0}, ["unix:/run/m.sock"]),
    ],
)
def test_grpc_listens_on_loopback_and_where_it_is_told_to(
    imports: list[str], values: dict[str, Any], addresses: list[str]
) -> None:
    made = prepare(_flags(**values))
    assert list(made.listening.addresses) == addresses
    made.close()


def test_without_a_host_nothing_is_listened_on(imports: list[str]) -> None:
    with pytest.raises(StatusError, match="--pressline_host is empty"):
        prepare(_flags(pressline_host=""))


def test_a_wrong_config_is_refused_before_tensorflow_is_imported(imports: list[str], tmp_path: Path) -> None:
    (tmp_path / "c").write_text('model_config_list { config { name: "m" base_path: "not/absolute" ')
    with pytest.raises(config_files.ConfigError):
        prepare(_flags(model_config_file=str(tmp_path / "c")))
    (tmp_path / "c").write_text(
        'model_config_list { config { name: "m" base_path: "not/absolute" model_platform: "tensorflow" } }'
    )
    with pytest.raises(StatusError, match="Expected model m to have an absolute path"):
        prepare(_flags(model_config_file=str(tmp_path / "c")))
    assert imports == []


def test_requests_are_batched_only_when_asked_for(imports: list[str]) -> None:
    plain, batched = prepare(_flags()), prepare(_flags(enable_batching=True))
    assert plain.scheduler is None
    assert batched.scheduler is not None
    plain.close()
    batched.close()


class Scheduler:
    """Remembers the parameters it is given for a model."""

    def run_for(self, session: Any, signatures: Any, parameters: Any) -> Any:
        self.given = parameters


@pytest.mark.parametrize(("per_model", "largest"), [(True, 3), (False, None)])
def test_a_version_brings_its_own_batching_parameters_where_they_are_asked_for(
    tmp_path: Path, per_model: bool, largest: int | None
) -> None:
    (tmp_path / "batching_params.pbtxt").write_text("max_batch_size { value: 3 }")
    scheduler: Any = Scheduler()
    parts._batched(scheduler, per_model, None, {}, str(tmp_path), "m")  # type: ignore[arg-type]
    assert (scheduler.given and scheduler.given.max_batch_size) == largest


def test_a_version_whose_batching_parameters_are_wrong_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "batching_params.pbtxt").write_text("max_batch_size { value: 0 }")
    with pytest.raises(StatusError) as raised:
        parts._batched(Scheduler(), True, None, {}, str(tmp_path), "m")  # type: ignore[arg-type]
    assert raised.value.code is Code.INVALID_ARGUMENT


def test_the_config_file_wins_over_the_single_model(tmp_path: Path) -> None:
    (tmp_path / "c").write_text(
        'model_config_list { config { name: "other" base_path: "/b" model_platform: "tensorflow" } }'
    )
    both = read_config(_flags(model_config_file=str(tmp_path / "c")))
    alone = read_config(_flags())
    assert [model.name for model in both.model_config_list.config] == ["other"]
    assert [(model.name, model.base_path) for model in alone.model_config_list.config] == [("m", "/models/m")]
