"""Small models for the tests here and of the components that look after models, built once a session."""

from collections.abc import Callable
from pathlib import Path

import pytest

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
