"""Takes feedback, and kills itself at one point.

    python -m tests.serving.impressions.killed_gateway FOLDER POINT REQUESTS

Prints the id of each record once its client would have been told that it is accepted.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.impressions import journal, rolling, storage
from serving.impressions.feedback import Feedback, FeedbackSettings
from tests.serving.impressions.making import post

TAKEN = 5  # requests


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(kind: Any, name: str, at: int = 1) -> None:
    """Dies when this is called for the nth time, before it does anything."""
    real: Callable[..., Any] = getattr(kind, name)
    calls = 0

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            die()
        return real(*arguments, **named)

    setattr(kind, name, counted)


def torn(descriptor: int, lines: Any) -> int:
    """Half of the last request is written, then the process dies."""
    if bytes(lines).count(f"-{TAKEN - 1}".encode()):
        os.writev(descriptor, [bytes(lines)[: len(lines) // 2]])
        die()
    return os.writev(descriptor, [lines])


WHILE_TAKING: dict[str, Callable[[], None]] = {
    "in the middle of a line": lambda: setattr(os, "write", torn),
    "before the sync": lambda: before(os, "fdatasync", TAKEN),
}
WHILE_ROLLING: dict[str, Callable[[], None]] = {
    "before the roll": lambda: before(rolling, "_by_hour"),
    "before Parquet is written": lambda: before(storage.Storage, "write"),
    "before Parquet has its name": lambda: before(Path, "replace"),
    "after Parquet has its name": lambda: before(storage, "sync_folder"),
    "before the segment is removed": lambda: before(journal.Segment, "remove"),
    "after the segment is removed": lambda: before(journal, "sync_folder"),
}


async def take(folder: str, point: str, taken: int) -> None:
    """Without requests it dies while it recovers what others left."""
    feedback = Feedback(FeedbackSettings(folder, flush_s=1e6), "killed")
    if point in WHILE_TAKING:
        WHILE_TAKING[point]()
    elif not taken:
        WHILE_ROLLING[point]()
    feedback.start()
    for number in range(taken):
        request_id = f"{os.getpid()}-{number}"
        both = [{"request_id": request_id, "value": number, "row": row} for row in (0, 1)]
        response = await feedback.answer(post(both))
        if response.status == 200:
            print(request_id, flush=True)
    if taken:
        WHILE_ROLLING[point]()
    feedback.close(60)


if __name__ == "__main__":
    asyncio.run(take(sys.argv[1], sys.argv[2], int(sys.argv[3])))
