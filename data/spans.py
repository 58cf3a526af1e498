"""Span directories, `<root>/span-<N>/`: listing them with every complaint a user can mend, and their fingerprint.

Only the standard library is imported here: the fingerprint is asked for before anything heavy is loaded.
"""

import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from data.errors import InputError
from data.places import cache_dir

_SPAN = re.compile(r"span-(\d+)")
# Hashing less than this is quicker than remembering it.
_SMALL_BYTES = 1 << 20
# A file changed this recently may change again within the clock tick of its time stamp.
_SETTLED_S = 2.0


@dataclass(frozen=True)
class Span:
    """One time slice of raw records.

    Attributes:
        number: grows with time.
        path: its directory.
        files: the record files in it, by name; at least one.
    """

    number: int
    path: Path
    files: tuple[Path, ...]


def list_spans(root: Path) -> tuple[Span, ...]:
    """The spans below `root`, ascending and without gaps; names that start with . or _ are ignored.

    Raises:
        InputError: no such directory, no spans, a duplicate or missing number, an empty span, a stray directory.
    """
    if not root.is_dir():
        raise InputError(f"expected a directory of spans (span-0/, span-1/, ...) at {root}; there is none.")
    found: dict[int, list[str]] = {}
    stray: list[str] = []
    for entry in _visible(root):
        match = _SPAN.fullmatch(entry.name)
        if entry.is_dir() and match:
            found.setdefault(int(match.group(1)), []).append(entry.name)
        elif entry.is_dir():
            stray.append(entry.name)
    _check_names(root, found, stray)
    return tuple(_span(root, number) for number in sorted(found))


def fingerprint(root: Path) -> str:
    """Hex SHA-256 over every span file's name, size and content below `root`.

    Digests of files above 1 MiB are remembered in the cache folder by size, time stamps and inode.

    Raises:
        InputError: as `list_spans`; a file that cannot be read.
    """
    remembered = _Remembered(cache_dir() / "digests.json")
    total = hashlib.sha256()
    for span in list_spans(root):
        for file in span.files:
            try:
                line = f"{span.path.name}/{file.name} {file.stat().st_size} {remembered.digest(file)}\n"
            except OSError as error:
                raise InputError(f"cannot read {file}: {error.strerror}.") from error
            total.update(line.encode("utf-8", "surrogateescape"))
    remembered.save()
    return total.hexdigest()


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "_")))


def _check_names(root: Path, found: dict[int, list[str]], stray: list[str]) -> None:
    if stray:
        raise InputError(
            f"{root} holds the directory {stray[0]!r}, which is not span-<N> with N a whole number: rename it, "
            "or let its name start with _ to have it ignored."
        )
    if not found:
        raise InputError(
            f"{root} holds no span: expected directories span-<N>, such as {root / 'span-0'}, with records."
        )
    for number, names in sorted(found.items()):
        if len(names) > 1:
            raise InputError(f"{root} holds span {number} more than once: {', '.join(names)}. Keep or merge into one.")
        if names[0] != f"span-{number}":
            raise InputError(f"{root / names[0]}: span numbers have no leading zeros; rename it to span-{number}.")
    missing = sorted(set(range(min(found), max(found))) - set(found))
    if missing:
        raise InputError(
            f"{root} goes from span {min(found)} to span {max(found)} and lacks {', '.join(map(str, missing[:10]))}"
            f"{' ...' if len(missing) > 10 else ''}: add what is missing, or renumber so that spans follow one another."
        )


def _span(root: Path, number: int) -> Span:
    path = root / f"span-{number}"
    files = _visible(path)
    folders = [file.name for file in files if file.is_dir()]
    if folders:
        raise InputError(f"{path} holds the directory {folders[0]!r}: record files lie directly in their span.")
    if not files:
        raise InputError(
            f"{path} is empty: put the span's records there, or remove it (if it is the first or last; other spans "
            "must follow one another)."
        )
    return Span(number, path, tuple(files))


class _Remembered:
    """Digests of large files, by path and what `stat` says; lost or unwritable, it costs time only."""

    def __init__(self, store: Path) -> None:
        self._store = store
        try:
            content = json.loads(store.read_text())
        except (OSError, ValueError):
            content = {}
        self._known: dict[str, list[object]] = content if isinstance(content, dict) else {}
        self._changed = False

    def digest(self, file: Path) -> str:
        said = file.stat()
        if said.st_size < _SMALL_BYTES:
            return hashlib.sha256(file.read_bytes()).hexdigest()
        stamp = [said.st_size, said.st_mtime_ns, said.st_ctime_ns, said.st_ino]
        known = self._known.get(str(file.absolute()))
        if isinstance(known, list) and len(known) == 5 and known[:4] == stamp:
            return str(known[4])
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if time.time() - max(said.st_mtime, said.st_ctime) > _SETTLED_S:
            self._known[str(file.absolute())] = [*stamp, digest]
            self._changed = True
        return digest

    def save(self) -> None:
        if not self._changed:
            return
        temporary = self._store.with_suffix(f".{os.getpid()}.new")
        try:
            self._store.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(self._known))
            temporary.replace(self._store)
        except OSError:
            temporary.unlink(missing_ok=True)
