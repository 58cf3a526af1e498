"""Signals that the conformance suite does not send: a second one, and one before the server is up."""

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.serving.model_server.conformance import process
from tests.serving.model_server.conformance.clients import Rest
from tests.serving.model_server.conformance.process import until
from tests.serving.model_server.models import push


def test_a_second_signal_drops_what_is_in_flight(tmp_path: Path, models: Callable[[str], Path]) -> None:
    push(models("slow"), tmp_path / "slow", 1)
    with process.running(tmp_path / "log", f"--model_base_path={tmp_path / 'slow'}", "--model_name=slow") as server:
        busy_s = server.cpu_s
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(Rest(server.rest_port).predict, "slow", '{"instances": [600.0]}')
            until(lambda: server.cpu_s > busy_s + 0.4, "the model runs")
            server.process.send_signal(signal.SIGTERM)
            until(lambda: "Draining" in server.printed, "it drains")
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(process.STOP_LIMIT_S) == process.FAILED
            with pytest.raises(OSError):
                asked.result(30)


def test_a_signal_ends_a_server_that_still_waits_for_its_models(tmp_path: Path) -> None:
    flags = f"--model_base_path={tmp_path / 'missing'}"
    with process.running(tmp_path / "log", flags, wait=False) as server:
        until(lambda: "missing" in server.printed, "it waits for the base path", 60)
        assert server.stop() == 0
        assert "Traceback" not in server.printed
