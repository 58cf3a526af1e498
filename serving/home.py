"""Where runs leave things behind: `var/` of the project, or the folder that `PRESSLINE_HOME` names."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def home() -> Path:
    """The folder that holds everything a run leaves behind; not created here."""
    return Path(os.environ.get("PRESSLINE_HOME") or PROJECT / "var").absolute()


def models_dir(task: str) -> Path:
    """TF Serving's base path of a task's model: one integer directory a version."""
    return home() / "models" / task


def ledger_url() -> str:
    """SQLAlchemy URL of the ledger: `PRESSLINE_LEDGER_URL` (never log it: it may hold a password), or SQLite."""
    return os.environ.get("PRESSLINE_LEDGER_URL") or f"sqlite:///{home() / 'ledger.sqlite'}"
