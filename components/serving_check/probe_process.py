"""Runs `serving.probe` in a process of its own, so that a model that crashes, hangs or leaks takes nobody with it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from serving.home import PROJECT
from serving.probe.request import Request, encode

PROBE = (sys.executable, "-m", "serving.probe")
_LAST_WORDS = 20  # lines


class ProbeError(Exception):
    """The probe crashed, hung or could not ask the model; the message holds its last words."""


def probe(model_dir: str, request: Request, timeout_s: float, command: tuple[str, ...] = PROBE) -> dict[str, Any]:
    """What `serving.probe.measure` returns, from a fresh process.

    Raises:
        ProbeError: it did not answer within `timeout_s` (it is killed then), or not at all.
    """
    with tempfile.TemporaryDirectory(prefix="pressline-probe-") as folder:
        asked = Path(folder) / "request.json"
        asked.write_text(encode(request))
        process = subprocess.Popen(
            [*command, model_dir, str(asked)],
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # so that its children end with it
        )
        try:
            out, words = process.communicate(timeout=timeout_s)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            _, words = process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise ProbeError(f"no answer within {timeout_s:g} s; {_last(words)}") from None
            raise
    if process.returncode != 0:
        raise ProbeError(f"the fresh process {_ending(process.returncode)}; {_last(words)}")
    try:
        answer: dict[str, Any] = json.loads(out.splitlines()[-1])
    except (IndexError, ValueError):
        raise ProbeError(f"the fresh process ended well and answered {out[-200:]!r}; {_last(words)}") from None
    return answer


def _environment() -> dict[str, str]:
    """This process's, with the project importable and without taking a whole GPU beside the process that trained."""
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    return {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "TF_CPP_MIN_LOG_LEVEL": "2", **os.environ, "PYTHONPATH": path}


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _last(words: str) -> str:
    lines = [line for line in words.splitlines() if line.strip()][-_LAST_WORDS:]
    return "its last words: " + "\n".join(lines) if lines else "it said nothing"
