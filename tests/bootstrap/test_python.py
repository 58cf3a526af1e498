import os
import sys
from pathlib import Path

import pytest

from bootstrap import python
from bootstrap.errors import SetupError


def interpreter(folder: Path, name: str, version: str, original: str = "") -> Path:
    """A program that answers the two questions the set-up asks of a Python."""
    script = folder / name
    script.write_text(
        f'#!/bin/sh\ncase "$2" in *version_info*) echo {version} ;; *) echo {original or script} ;; esac\n'
    )
    script.chmod(0o755)
    return script


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all of the PATH; the running Python is a 3.10."""
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "running").mkdir()
    monkeypatch.setattr(sys, "executable", str(interpreter(tmp_path / "running", "python3", "3 10")))
    return tmp_path


def test_python3_is_taken_where_it_is_a_3_11(path: Path) -> None:
    found = interpreter(path, "python3", "3 11")
    interpreter(path, "python3.11", "3 11")
    assert python.on_the_path() == str(found)


def test_python3_11_is_looked_for_where_python3_is_another(path: Path) -> None:
    interpreter(path, "python3", "3 12")
    found = interpreter(path, "python3.11", "3 11")
    assert python.on_the_path() == str(found)


def test_a_shim_gives_the_interpreter_behind_it(path: Path) -> None:
    interpreter(path, "python3", "3 11", original="/opt/python/3.11/bin/python3.11")
    assert python.on_the_path() == "/opt/python/3.11/bin/python3.11"


def test_the_venvs_own_python_gives_the_one_it_was_made_from() -> None:
    found = python.on_the_path()
    assert found == os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]  # no public name for it


def test_uv_is_asked_where_there_is_no_3_11(path: Path) -> None:
    fetched = interpreter(path / "running", "fetched", "3 11")
    uv = path / "uv"
    uv.write_text(f'#!/bin/sh\ncase "$2" in find) echo {fetched} ;; esac\n')
    uv.chmod(0o755)
    assert python.python311(uv, {}) == str(fetched)


def test_no_3_11_at_all_says_how_to_get_one(path: Path) -> None:
    uv = path / "uv"
    uv.write_text("#!/bin/sh\nexit 1\n")
    uv.chmod(0o755)
    with pytest.raises(
        SetupError, match=r"locks are for Python 3\.11; .* uv could not fetch one\. Install Python 3\.11"
    ):
        python.python311(uv, {})


@pytest.mark.parametrize("program", ["exit 1", "echo nonsense", "true"])
def test_a_python_that_does_not_start_has_no_version(tmp_path: Path, program: str) -> None:
    script = tmp_path / "python3"
    script.write_text(f"#!/bin/sh\n{program}\n")
    script.chmod(0o755)
    assert python.version_of(str(script)) is None
    assert python.version_of(str(tmp_path / "missing")) is None
