"""Where a set-up lives, and what a finished one was made from."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Tuple

from bootstrap import cruntime
from bootstrap.errors import SetupError

GROUPS = ("serving", "pipeline", "dev")  # each contains the ones before it
PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Place:
    """One checkout of the project: the locks it asks for and the venv it has."""

    root: Path = PROJECT

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        """The virtual environment's interpreter."""
        return self.venv / "bin" / "python"

    @property
    def requirements(self) -> Path:
        """The folder of the groups (`*.in`) and their locks (`*.lock`)."""
        return self.root / "bootstrap" / "requirements"

    @property
    def stamp_file(self) -> Path:
        """Says what the venv was made from."""
        return self.venv / "pressline.json"

    def stamp(self) -> Dict[str, Any]:
        """What the venv was made from, with `finished`; empty when nothing readable is there."""
        try:
            content = json.loads(self.stamp_file.read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) and content.get("group") in GROUPS else {}

    def write_stamp(self, content: Dict[str, Any]) -> None:
        """Replaces the stamp in one step."""
        temporary = self.stamp_file.with_suffix(".new")
        temporary.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(str(temporary), str(self.stamp_file))

    def wanted(self, group: str, gpu: bool) -> Dict[str, Any]:
        """The stamp of a finished venv for this group on this host.

        Raises:
            SetupError: no venv for this group can be made on this host, or a lock is missing from the checkout.
        """
        names = [f"{group}.lock", "build.lock", "tools.lock"] + (["gpu.lock"] if gpu else [])
        try:
            locks = {name: hashlib.sha256((self.requirements / name).read_bytes()).hexdigest() for name in names}
        except OSError as error:
            raise SetupError(
                f"a lock is missing from this checkout: {error}. `git checkout bootstrap` restores it"
            ) from error
        version = cruntime.glibc_version()
        return {
            "group": group,
            "gpu": gpu,
            "finished": True,
            "locks": locks,
            "root": str(self.root),
            "private_runtime": cruntime.needed(group),
            "glibc": list(version) if version else None,
        }

    def enlarged(self, group: str, gpu: bool) -> Tuple[str, bool]:
        """The group and GPU choice that keep what an earlier set-up was asked for; `make clean` forgets it."""
        have = self.stamp()
        largest = max(group, have.get("group", group), key=GROUPS.index)
        return largest, gpu or bool(have.get("gpu"))

    def in_step(self, group: str, gpu: bool) -> bool:
        """Whether the venv already is what `group` and `gpu` ask for, or more, as the present locks have it."""
        return self.python.exists() and self.stamp() == self.wanted(*self.enlarged(group, gpu))
