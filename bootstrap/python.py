"""Finds what the set-up itself needs: a Python 3.11, and a pip to fetch uv with."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Optional

from bootstrap.errors import SetupError

WANTED = (3, 11)


def python311(uv: Path) -> str:
    """The path of a Python 3.11: `python3`, else `python3.11`, else one that uv finds or fetches.

    Raises:
        SetupError: there is none to be had.
    """
    for name in (sys.executable, shutil.which("python3"), shutil.which("python3.11")):
        if name and version_of(name) == WANTED:
            return str(Path(_prefix_python(name)))
    print("  no Python 3.11 on the PATH: asking uv for one", flush=True)
    asked = subprocess.run([str(uv), "python", "install", "3.11"], env=uv_environment())
    found = subprocess.run([str(uv), "python", "find", "3.11"], stdout=subprocess.PIPE, text=True, env=uv_environment())
    if asked.returncode == 0 and found.returncode == 0 and found.stdout.strip():
        return found.stdout.strip()
    raise SetupError(
        f"Pressline's lock is for Python 3.11; `python3` here is {sys.version.split()[0]}, there is no `python3.11`, "
        "and uv could not fetch one. Install Python 3.11 (Debian 12: `apt-get install python3`; Ubuntu 22.04: "
        "`apt-get install python3.11`) and run again."
    )


def version_of(python: str) -> Optional[tuple]:
    """(major, minor) of an interpreter, or None when it does not start."""
    try:
        code = "import sys; print(*sys.version_info[:2])"
        said = subprocess.run([python, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError:
        return None
    return tuple(int(part) for part in said.stdout.split()) if said.returncode == 0 and said.stdout else None


def _prefix_python(python: str) -> str:
    """The base interpreter's own path: a shim or a virtual environment would otherwise be copied in its place."""
    code = "import sys; print(getattr(sys, '_base_executable', None) or sys.executable)"
    return subprocess.run([python, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def pip_command(scratch: Path) -> List[str]:
    """A command that runs pip: the host's, else Python's bundled one, else the one in the distribution's package.

    Raises:
        SetupError: no pip can be had.
    """
    for python in (sys.executable, shutil.which("python3") or sys.executable):
        if subprocess.run([python, "-m", "pip", "--version"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0:  # fmt: skip
            return [python, "-m", "pip"]
    wheels = _bundled_pip_wheels() or _packaged_pip_wheels(scratch)
    if wheels:
        # A wheel is a zip file, and pip's can be run from inside it.
        return [sys.executable, f"{wheels[-1]}/pip"]
    raise SetupError("no pip to fetch packages with: install it (Debian, Ubuntu: `apt-get install python3-pip`) "
                     "and run again.")  # fmt: skip


def _bundled_pip_wheels() -> List[Path]:
    try:
        import ensurepip
    except ImportError:
        return []
    return sorted(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))


def _packaged_pip_wheels(scratch: Path) -> List[Path]:
    """Debian and Ubuntu leave pip out of python3 and carry its wheel in `python3-pip-whl`: unpacked, not installed."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return []
    scratch.mkdir(parents=True, exist_ok=True)
    state = scratch / "lists"
    (state / "partial").mkdir(parents=True, exist_ok=True)
    (scratch / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    apt = ["apt-get", "-qq", f"-oDir::State::Lists={state}", f"-oDir::Cache={scratch / 'cache'}",
           "-oAPT::Sandbox::User=", "-oAcquire::Languages=none"]  # fmt: skip
    for command in (apt + ["update"], apt + ["download", "python3-pip-whl"]):
        if subprocess.run(command, cwd=scratch).returncode:
            return []
    for deb in scratch.glob("python3-pip-whl_*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(deb), str(scratch)], check=True)
    return sorted((scratch / "usr/share/python-wheels").glob("pip-*.whl"))


def uv_environment(pip: Optional[List[str]] = None) -> Dict[str, str]:
    """The environment to run uv in: the index and certificate that the host's pip is configured with, and bytecode."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment.pop("VIRTUAL_ENV", None)
    if pip is None:
        return environment
    for setting, variable in (("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE")):
        if variable in environment:
            continue
        value = os.environ.get("PIP_" + setting.replace("-", "_").upper(), "")
        if not value:
            said = subprocess.run([*pip, "config", "get", f"global.{setting}"], stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True)  # fmt: skip
            value = said.stdout.strip() if said.returncode == 0 else ""
        if value:
            environment[variable] = value
    return environment
