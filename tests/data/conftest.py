"""A source of a dozen ratings in the real archive's layout, and a wheel that the real pip can fetch from a folder."""

import hashlib
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from data.catalogue import CATALOGUE, Package, Source
from tests.data.tiny_movielens import write_movielens


@pytest.fixture
def data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of this test's own."""
    monkeypatch.setenv("PRESSLINE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all pip knows of: no index, no configuration of the host."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def package(shelf: Path) -> Package:
    """The smallest wheel that pip takes, on the shelf; it holds ratings of 3 users in 3 spans."""
    path = shelf / "tinylens-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tinylens-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinylens\nVersion: 1.0\n")
        wheel.writestr("tinylens-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tinylens-1.0.dist-info/RECORD", "")
        write_movielens(wheel)
    return Package("pypi", "tinylens", "1.0", path.name, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def source(package: Package, shelf: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """`clicks`, made from the tiny wheel for the length of a test; already fetched."""
    (data_home / "cache").mkdir(parents=True)
    shutil.copy(shelf / package.filename, data_home / "cache")
    tiny = replace(CATALOGUE["clicks"], package=package)
    monkeypatch.setitem(CATALOGUE, "clicks", tiny)
    return tiny
