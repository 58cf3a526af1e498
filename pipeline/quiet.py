"""Keeps the words of native libraries off the screen: TensorFlow's C++ writes to file descriptor 2, past Python."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def native_words_to(log: Path) -> Iterator[None]:
    """Within it file descriptor 2, children's too, is appended to `log`; `sys.stderr` still reaches the screen."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    screen = os.dup(2)
    before = sys.stderr
    try:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 2)
        with os.fdopen(os.dup(screen), "w", buffering=1) as python_words:
            sys.stderr = python_words
            yield
    finally:
        sys.stderr = before
        os.dup2(screen, 2)
        os.close(screen)
