"""Finds a Python 3.11 for the venv."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, Optional, Tuple

from bootstrap.errors import SetupError
from bootstrap.process import clean_environment

WANTED = (3, 11)
REMEDY = (
    "Install Python 3.11 (Debian 12: `apt-get install python3`; Ubuntu 22.04: `apt-get install python3.11`; "
    "elsewhere from pyenv or conda) so that `python3.11` is on the PATH, and run again."
)


def python311(uv: Path, environment: Dict[str, str]) -> str:
    """The path of a Python 3.11: `python3`, else `python3.11`, else one that uv finds or fetches.

    Args:
        uv: the uv to ask.
        environment: what to run uv in.

    Raises:
        SetupError: there is none to be had.
    """
    found = on_the_path()
    if found:
        return found
    print("  no Python 3.11 on the PATH: asking uv for one", flush=True)
    asked = subprocess.run([str(uv), "python", "install", "3.11"], env=environment, close_fds=False, check=False)
    command = [str(uv), "python", "find", "--no-project", "--system", "3.11"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, universal_newlines=True, env=environment, check=False)
    path = answer.stdout.strip()
    if asked.returncode == 0 and answer.returncode == 0 and version_of(path) == WANTED:
        return path
    here = ".".join(map(str, sys.version_info[:3]))
    raise SetupError(
        f"Pressline's locks are for Python 3.11; `python3` here is {here}, there is no `python3.11` on the PATH, "
        f"and uv could not fetch one. {REMEDY}"
    )


def on_the_path() -> Optional[str]:
    """The path of the running Python, `python3` or `python3.11`, whichever first is a 3.11; None where none is."""
    for name in (sys.executable, shutil.which("python3"), shutil.which("python3.11")):
        if name and version_of(name) == WANTED:
            return _original(name)
    return None


def version_of(python: str) -> Optional[Tuple[int, ...]]:
    """(major, minor) of an interpreter, or None when it does not start."""
    said = _say(python, "import sys; print(*sys.version_info[:2])")
    try:
        return tuple(int(part) for part in said.split()) or None
    except ValueError:
        return None


def _original(python: str) -> str:
    """The interpreter's own file, through shims, virtual environments and links.

    The venv notes its folder as `home`: from a folder of mere links a Python, and uv beside it, finds only half of its
    library.
    """
    code = "import os, sys; print(os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable))"
    return _say(python, code).strip() or python


def _say(python: str, code: str) -> str:
    """What the code prints, or nothing when the interpreter does not start."""
    command = [python, "-c", code]
    try:
        said = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            universal_newlines=True,
            env=clean_environment(),
            check=False,
        )
    except OSError:
        return ""
    return said.stdout if said.returncode == 0 else ""
