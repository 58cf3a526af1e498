"""Fetches a pinned package file with its registry's ordinary client, and keeps it only when its SHA-256 is right."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path

from data.catalogue import Package
from data.errors import InputError
from data.places import cache_dir

_WORDS_SHOWN = 5


def fetch(package: Package) -> Path:
    """The package's file in the cache; fetched when it is not there yet, or not whole.

    Progress goes to stderr. The client's own configuration (index, certificates, proxies) is honoured.

    Raises:
        InputError: no client, no network, the registry lacks the file, or its SHA-256 is another one; nothing is kept.
    """
    target = cache_dir() / package.filename
    if _is_right(target, package):
        return target
    try:
        with locked(cache_dir()):
            # Another process may have fetched it while this one waited.
            if not _is_right(target, package):
                _fetch_to(target, package)
    except OSError as error:
        raise InputError(
            f"cannot keep {package.filename} in {cache_dir()}: {error.strerror or error}. "
            "Make room or make it writable there, or name another folder with PRESSLINE_DATA."
        ) from error
    return target


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds `folder` (made if missing) for this process alone; waits for another one that holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sha256_of(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_right(path: Path, package: Package) -> bool:
    return path.is_file() and sha256_of(path) == package.sha256


def _fetch_to(target: Path, package: Package) -> None:
    for left_over in target.parent.glob(".fetch-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    _say(f"fetching {package.name} {package.version} from {package.registry}")
    scratch = Path(tempfile.mkdtemp(prefix=".fetch-", dir=target.parent))
    try:
        fetched = _run_client(package, scratch)
        digest = sha256_of(fetched)
        if digest != package.sha256:
            raise InputError(
                f"expected {package.filename} with the SHA-256 {package.sha256}; the registry gave one with {digest}. "
                "It is not the file that the catalogue describes, so nothing was kept. See whether the index or mirror "
                "that the client is configured with changes files; if the package was truly replaced, "
                "data/catalogue.py needs a reviewed change."
            )
        fetched.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    _say(f"{package.filename}: {target.stat().st_size / 1e6:.1f} MB, SHA-256 is right")


def _run_client(package: Package, folder: Path) -> Path:
    command = CLIENTS[package.registry](package, folder)
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder, text=True,
        errors="replace", check=False,
    )  # fmt: skip
    fetched = folder / package.filename
    if done.returncode == 0 and fetched.is_file():
        return fetched
    found = ", ".join(sorted(path.name for path in folder.iterdir())) or "no file"
    words = "\n  ".join(done.stdout.strip().splitlines()[-_WORDS_SHOWN:])
    raise InputError(
        f"could not fetch {package.filename} ({package.name} {package.version} of {package.registry}): the client "
        f"ended with {done.returncode} and gave {found}. Its last words:\n  {words}\n"
        "See whether the network and the index that the client is configured with can be reached, and run again; or "
        f"put the file (SHA-256 {package.sha256}) into {folder.parent} by hand."
    )


def _pip_download(package: Package, folder: Path) -> list[str]:
    # A wheel only: to download a source archive, pip would run its build.
    return [*_pip(), "download", "--no-deps", "--only-binary", ":all:", "--no-input", "--quiet",
            "--disable-pip-version-check", "--dest", str(folder), f"{package.name}=={package.version}"]  # fmt: skip


def _pip() -> list[str]:
    # Not find_spec: setuptools watches for it, to replace distutils, and warns where that came too late.
    if any(distributions(name="pip")):
        return [sys.executable, "-m", "pip"]
    # The venv is made without pip; the interpreter it was made from often has it.
    base = getattr(sys, "_base_executable", "")
    if base and subprocess.run([base, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
        return [base, "-m", "pip"]
    raise InputError(
        "no pip to fetch packages with, neither in the venv nor in its base interpreter: run `make setup`."
    )


def _say(text: str) -> None:
    print(f"data: {text}", file=sys.stderr, flush=True)


# Registry -> (package, empty folder) -> the command that leaves `package.filename` in that folder. `npm pack` and
# `apt-get download` fit the same shape.
CLIENTS: Mapping[str, Callable[[Package, Path], list[str]]] = {"pypi": _pip_download}
