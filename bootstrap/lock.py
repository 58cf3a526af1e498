"""`make lock`: compiles every `bootstrap/requirements/*.in` into its lock, with hashes and without addresses.

`dev` holds every group, so it is resolved first and the smaller groups take its versions: going from one group to a
larger one only adds packages.
"""

import os
from pathlib import Path
from typing import List, Tuple

from bootstrap import fetch
from bootstrap.errors import SetupError
from bootstrap.install import locked
from bootstrap.place import Place
from bootstrap.process import step, watch

# (lock, the lock whose versions it takes)
ORDER: Tuple[Tuple[str, str], ...] = (
    ("dev", ""),
    ("pipeline", "dev"),
    ("serving", "dev"),
    ("gpu", "dev"),
    ("build", ""),
    ("tools", ""),
)
# The newest the set-up can offer: Debian 13's glibc, privately or the host's own.
PLATFORM = "x86_64-manylinux_2_40"


def compile_all(place: Place, upgrade: bool) -> None:
    """Writes all locks anew: the present versions where they still fit, the newest with `upgrade`.

    Raises:
        SetupError: the requirements contradict each other or the index cannot be reached; no lock has changed then.
    """
    place.venv.mkdir(exist_ok=True)
    with locked(place):
        pip = fetch.pip_command(place.venv / "apt")
        uv = fetch.tools(place, pip) / "bin" / "uv"
        environment = fetch.uv_environment(pip)
        written: List[Tuple[Path, Path]] = []
        for name, constraint in ORDER:
            target = place.requirements / f"{name}.lock"
            fresh = target.with_suffix(".lock.new")
            fresh.write_text("" if upgrade or not target.exists() else target.read_text())
            written.append((fresh, target))
            step(f"resolving {name}")
            command = [str(uv), "pip", "compile", f"{name}.in", "--output-file", fresh.name, "--quiet"]
            command += ["--override", "overrides.txt", "--python-version", "3.11", "--python-platform", PLATFORM]
            command += ["--generate-hashes", "--no-emit-index-url", "--no-emit-find-links"]
            command += ["--no-annotate", "--no-header", "--no-config"]
            if constraint:
                command += ["--constraint", f"{constraint}.lock.new"]
            try:
                watch(command, f"could not resolve {name}.in", environment, cwd=place.requirements)
            except SetupError:
                for unwanted, _ in written:
                    unwanted.unlink()
                raise
        for fresh, target in written:
            os.replace(str(fresh), str(target))
    step("locks written; the next `make setup` installs them")
