"""Flags, and starts that fail: what they say and how they exit (contract 1, 4 and 7)."""

from pathlib import Path

import pytest

from tests.serving.model_server.conformance import process
from tests.serving.model_server.conformance.clients import Rest
from tests.serving.model_server.conformance.process import FAILED, free_port, run_to_its_end, until
from tests.serving.model_server.conformance.shelf import Models, config, entry
from tests.serving.model_server.models import push


def flags(**values: object) -> list[str]:
    """Two free ports and these flags."""
    return [
        f"--{name}={value}" for name, value in {"port": free_port(), "rest_api_port": free_port(), **values}.items()
    ]


def test_version_is_printed() -> None:
    done = run_to_its_end("--version")
    assert done.status == 0
    assert "TensorFlow ModelServer: " in done.stdout
    assert "TensorFlow Library: 2." in done.stdout


@pytest.mark.parametrize(
    "given",
    [
        "--help",
        "--port=many",
        "--port=",
        "--rest_api_port=1.5",
        "--enable_batching=yes",
        "--enable_batching=1",
        "--per_process_gpu_memory_fraction=half",
        "--file_system_poll_wait_seconds=soon",
    ],
)
def test_help_and_bad_values_print_the_usage_and_fail(given: str) -> None:
    done = run_to_its_end(given)
    assert done.status == FAILED
    for name in ("--port=", "--rest_api_port=", "--model_config_file=", "--enable_batching="):
        assert name in done.stdout


def test_there_must_be_a_port_or_a_socket() -> None:
    done = run_to_its_end("--port=0", "--model_base_path=/tmp")
    assert done.status == FAILED
    assert done.stdout


def test_there_must_be_a_model() -> None:
    done = run_to_its_end(*flags())
    assert done.status == FAILED
    assert "Failed to start server. Error: " in done.stdout
    text = "Both server_options.model_base_path and server_options.model_config_file are empty!"
    assert text in done.stdout + done.stderr


def fail_with(tmp_path: Path, name: str, text: str, **others: object) -> process.Ended:
    """A start with a file of this text behind one flag; it must fail."""
    file = tmp_path / "given"
    file.write_text(text)
    done = run_to_its_end(*flags(**{name: file, **others}))
    assert done.status == FAILED, done
    assert "Failed to start server. Error: " in done.stdout
    return done


def test_a_config_file_that_cannot_be_parsed_is_named_by_line_and_column(tmp_path: Path) -> None:
    done = fail_with(tmp_path, "model_config_file", "model_config_list {\n  config: { nonsense: 1 }\n}")
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig: 2:" in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (config('config { name: "m" base_path: "/tmp/m" }'), "INVALID_ARGUMENT: Illegal setting neither"),
        (
            config('config { name: "m" base_path: "/tmp/m" model_platform: "p" }'),
            "Model m requests unsupported platform p",
        ),
        (config(entry("m", "/tmp/m") * 2), "Illegal to list model m multiple times in config list"),
        (config(entry("m", "a/b")), "Expected model m to have an absolute path or URI; got base_path()=a/b"),
        (config(entry("m", "/tmp", "", {"stable": 1})), "Request to assign label to version 1 of model m"),
    ],
    ids=["no platform", "unknown platform", "twice", "relative", "label"],
)
def test_a_config_file_that_makes_no_sense_fails_the_start(tmp_path: Path, text: str, message: str) -> None:
    assert message in fail_with(tmp_path, "model_config_file", text).stdout


def test_a_config_file_that_is_missing_fails_the_start(tmp_path: Path) -> None:
    done = run_to_its_end(*flags(model_config_file=tmp_path / "nowhere"))
    assert done.status == FAILED
    assert "Failed to start server. Error: " in done.stdout


@pytest.mark.parametrize(
    ("name", "text", "others"),
    [
        ("batching_parameters_file", "max_batch_size { value: 8 }", {}),
        ("batching_parameters_file", "max_batch_size: 8", {"enable_batching": "true"}),
        (
            "batching_parameters_file",
            "max_batch_size { value: 8 } allowed_batch_sizes: 2 allowed_batch_sizes: 4",
            {"enable_batching": "true"},
        ),
        ("monitoring_config_file", "prometheus { on: true }", {}),
        ("ssl_config_file", "key: 'none'", {}),
    ],
    ids=["batching is off", "not wrapped", "last size is not the greatest", "monitoring", "ssl"],
)
def test_other_files_are_checked_at_the_start(
    tmp_path: Path, models: Models, name: str, text: str, others: dict[str, str]
) -> None:
    push(models("half_plus_two"), tmp_path / "base", 1)
    done = fail_with(tmp_path, name, text, model_base_path=tmp_path / "base", **others)
    if "allowed_batch_sizes" in text:
        assert "Last entry in allowed_batch_sizes must match max_batch_size; " in done.stdout


def test_a_model_that_cannot_be_loaded_fails_the_start(tmp_path: Path, models: Models) -> None:
    push(models("garbage"), tmp_path / "bad", 3)
    push(models("half_plus_two"), tmp_path / "good", 1)
    text = config(entry("bad", tmp_path / "bad"), entry("good", tmp_path / "good"))
    done = fail_with(tmp_path, "model_config_file", text, max_num_load_retries=0)
    assert "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: {" in done.stdout
    assert "{name: bad version: 3} due to error: " in done.stdout


def test_a_missing_base_path_is_waited_for_with_no_port_open(tmp_path: Path, models: Models) -> None:
    base = tmp_path / "late"
    with process.running(tmp_path / "log", f"--model_base_path={base}", "--model_name=late", wait=False) as server:
        until(lambda: str(base) in server.stderr.read_text(), "the log names the missing path", process.START_LIMIT_S)
        assert server.alive()
        assert not process.listens(server.port)
        assert not process.listens(server.rest_port)
        push(models("half_plus_two"), base, 1)
        server.wait_until_open()
        assert Rest(server.rest_port).predict("late", '{"instances": [2]}').json == {"predictions": [3.0]}


def test_unknown_flags_are_told_and_the_server_starts(tmp_path: Path, models: Models) -> None:
    push(models("half_plus_two"), tmp_path / "base", 1)
    given = ("--no_such_flag=7", "stray", f"--model_base_path={tmp_path / 'base'}", "--enable_batching=TRUE")
    with process.running(tmp_path / "log", *given) as server:
        assert "--no_such_flag=7" in server.stdout.read_text()
        came = Rest(server.rest_port).predict("default", '{"instances": [2]}')
        assert came.json == {"predictions": [3.0]}
        metrics = Rest(server.rest_port).get("/monitoring/prometheus/metrics")
        assert metrics.status == 404
