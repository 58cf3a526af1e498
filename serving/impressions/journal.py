"""The journal of feedback: what was acknowledged is on this disk until it is in the folder.

A journal is a local folder of segments, text files of one line for each request. Each process has its own, and holds a
lock (flock) on them as long as it lives: a segment that can be locked belongs to a process that is dead, and whoever
locks it first takes it over. So a gateway that was killed is recovered by its next start, or by any other gateway with
the same journal. In a container the journal must be on a volume that outlives it.
"""

import contextlib
import errno
import fcntl
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from serving.impressions.storage import sync_folder

SUFFIX = ".jsonl"


@dataclass
class Segment:
    """One file of the journal, locked.

    Attributes:
        path: its name without the suffix is the name of what is made of it.
        descriptor: open; closing it gives up the lock.
        size: bytes that count; those behind them, if any, were half written.
    """

    path: Path
    descriptor: int
    size: int = 0

    def read(self) -> bytes:
        """All that counts.

        Raises:
            OSError: it cannot be read.
        """
        pieces, at = [], 0
        while at < self.size and (piece := os.pread(self.descriptor, self.size - at, at)):
            pieces.append(piece)
            at += len(piece)
        return b"".join(pieces)

    def release(self) -> None:
        """Gives up the lock; the file stays for whoever comes next."""
        os.close(self.descriptor)

    def remove(self) -> None:
        """Removes the file, then gives up the lock: in this order, so that nobody takes over what is done.

        Raises:
            OSError: it cannot be removed; it is still locked.
        """
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
            sync_folder(self.path.parent)
        self.release()


def lock(path: Path) -> Segment | None:
    """Locks a segment; None where another process holds it, or it is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    return _locked(path, descriptor)


def _locked(path: Path, descriptor: int) -> Segment | None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = os.fstat(descriptor)
        # Between opening and locking, whoever had the lock before may have removed the file.
        if os.path.samestat(held, path.stat()):
            return Segment(path, descriptor, held.st_size)
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


class Journal:
    """The segments of this process. Its methods may be called from any thread."""

    def __init__(self, folder: Path, start: str, most_bytes: int) -> None:
        """
        Args:
            folder: is made when something is to be written.
            start: begins the names of segments; no other process has it.
            most_bytes: of the segment that is written to; then it is full until it is rotated.
        """
        self._folder = folder
        self._start = start
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._current: Segment | None = None
        self._ended: list[Segment] = []
        self._made = 0

    def append(self, lines: bytes) -> None:
        """Writes whole lines and waits until they are on disk; all of them or, as far as readers know, none.

        Raises:
            OSError: they are not; ENOSPC also where the segment is full.
        """
        with self._lock:
            segment = self._current or self._made_segment()
            if segment.size + len(lines) > self._most_bytes:
                raise OSError(errno.ENOSPC, "the journal is full: what it holds cannot be written to the folder")
            try:
                _write(segment, lines)
                os.fdatasync(segment.descriptor)
            except OSError:
                self._mend(segment)
                raise
            segment.size += len(lines)

    def rotate(self) -> list[Segment]:
        """The segments that hold something, which nothing will be written to any more."""
        with self._lock:
            segments, self._ended = self._ended, []
            if self._current is not None and self._current.size:
                segments.append(self._current)
                self._current = None
            return segments

    def abandoned(self) -> list[Segment]:
        """Locks the segments of processes that are dead, oldest first; empty ones are removed.

        Raises:
            OSError: the folder cannot be read.
        """
        found = []
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            if path.name.startswith(f"{self._start}-") or (segment := lock(path)) is None:
                continue
            if segment.size:
                found.append(segment)
            else:
                segment.remove()
        return found

    def close(self) -> None:
        """Gives up what it holds; what is not empty is for the next process."""
        with self._lock:
            segments, self._ended = self._ended, []
            if self._current is not None:
                segments.append(self._current)
                self._current = None
        for segment in segments:
            if segment.size:
                segment.release()
            else:
                with contextlib.suppress(OSError):
                    segment.remove()

    def _made_segment(self) -> Segment:
        self._folder.mkdir(parents=True, exist_ok=True)
        while self._current is None:
            self._made += 1
            path = self._folder / f"{self._start}-{self._made}{SUFFIX}"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            # None where another process, which looks for abandoned ones, was quicker to lock this one.
            self._current = _locked(path, descriptor)
        sync_folder(self._folder)
        return self._current

    def _mend(self, segment: Segment) -> None:
        """Cuts off what was half written, so that the next line begins a line; else goes on in another segment."""
        try:
            os.ftruncate(segment.descriptor, segment.size)
            os.lseek(segment.descriptor, segment.size, os.SEEK_SET)
            os.fdatasync(segment.descriptor)
        except OSError:
            self._ended.append(segment)
            self._current = None


def _write(segment: Segment, lines: bytes) -> None:
    rest = memoryview(lines)
    while rest:
        rest = rest[os.write(segment.descriptor, rest) :]
