"""What tests here and of the components that look after models share: small models, a database server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serving import postgresql as programs
from tests.serving import small_model


@pytest.fixture(scope="session")
def model_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A fault ('' for none) -> the directory of the SavedModel that has it."""
    built: dict[str, Path] = {}

    def directory(fault: str) -> Path:
        if fault not in built:
            built[fault] = small_model.build(tmp_path_factory.mktemp(fault or "whole") / "model", fault)
        return built[fault]

    return directory


@pytest.fixture(scope="session")
def postgresql() -> Iterator[programs.Server]:
    """A running PostgreSQL; a test that stops it starts it again."""
    with programs.running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/deep/down/ledger.sqlite"
    server: programs.Server = request.getfixturevalue("postgresql")
    return server.database()
