"""Where data lies: `data/` of the project, or the folder that `PRESSLINE_DATA` names."""

import os
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def data_home() -> Path:
    """The folder that holds `cache/` and `spans/`; not created here."""
    return Path(os.environ.get("PRESSLINE_DATA") or _HERE).absolute()


def cache_dir() -> Path:
    """Fetched package files, and digests of large files."""
    return data_home() / "cache"


def spans_dir(source: str) -> Path:
    """The span directories of a source of the catalogue."""
    return data_home() / "spans" / source
