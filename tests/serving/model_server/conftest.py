"""The SavedModels of the model server's tests, built once a session."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving.model_server.models import build


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """One of models.KINDS -> its directory. Not to be changed: `models.push` copies one to a version directory."""
    built: dict[str, Path] = {}

    def directory(kind: str) -> Path:
        if kind not in built:
            built[kind] = build(kind, tmp_path_factory.mktemp(kind) / "model")
        return built[kind]

    return directory


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str | bytes], str]:
    def write(content: str | bytes) -> str:
        path = tmp_path / "config"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write
