"""The server that most questions go to, with one model of each kind, and the clients of its two ports."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.model_server.conformance import process
from tests.serving.model_server.conformance.clients import Grpc, Rest
from tests.serving.model_server.conformance.nursery import FLAGS, Nursery
from tests.serving.model_server.conformance.process import Server
from tests.serving.model_server.conformance.shelf import Models, config, entry, house_config, house_models
from tests.serving.model_server.models import push

FILES = (("model", "models"), ("monitoring", "monitoring"))
MONITORING = 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }\n'


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "ours_only: promised of the house's own server, not of every model server")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if process.is_ours():
        return
    skip = pytest.mark.skip(reason="MODEL_SERVER names another server than the house's own")
    for item in items:
        if item.get_closest_marker("ours_only"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def house_folder(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Path:
    """The base paths of the session's server, the model config file and the monitoring config."""
    folder = tmp_path_factory.mktemp("served")
    house_models(folder, models)
    (folder / "models.config").write_text(house_config(folder))
    (folder / "monitoring.config").write_text(MONITORING)
    return folder


@pytest.fixture(scope="session")
def server(house_folder: Path) -> Iterator[Server]:
    """The server for questions that change nothing."""
    flags = (
        *(f"--{kind}_config_file={house_folder / f'{file}.config'}" for kind, file in FILES),
        "--allow_version_labels_for_unavailable_models=true",
        "--num_load_threads=2",
        "--max_num_load_retries=0",
    )
    with process.running(house_folder / "log", *flags) as running:
        yield running


@pytest.fixture(scope="session")
def rest(server: Server) -> Rest:
    return Rest(server.rest_port)


@pytest.fixture(scope="session")
def grpc(server: Server) -> Iterator[Grpc]:
    client = Grpc(f"127.0.0.1:{server.port}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Iterator[Nursery]:
    """The server for questions about versions that come and go."""
    folder = tmp_path_factory.mktemp("nursery")
    push(models("half_plus_two"), folder / "anchor", 1)
    (folder / "models.config").write_text(config(entry("anchor", folder / "anchor")))
    (folder / "monitoring.config").write_text(MONITORING)
    files = [f"--{kind}_config_file={folder / f'{file}.config'}" for kind, file in FILES]
    with process.running(folder / "log", *files, *FLAGS) as running:
        yield Nursery(running, folder)
