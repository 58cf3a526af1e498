"""The folder that holds impressions and feedback: a local path, or any URL that fsspec knows (gs://, s3://, memory://).

fsspec and not tf.io.gfile, though the pipeline has that one: gfile would import TensorFlow into every gateway, half a
gigabyte and seconds of start for renaming files. Object stores need fsspec's own plug-in (gcsfs, s3fs, adlfs).
"""

import contextlib
import os
import time
from pathlib import Path
from typing import Any, BinaryIO

from serving.errors import InputError

UNFINISHED = ".unfinished"  # readers of partitioned folders leave out names with a dot
_ORPHANED_S = 3600.0


class Storage:
    """A folder that files are put into whole. Its methods may be called from any thread."""

    def __init__(self, folder: str) -> None:
        """
        Args:
            folder: neither it nor its parents need to exist.

        Raises:
            InputError: nothing here knows such URLs.
        """
        self.folder = folder
        self.local = self._fs = None
        path = _local_path(folder)
        if path is not None:
            self.local = path
            return
        import fsspec

        try:
            self._fs, self._root = fsspec.core.url_to_fs(folder)
        except Exception as error:  # whatever a plug-in raises for a URL that it does not like
            raise InputError(
                f"the folder {folder!r} is no local path and no URL that fsspec can use here: {error}. "
                "For gs:// install gcsfs, for s3:// s3fs"
            ) from error

    def write(self, path: str, content: Any) -> None:
        """Puts a file, whole or not at all; in the place of one with that name. On a local disk it is there to stay.

        Args:
            path: below the folder.
            content: a buffer of bytes.

        Raises:
            OSError: it cannot; other kinds too where the plug-in raises them.
        """
        if self.local is None:
            self._remote.pipe_file(f"{self._root}/{path}", bytes(content))
            return
        target = self.local / path
        fresh = self.local / UNFINISHED / f"{target.name}.{os.getpid()}"
        fresh.parent.mkdir(parents=True, exist_ok=True)
        try:
            with fresh.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)

    def names(self, path: str) -> list[str]:
        """What a folder below holds, sorted; empty where there is none.

        Raises:
            OSError: it cannot be listed.
        """
        try:
            if self.local is not None:
                return sorted(os.listdir(self.local / path))  # noqa: PTH208 (names alone, thousands of them)
            self._remote.invalidate_cache()  # others write there
            found = self._remote.ls(f"{self._root}/{path}", detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(str(one).rstrip("/").rpartition("/")[2] for one in found)

    def open(self, path: str) -> BinaryIO:
        """A file to read, with seek.

        Raises:
            OSError: it cannot be opened.
        """
        if self.local is not None:
            return (self.local / path).open("rb")
        opened: BinaryIO = self._remote.open(f"{self._root}/{path}", "rb")
        return opened

    def clean(self) -> None:
        """Removes what processes that were killed left unfinished more than an hour ago."""
        if self.local is None:
            return
        oldest = time.time() - _ORPHANED_S
        with contextlib.suppress(OSError):
            for path in (self.local / UNFINISHED).iterdir():
                if path.stat().st_mtime < oldest:
                    path.unlink(missing_ok=True)

    @property
    def _remote(self) -> Any:
        assert self._fs is not None
        return self._fs


def sync_folder(folder: Path) -> None:
    """Makes a folder's names outlast a loss of power.

    Raises:
        OSError: it cannot be opened or synced.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _local_path(folder: str) -> Path | None:
    """The path, where the folder is local."""
    for prefix in ("file://", "local://"):
        if folder.startswith(prefix):
            return Path(folder.removeprefix(prefix)).absolute()
    return None if "://" in folder or "::" in folder else Path(folder).absolute()
