"""An environment for each competitor, made by uv in bench/peers/<name> from peers/<name>.txt and kept."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from bootstrap import fetch
from bootstrap.place import Place
from bootstrap.python import python311
from tests.benchmarks.places import PROJECT

LONGEST_S = 360
MADE = PROJECT / "bench" / "peers"
REQUIREMENTS = Path(__file__).resolve().parent / "peers"


class NotInstalledError(Exception):
    """An environment could not be made; the message is the reason, in a line."""


def ensure(name: str) -> Path:
    """The Python of an environment that has what peers/<name>.txt asks for; minutes the first time.

    Raises:
        NotInstalledError: a package cannot be had here, or not within LONGEST_S.
    """
    folder, wanted = MADE / name, REQUIREMENTS / f"{name}.txt"
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if stamp.exists() and stamp.read_bytes() == wanted.read_bytes():
        return python
    print(f"  installing {name} into {folder}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    interpreter = python311(_uv(), _environment())
    _run("venv", "--quiet", "--python", interpreter, str(folder))
    options = ["--quiet", "--python", str(python), "--only-binary", ":all:", "--compile-bytecode"]
    _run("pip", "install", *options, "-r", str(wanted))
    shutil.copy(wanted, stamp)
    return python


def versions(name: str) -> dict[str, str]:
    """Package -> version of an environment that is there."""
    said = _run("pip", "freeze", "--python", str(MADE / name / "bin" / "python"))
    return dict(line.split("==", 1) for line in said.splitlines() if "==" in line)


def _uv() -> Path:
    return Place().venv / "tools" / "bin" / "uv"


def _environment() -> dict[str, str]:
    with tempfile.TemporaryDirectory() as scratch:
        return fetch.uv_environment(fetch.pip_command(Path(scratch)))


def _run(*arguments: str) -> str:
    command = [str(_uv()), *arguments]
    try:
        done = subprocess.run(
            command, env=_environment(), capture_output=True, text=True, timeout=LONGEST_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotInstalledError(f"`uv {arguments[0]}` took more than {LONGEST_S} s") from None
    if done.returncode:
        raise NotInstalledError(" ".join(done.stderr.split())[-400:] or f"`uv {arguments[0]}` failed")
    return done.stdout
