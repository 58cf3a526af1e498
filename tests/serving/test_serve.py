"""`python -m serving.serve`, as a user runs it."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import serve
from serving.errors import InputError
from serving.example_request import WARMUP, example_body
from serving.model_directory import publish
from serving.rollout import desired
from serving.rollout.publishing import write_config as write
from serving.serve import servable_tasks, write_config

LIMIT_S = 90


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRESSLINE_HOME", str(tmp_path / "a home"))
    return tmp_path / "a home"


def _pushed(home: Path, task: str, version: int = 1) -> None:
    (home / "models" / task / str(version)).mkdir(parents=True)


def test_tasks_with_a_version_are_served_sorted(home: Path) -> None:
    _pushed(home, "topic")
    _pushed(home, "clicks")
    (home / "models" / "empty").mkdir()
    assert servable_tasks([]) == ("clicks", "topic")
    assert servable_tasks(["topic"]) == ("topic",)


@pytest.mark.parametrize("wanted", [[], ["clicks"]])
def test_without_a_pushed_model_it_says_how_to_make_one(home: Path, wanted: list[str]) -> None:
    with pytest.raises(InputError, match=r"no pushed model .*`make run TASK=clicks`"):
        servable_tasks(wanted)


def test_the_command_line_answers_2_for_a_task_that_was_never_pushed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _pushed(home, "clicks")
    assert serve.main(["clicsk"]) == 2
    assert "no pushed model of clicsk" in capsys.readouterr().err
    assert not (home / "serving").exists()


def test_the_config_file_is_what_tf_serving_reads(home: Path) -> None:
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    _pushed(home, "clicks")
    config = text_format.Parse(write_config(["clicks"]).read_text(), model_server_config_pb2.ModelServerConfig())
    (only,) = config.model_config_list.config
    assert (only.name, only.base_path, only.model_platform) == (
        "clicks",
        str(home / "models" / "clicks"),
        "tensorflow",
    )
    assert [path.name for path in (home / "serving").iterdir()] == ["models.config"]


def _controllers_config(home: Path, **versions: int) -> Path:
    """As the rollout controller writes it: each model's one version, which is stable."""
    models = [
        desired.Model(name, str(home / "models" / name), stable=version) for name, version in sorted(versions.items())
    ]
    write(serve.config_path(), desired.server_config(models).text)
    return serve.config_path()


def test_a_config_file_of_the_rollout_controller_is_told_from_others(home: Path) -> None:
    assert serve.controllers_models(serve.config_path()) is None
    _pushed(home, "clicks")
    assert serve.controllers_models(write_config(["clicks"])) is None
    odd = {'k"ä\\ ': 1, "clicks": 3}
    assert serve.controllers_models(_controllers_config(home, **odd)) == tuple(sorted(odd))
    assert serve.controllers_models(_controllers_config(home)) == ()


def test_the_controllers_file_is_served_as_it_is_with_its_flags(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _pushed(home, "clicks", 1)
    _pushed(home, "topic", 1)
    config = _controllers_config(home, clicks=1, topic=1)
    before = config.read_text()
    asked: list[tuple[list[str], tuple[str, ...]]] = []

    def started(command: list[str], tasks: tuple[str, ...], rest_port: int) -> int:
        asked.append((command[-3:], tasks))
        return 0

    monkeypatch.setattr(serve, "_serve", started)
    assert serve.main([]) == 0
    assert serve.main(["clicks"]) == 0
    flags = ["--allow_version_labels_for_unavailable_models=true", "--model_config_file_poll_wait_seconds=0"]
    assert asked == [([f"--model_config_file={config}", *flags], tasks) for tasks in (("clicks", "topic"), ("clicks",))]
    assert config.read_text() == before
    assert f"the rollout controller says what is served: {config}" in capsys.readouterr().out


@pytest.mark.parametrize(("served", "wanted"), [({"clicks": 1}, ["topic"]), ({}, [])])
def test_what_the_controller_does_not_serve_yet_is_bad_input(
    home: Path, capsys: pytest.CaptureFixture[str], served: dict[str, int], wanted: list[str]
) -> None:
    _pushed(home, "topic")
    config = _controllers_config(home, **served)
    before = config.read_text()
    assert serve.main(wanted) == 2
    assert "`python -m serving.rollout run` lets it go on" in capsys.readouterr().err
    assert config.read_text() == before


def test_the_real_server_is_used_where_the_path_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tmp_path / "tensorflow_model_server"
    real.write_text("#!/bin/sh\nexit 0\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert serve.server_command() == [sys.executable, "-m", "serving.model_server"]  # not executable yet
    real.chmod(0o755)
    assert serve.server_command() == [str(real)]


def _warmup(inputs: dict[str, Any], signature: str = "serving_default") -> bytes:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    path = Path(os.environ["PRESSLINE_HOME"]) / "records"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(log.SerializeToString())
    return path.read_bytes()


def test_an_example_request_keeps_bytes_that_are_no_text(home: Path, tmp_path: Path) -> None:
    (tmp_path / WARMUP).parent.mkdir()
    raw = np.array([b"\xff\x00", b"drama"], object)
    (tmp_path / WARMUP).write_bytes(_warmup({"genres": raw[None, :], "age": np.array([3], np.int64)}))
    assert example_body(tmp_path) == {"instances": [{"age": 3, "genres": [{"b64": "/wA="}, "drama"]}]}


def test_a_version_without_warm_up_requests_has_no_example(home: Path, tmp_path: Path) -> None:
    assert example_body(tmp_path) is None
    (tmp_path / WARMUP).parent.mkdir()
    (tmp_path / WARMUP).write_bytes(_warmup({"examples": np.array([b"x"], object)}, "serving_examples"))
    assert example_body(tmp_path) is None


@contextmanager
def _serving(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", list[str]]]:
    """A running `serving.serve` and what it has said up to the line that says that it serves."""
    command = [sys.executable, "-m", "serving.serve", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        lines: list[str] = []
        while not lines or not lines[-1].startswith("serving;"):
            line = process.stdout.readline()
            assert line, f"ended with {process.wait(LIMIT_S)} after {lines}"
            lines.append(line.strip())
        yield process, lines
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(LIMIT_S)
        process.stdout.close()


def test_the_curl_line_it_prints_works(home: Path, model_with: Callable[[str], Path]) -> None:
    columns = {
        "age": np.array([31], np.int64),
        "job": np.array(["writer's"], object),
        "genres": np.array([["drama", "noir"]], object),
        "weight": np.array([[0.5]], np.float32),
    }
    publish(model_with(""), home / "models" / "films", {WARMUP.name: _warmup(columns)})
    grpc_port, rest_port = (str(port) for port in _free_ports(2))
    with _serving("--port", grpc_port, "--rest-port", rest_port) as (process, lines):
        (curl,) = (line.removeprefix("films: ") for line in lines if line.startswith("films: "))
        said = subprocess.run(curl, shell=True, capture_output=True, check=True, timeout=LIMIT_S)
        ((score,),) = json.loads(said.stdout)["predictions"]
        assert 0 < score < 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0
    with pytest.raises(OSError):
        _connect(int(rest_port))


def test_after_the_controller_the_stable_version_is_served_and_not_the_newest(
    home: Path, model_with: Callable[[str], Path]
) -> None:
    for _ in range(2):
        publish(model_with(""), home / "models" / "films", {})
    _controllers_config(home, films=1)
    grpc_port, rest_port = (str(port) for port in _free_ports(2))
    with (
        _serving("--port", grpc_port, "--rest-port", rest_port),
        urllib.request.urlopen(
            f"http://localhost:{rest_port}/v1/models/films/labels/stable", timeout=LIMIT_S
        ) as answer,
    ):
        (status,) = json.loads(answer.read())["model_version_status"]
        assert (status["version"], status["state"]) == ("1", "AVAILABLE")


def test_it_ends_with_the_servers_own_exit_code_where_the_server_cannot_start(
    home: Path, model_with: Callable[[str], Path]
) -> None:
    publish(model_with("truncated"), home / "models" / "films", {})
    ports = [str(port) for port in _free_ports(2)]
    options = ["--max_num_load_retries=0"]
    command = ["--port", ports[0], "--rest-port", ports[1], "--", *options]
    said = subprocess.run(
        [sys.executable, "-m", "serving.serve", *command], capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    assert said.returncode == 255
    assert "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available" in said.stdout


def _free_ports(count: int) -> list[int]:
    with_sockets = [socket.socket() for _ in range(count)]
    try:
        for one in with_sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in with_sockets]
    finally:
        for one in with_sockets:
            one.close()


def _connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
