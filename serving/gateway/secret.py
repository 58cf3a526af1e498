"""The gateways' shared secret: without it nobody can tell from an impression whose it was."""

import contextlib
import os
import secrets
from pathlib import Path

from serving.errors import InputError

SHORTEST_BYTES = 16
MADE_BYTES = 32


def secret(path: Path) -> bytes:
    """The file's content without the white space around it; the first gateway to ask makes the file.

    Gateways on other hosts need a copy of it: with another secret the same user would be another one in the logs.

    Raises:
        InputError: the file cannot be read or made, or is shorter than SHORTEST_BYTES.
    """
    try:
        if not path.exists():
            _make(path)
        content = path.read_bytes().strip()
    except OSError as error:
        raise InputError(f"--secret-file {path}: {error.strerror}") from error
    if len(content) < SHORTEST_BYTES:
        raise InputError(
            f"--secret-file {path} holds {len(content)} bytes: expected {SHORTEST_BYTES} or more. Remove it, and a new "
            "one is made; users' keys then have other hashes than before"
        )
    return content


def _make(path: Path) -> None:
    """Makes it, unless another gateway does so first.

    It appears under its name with all of its content, by a link: were it opened there, a second gateway could read it
    while it is empty.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(file, "wb") as opened:
            opened.write(secrets.token_hex(MADE_BYTES).encode() + b"\n")
            opened.flush()
            os.fsync(opened.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(fresh)
    finally:
        fresh.unlink()
