"""A host for the set-up that downloads nothing: a pip and a uv that answer the calls the set-up makes of the real ones.

`python -m tests.bootstrap.fake_host ROOT GROUP` runs `make setup` on it, for tests that kill it.
"""

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from bootstrap import cruntime, fetch, install
from bootstrap.__main__ import main
from bootstrap.place import Place

# pip install ... --target FOLDER -r LOCK; pip config get NAME
PIP = """#!{python}
import pathlib, shutil, sys
arguments = sys.argv[1:]
if arguments[0] == "config":
    sys.exit(1)
assert arguments[0] == "install" and "--require-hashes" in arguments, arguments
target = pathlib.Path(arguments[arguments.index("--target") + 1])
(target / "bin").mkdir(parents=True)
shutil.copy("{root}/fake/uv", target / "bin" / "uv")
"""

# uv pip sync --python PYTHON --require-hashes --build-constraint LOCK --compile-bytecode LOCK...
UV = """#!{python}
import pathlib, signal, sys
arguments = sys.argv[1:]
with open("{root}/fake/uv.log", "a") as log:
    print(*arguments, file=log)
assert arguments[:3] == ["pip", "sync", "--python"] and "--require-hashes" in arguments, arguments
site = next(pathlib.Path(arguments[3]).parent.parent.glob("lib/python3.*/site-packages"))
mode = pathlib.Path("{root}/fake/mode").read_text()
(site / "half.py").write_text("half a pack")
if mode == "hang":
    open("{root}/fake/reached", "w").close()  # a named pipe: opens when the test listens
    signal.pause()
if mode == "fail":
    sys.exit("error: no such package")
print(" + something==1.0", file=sys.stderr)
print("Installed 1 package", file=sys.stderr)
(site / "half.py").unlink()
(site / "whole.py").write_text("".join(pathlib.Path(lock).read_text() for lock in arguments if lock.endswith(".lock")))
"""


def build(root: Path) -> Place:
    """A checkout with small locks and the fakes beside it."""
    place = Place(root)
    place.requirements.mkdir(parents=True)
    for name in ("serving", "pipeline", "dev", "gpu", "build", "tools"):
        (place.requirements / f"{name}.lock").write_text(f"# {name}\n")
    (root / "fake").mkdir()
    for name, text in (("pip", PIP), ("uv", UV)):
        script = root / "fake" / name
        script.write_text(text.format(python=sys.executable, root=root))
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    os.mkfifo(root / "fake" / "reached")
    behave(place, "work")
    return place


def behave(place: Place, mode: str) -> None:
    """What the fake uv does next: "work", "fail" or "hang" with half a package written."""
    (place.root / "fake" / "mode").write_text(mode)


def syncs(place: Place) -> list[str]:
    """The uv calls so far, a line each."""
    log = place.root / "fake" / "uv.log"
    return log.read_text().splitlines() if log.exists() else []


def site(place: Place) -> Path:
    """The venv's site-packages."""
    return next((place.venv / "lib").glob("python3.*/site-packages"))


@contextlib.contextmanager
def stand_in(place: Place) -> Iterator[None]:
    """Makes the set-up use this checkout's pip, on a host whose C runtime is new enough."""
    pip = [str(place.root / "fake" / "pip")]
    with (
        mock.patch.object(fetch, "pip_command", return_value=pip),
        mock.patch.object(cruntime, "needed", return_value=False),
    ):
        yield


def set_up(place: Place, group: str = "dev", gpu: bool = False) -> None:
    """One set-up in this process."""
    with stand_in(place):
        install.setup(place, group, gpu)


if __name__ == "__main__":
    checkout = Place(Path(sys.argv[1]))
    with stand_in(checkout):
        sys.exit(main(["setup", "--group", sys.argv[2]], checkout))
