"""How a server ends, and that it starts again after it was killed (contract 7 and the house's own promise)."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.serving.model_server.conformance import process
from tests.serving.model_server.conformance.clients import Grpc, Rest, predict_text
from tests.serving.model_server.conformance.process import Server, until
from tests.serving.model_server.conformance.shelf import Models, config, entry
from tests.serving.model_server.models import push


@pytest.fixture
def file(tmp_path: Path, models: Models) -> Path:
    """A config file with the slow model and a quick one."""
    for kind in ("slow", "half_plus_two"):
        push(models(kind), tmp_path / kind, 1)
    path = tmp_path / "models.config"
    path.write_text(config(*(entry(kind, tmp_path / kind) for kind in ("slow", "half_plus_two"))))
    return path


@pytest.mark.ours_only
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_in_flight_are_answered_before_the_end(tmp_path: Path, file: Path, number: int) -> None:
    """TF Serving ends at once; the house's server lets requests finish and exits with 0."""
    with process.running(tmp_path / "log", f"--model_config_file={file}") as server:
        busy_s = server.cpu_s
        with ThreadPoolExecutor(2) as pool:
            over_rest = pool.submit(Rest(server.rest_port).predict, "slow", '{"instances": [2.0]}')
            over_grpc = pool.submit(grpc_answer, server)
            until(lambda: server.cpu_s > busy_s + 0.4, "the model runs")
            server.process.send_signal(number)
            assert over_rest.result(30).json == {"predictions": [2.0]}
            assert over_grpc.result(30) == [2.0]
        assert server.process.wait(process.STOP_LIMIT_S) == 0
        assert not process.listens(server.port)
        assert not process.listens(server.rest_port)


@pytest.mark.ours_only
def test_an_idle_server_with_open_connections_ends_with_0(tmp_path: Path, file: Path) -> None:
    with process.running(tmp_path / "log", f"--model_config_file={file}") as server:
        grpc = Grpc(f"127.0.0.1:{server.port}")
        grpc.call("Predict", predict_text("half_plus_two"))
        with Rest(server.rest_port) as kept:
            assert kept.predict("half_plus_two", '{"instances": [2]}').status == 200
            assert server.stop() == 0
        assert "Traceback" not in server.printed


def test_a_killed_server_starts_again_on_its_ports(tmp_path: Path, file: Path) -> None:
    ports = process.free_port(), process.free_port()
    for _ in range(2):
        server = Server(tmp_path / "log", (f"--model_config_file={file}",), *ports)
        try:
            server.wait_until_open()
            assert Rest(server.rest_port).predict("half_plus_two", '{"instances": [2]}').json == {"predictions": [3.0]}
            assert Grpc(f"127.0.0.1:{server.port}").statuses("slow") == {1: "AVAILABLE"}
        finally:
            server.kill()
        assert server.process.returncode == -signal.SIGKILL


def grpc_answer(server: Server) -> list[float]:
    """What the slow model says over gRPC after two seconds."""
    response = Grpc(f"127.0.0.1:{server.port}").call("Predict", predict_text("slow", [2.0], "seconds"))
    return list(response.outputs["y"].float_val)
