"""Which raw records a run is about: the task's own spans or the user's, the window over them, their digest."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data import spans as span_folders
from data.ensure import ensure
from pipeline.task import SpanWindow, Task
from serving.errors import InputError
from serving.home import home


@dataclass(frozen=True)
class ChosenSpans:
    """The spans of a run.

    Attributes:
        root: the folder of `span-<N>/`.
        window: numbers, ascending; the last is the newest.
        digest: of the records of the whole folder.
    """

    root: Path
    window: tuple[int, ...]
    digest: str


def choose(task: Task, data: str | None, until_span: int | None, window: int | None) -> ChosenSpans:
    """The spans to learn from.

    Args:
        task: its source is fetched when no folder is given.
        data: a folder of the user's own spans.
        until_span: take this span for the newest.
        window: how many of the newest spans, in place of the task's own number.

    Raises:
        InputError, data.errors.InputError: no spans, or not that one, or they are not well-formed.
    """
    if data is None and task.source is None:
        raise InputError(f"task {task.name!r} has no source of its own: give a folder of spans with --data DIR")
    root = Path(data).absolute() if data is not None else ensure(str(task.source))
    numbers = tuple(span.number for span in span_folders.list_spans(root))
    if until_span is not None:
        if until_span not in numbers:
            raise InputError(f"--until-span {until_span}: {root} has spans {numbers[0]} to {numbers[-1]}")
        numbers = tuple(number for number in numbers if number <= until_span)
    chosen = SpanWindow(latest=window).choose(numbers) if window is not None else task.window.choose(numbers)
    return ChosenSpans(root, chosen, span_folders.fingerprint(root))


@contextmanager
def only_run(task: str) -> Iterator[None]:
    """Holds this task's run lock, which the system lets go of however the process ends.

    Raises:
        InputError: another run of the task is at work, or the home folder cannot be written.
    """
    path = home() / f"run-{task}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise InputError(
            f"cannot write to {path.parent} ({error.strerror}): make it writable, or name another folder with "
            "PRESSLINE_HOME"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise InputError(
                f"another run of {task} is at work (process {owner}): wait until it has ended, or end it"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
