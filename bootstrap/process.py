"""Runs the programs that the set-up needs, showing what they say while they work."""

import contextlib
import ctypes
import os
import re
import selectors
import signal
import subprocess
import time
from pathlib import Path
from typing import Dict, List, Optional

from bootstrap.errors import SetupError

SILENCE_SECONDS = 20.0
CONTINUE = "Nothing is lost: run it again to continue."


def step(text: str) -> None:
    """Says what the set-up does next."""
    print(f"set-up: {text}", flush=True)


def clean_environment() -> Dict[str, str]:
    """This process's environment without what would change how a Python or a pip below it behaves."""
    unwanted = ("PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "UV_SYSTEM_PYTHON", "UV_PYTHON")
    environment = {key: value for key, value in os.environ.items() if key not in unwanted}
    environment.update(PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0")
    environment.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_ROOT_USER_ACTION="ignore")
    return environment


def ask(command: List[str], failure: str, cwd: Optional[Path] = None, remedy: str = "") -> str:
    """Runs a command quietly and returns what it printed.

    Raises:
        SetupError: it did not start or ended with an error; the message ends with its last lines and `remedy`.
    """
    try:
        # close_fds=False: the set-up's lock is inherited on purpose, see `install.locked`.
        done = subprocess.run(
            command,
            cwd=cwd,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            close_fds=False,
            check=False,
        )
    except OSError as error:
        raise SetupError(f"{failure}: `{command[0]}` did not start: {error}. {remedy}".rstrip()) from error
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise SetupError(f"{failure}: `{command[0]}` ended with {done.returncode}:\n{last}\n{remedy}".rstrip())
    return done.stdout


def watch(
    command: List[str], failure: str, environment: Dict[str, str], hide: str = r"(?!)", cwd: Optional[Path] = None
) -> None:
    """Runs a long command and prints its lines as they come, less those that match `hide`; a sign of life when silent.

    Raises:
        SetupError: it did not start or ended with an error.
    """
    started = time.monotonic()
    hidden = re.compile(hide)
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            close_fds=False,
            preexec_fn=_end_with_the_set_up,  # noqa: PLW1509 - the set-up has one thread
        )
    except OSError as error:
        raise SetupError(f"{failure}: `{command[0]}` did not start: {error}. {CONTINUE}") from error
    with process, selectors.DefaultSelector() as selector:
        assert process.stdout is not None
        selector.register(process.stdout, selectors.EVENT_READ)
        pending = b""
        while True:
            if not selector.select(SILENCE_SECONDS):
                print(f"  still at work, {time.monotonic() - started:.0f} s", flush=True)
                continue
            # os.read, not readline: a buffered reader would hide lines from the selector.
            chunk = os.read(process.stdout.fileno(), 65536)
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines if chunk else [*lines, pending]:
                text = line.decode(errors="replace").rstrip()
                if text and not hidden.match(text):
                    print(f"  {text}", flush=True)
            if not chunk:
                break
    if process.returncode:
        name = Path(command[0]).name
        raise SetupError(f"{failure}: `{name}` ended with {process.returncode}, its words are above. {CONTINUE}")


def _end_with_the_set_up() -> None:
    """Asks the kernel to end this child when the set-up is killed, so that the next one need not wait for it."""
    pr_set_pdeathsig = 1
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
