"""TF Serving's directory of one model: integer version directories that appear and disappear by rename, whole.

Only for file systems that the host mounts (a disk, NFS, a volume of Kubernetes): they rename a directory in one step.
Object stores (`gs://`, `s3://` and other tf.io.gfile paths) copy file by file instead, so a server could load half a
version; such a directory is refused. Mount it, or let a later step copy from here.

Beside the versions stands `.pressline/`, which TF Serving ignores (as it does every name that is not a number): the
lock that writers take turns on, and the newest version number that was ever given, so that no number comes twice.
"""

import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from serving.errors import InputError

EXTRAS = "assets.extra"
LINEAGE = "pressline.json"
_RECORD = ".pressline"
_NEWEST = "newest_version"
_UNFINISHED = re.compile(r"\.(incoming|removing)-.*")
_CHUNK_BYTES = 1 << 20
_LARGEST = 2**63 - 1  # of TF Serving's version numbers


def local_directory(base: str | os.PathLike[str]) -> Path:
    """`base` as a local path. Raises InputError for the path of an object store (see above)."""
    text = os.fspath(base)
    if "://" in text:
        raise InputError(
            f"the model directory {text} is not on a mounted file system, where a version can appear in one step: "
            "give a local or mounted path"
        )
    return Path(text).absolute()


def versions(base: str | os.PathLike[str]) -> tuple[int, ...]:
    """The version directories that a server sees, ascending; empty where there is no directory yet."""
    return tuple(sorted(_numbers(local_directory(base), directories_only=True)))


def version_path(base: str | os.PathLike[str], version: int) -> Path:
    """The directory of a version that `versions` names (its name may have leading zeros)."""
    directory = local_directory(base)
    found = _numbers(directory, directories_only=True).get(version)
    if found is None:
        raise InputError(f"{directory} has no version {version}; it has {list(versions(directory)) or 'none'}")
    return directory / found


def lineage(base: str | os.PathLike[str], version: int) -> dict[str, Any] | None:
    """Where a version comes from, as its pusher wrote it; None where it came without that (pushed by other means)."""
    return lineage_of(version_path(base, version))


def lineage_of(directory: Path) -> dict[str, Any] | None:
    """As `lineage`, of the directory of a version."""
    try:
        content = json.loads((directory / EXTRAS / LINEAGE).read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def next_version(base: str | os.PathLike[str]) -> int:
    """The newest version there ever was plus one; 1 for a new directory. Another publisher may take it first."""
    directory = local_directory(base)
    return max(_newest_recorded(directory), *_numbers(directory), 0) + 1


def publish(source: str | os.PathLike[str], base: str | os.PathLike[str], extras: Mapping[str, bytes]) -> int:
    """Copy a SavedModel into `base` as its next version and return the version.

    The version appears complete or not at all, whatever is killed when: it is copied to a name that servers ignore,
    flushed to the disk and renamed. Publishers of one directory take turns. What killed ones left behind is removed. A
    publisher that is killed after it took a number and before its version appeared leaves a gap in the numbers.

    Args:
        source: directory of a SavedModel; symbolic links in it are followed.
        extras: file name -> content, for `assets.extra/`; replaces files of the same name in the source.

    Raises:
        InputError: the source is no SavedModel, or the directory cannot be written (full, read-only, not local); the
            versions are as before.
    """
    return publish_unless(source, base, extras, lambda _: False)[0]


def publish_unless(
    source: str | os.PathLike[str],
    base: str | os.PathLike[str],
    extras: Mapping[str, bytes],
    is_it: Callable[[Path], bool],
) -> tuple[int, bool]:
    """As `publish`, unless the newest version is it already. Returns (version, whether it is new).

    Args:
        is_it: asked, while no other publisher can write, with the directory of the newest version, where there is one.
    """
    model, directory = Path(source).absolute(), local_directory(base)
    if not any((model / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        raise InputError(f"{model} is not a SavedModel: expected a file saved_model.pb in it. Give the exported model")
    for name in extras:
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise InputError(f"an extra file of a version has a plain file name; got {name!r}")
    try:
        with _locked(directory):
            seen = versions(directory)
            if seen and is_it(version_path(directory, seen[-1])):
                return seen[-1], False
            return _write_version(model, directory, extras), True
    except OSError as error:
        raise InputError(_trouble(f"{model} was not published", directory, error)) from error


def retention(base: str | os.PathLike[str], keep: int, protected: Collection[int] = ()) -> tuple[int, ...]:
    """Remove old versions, oldest first, and return the removed ones, ascending.

    Never removed: the newest `keep` (at least 1), and those in `protected` (what a label points to).

    Raises:
        InputError: the directory cannot be written; versions not yet removed are whole.
    """
    if keep < 1:
        raise ValueError(f"retention keeps at least 1 version; got {keep}")
    directory = local_directory(base)
    old = versions(directory)[:-keep]
    if not set(old) - set(protected):
        return ()
    removed = []
    try:
        with _locked(directory):
            _record_newest(directory, next_version(directory) - 1)
            for version in (number for number in versions(directory)[:-keep] if number not in protected):
                aside = directory / f".removing-{version}-{secrets.token_hex(4)}"
                version_path(directory, version).rename(aside)
                _flush_directory(directory)
                removed.append(version)
                shutil.rmtree(aside)
    except OSError as error:
        raise InputError(_trouble(f"old versions were not all removed (only {removed})", directory, error)) from error
    return tuple(removed)


def _write_version(model: Path, directory: Path, extras: Mapping[str, bytes]) -> int:
    version = next_version(directory)
    if version > _LARGEST:
        raise InputError(f"{directory} holds version {_LARGEST}, the largest there is: move it away")
    incoming, final = directory / f".incoming-{version}-{secrets.token_hex(4)}", directory / str(version)
    try:
        _copy_tree(model, incoming, without={Path(EXTRAS, name) for name in extras})
        if extras:
            if not (incoming / EXTRAS).is_dir():
                (incoming / EXTRAS).mkdir()
            for name, content in extras.items():
                _write_file(incoming / EXTRAS / name, [content])
            _flush_directory(incoming / EXTRAS)
            _flush_directory(incoming)
        _record_newest(directory, version)
        incoming.rename(final)
        _flush_directory(directory)
    except BaseException:
        if final.exists():  # renamed and then not flushed: whether it would survive a power cut is unknown
            final.rename(incoming)
        shutil.rmtree(incoming, ignore_errors=True)
        raise
    return version


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the directory's lock, made where it is missing; the kernel frees the lock of a killed process."""
    record = directory / _RECORD
    if not record.is_dir():
        record.mkdir(parents=True, exist_ok=True)
        _flush_directory(directory)
        _flush_directory(directory.parent)
    lock = os.open(record / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path in list(directory.iterdir()):
            if _UNFINISHED.fullmatch(path.name):  # nobody else is at work here: the killed left it
                shutil.rmtree(path)
        yield
    finally:
        os.close(lock)


def _numbers(directory: Path, directories_only: bool = False) -> dict[int, str]:
    """Number -> name of what TF Serving takes for a version; files with such a name are none, but use up the number."""
    try:
        with os.scandir(directory) as entries:
            found = [entry for entry in entries if re.fullmatch(r"[0-9]+", entry.name)]
            return {int(entry.name): entry.name for entry in found if not directories_only or entry.is_dir()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(_trouble("its versions cannot be listed", directory, error)) from error


def _newest_recorded(directory: Path) -> int:
    path = directory / _RECORD / _NEWEST
    try:
        return int(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except ValueError as error:
        raise InputError(
            f"{path} should hold the newest version number ever given, and it does not ({error}): "
            "write the newest number that a server has seen into it"
        ) from error
    except OSError as error:
        raise InputError(_trouble(f"{path} cannot be read", directory, error)) from error


def _record_newest(directory: Path, version: int) -> None:
    if _newest_recorded(directory) >= version:
        return
    path = directory / _RECORD / _NEWEST
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    _write_file(beside, [str(version).encode()])
    beside.replace(path)
    _flush_directory(path.parent)


def _copy_tree(source: Path, target: Path, without: set[Path], inside: Path = Path()) -> None:
    """Copy and flush a directory, but for the paths in `without`; readable by whom the umask lets read."""
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path.is_dir():
            _copy_tree(path, target / path.name, without, inside / path.name)
        elif inside / path.name not in without:
            with path.open("rb") as stream:
                _write_file(target / path.name, iter(partial(stream.read, _CHUNK_BYTES), b""))
    _flush_directory(target)


def _write_file(path: Path, chunks: Iterator[bytes] | list[bytes]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _trouble(what: str, directory: Path, error: OSError) -> str:
    about = f" ({error.filename})" if error.filename and str(error.filename) != str(directory) else ""
    return f"{what}: {error.strerror or error}{about}. Model directory: {directory}; it must be writable and have room"
