"""A publisher that is killed, or refused by its file system, at the k-th call that it makes of the operating system.

    python killed_publisher.py SOURCE BASE KEEP K HOW

HOW: kill (before the call), tear (write half of what was to be written, then kill; as kill for other calls),
refuse (this call and no other fails as on a full disk), count (do nothing, print the calls).
Prints the version, or `refused: ...`; exits with 0.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from serving import model_directory
from serving.errors import InputError

EFFECTS = ("mkdir", "open", "write", "fsync", "rename", "replace", "unlink", "rmdir")
calls: list[str] = []


def watched(name: str, real: Callable[..., Any], at: int, how: str) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        calls.append(f"{name} {arguments[0] if name != 'write' else ''}".strip())
        if len(calls) == at and how != "count":
            if how == "refuse":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if how == "tear" and name == "write":
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    return call


def main(source: str, base: str, keep: str, at: str, how: str) -> None:
    for name in EFFECTS:
        setattr(os, name, watched(name, getattr(os, name), int(at), how))
    try:
        print(model_directory.publish(source, base, {"pressline.json": b'{"run": "r"}'}))
        model_directory.retention(base, int(keep))
    except InputError as error:
        print(f"refused: {error}")
    if how == "count":
        print("\n".join(calls))


if __name__ == "__main__":
    main(*sys.argv[1:])
