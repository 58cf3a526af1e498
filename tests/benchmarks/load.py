"""Loads a server from another core and says what came of it."""

import base64
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.benchmarks.load_program import NEVER, Spec
from tests.benchmarks.places import PROJECT, on_core

LOAD_CORE = 1
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Endpoint:
    """Where a server answers one kind of request.

    Attributes:
        port: on this machine.
        grpc: else REST.
        path: of the POST, or /package.Service/Method.
        bodies: a pickled list of request bodies.
        keys: different users that the requests come from; 0 for none.
    """

    port: int
    grpc: bool
    path: str
    bodies: Path
    keys: int = 0


@dataclass(frozen=True)
class Window:
    """What came of some seconds of load.

    Attributes:
        rate: requests due a second; 0 in a closed loop.
        seconds: how long requests became due, warm-up not counted.
        due: requests that became due in them.
        answered_per_s: good answers a second.
        failed: other answers, and lost connections.
        unanswered: never answered in the time given; they count with what they had waited until then.
        p50_ms, p99_ms: from when a request was due to its answer; NaN where there was none.
        generator_busy: share of its core that the generator was at work; above 0.9 it may be what limits.
        first_complaint: about the first that failed.
    """

    rate: float
    seconds: float
    due: int
    answered_per_s: float
    failed: int
    unanswered: int
    p50_ms: float
    p99_ms: float
    generator_busy: float
    first_complaint: str


@dataclass(frozen=True)
class Loaded:
    """A window, its requests one by one, and one answer.

    Attributes:
        window: the figures.
        began_s: when the load began, by `time.perf_counter()`, which all processes share on Linux.
        due_s: [due] when each request was due, seconds since the load began, warm-up included.
        took_ms: [due] what it took.
        good: [due] answered, and well.
        answered: good answers in all, warm-up included.
        sample_body: the number of the body whose answer `sample_answer` is.
        sample_answer: empty where there was no good one.
    """

    window: Window
    began_s: float
    due_s: npt.NDArray[np.float64]
    took_ms: npt.NDArray[np.float64]
    good: npt.NDArray[np.bool_]
    answered: int
    sample_body: int
    sample_answer: bytes


def load(endpoint: Endpoint, rate: float, seconds: float, warm_s: float = 0.5, concurrency: int = 32) -> Loaded:
    """Loads an endpoint from LOAD_CORE.

    Args:
        endpoint: what to ask.
        rate: requests a second, evenly spaced, whatever the answers do; 0 for `concurrency` requests at a time.
        seconds: that count.
        warm_s: before them, at the same rate, not counted.
        concurrency: requests under way at most; what is due beyond them waits in the generator and its time counts.

    Raises:
        subprocess.CalledProcessError: the generator failed, as when nobody listens.
    """
    with start(endpoint, rate, seconds + warm_s, concurrency) as running:
        return running.result(warm_s)


class Running:
    """A generator at work; leaving the context ends it."""

    def __init__(self, spec: Spec, folder: tempfile.TemporaryDirectory[str]) -> None:
        self._spec, self._folder = spec, folder
        command = [*on_core(LOAD_CORE), sys.executable, "-m", "tests.benchmarks.load_program", json.dumps(asdict(spec))]
        self._process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, start_new_session=True)

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def result(self, warm_s: float) -> Loaded:
        """Waits for its end; requests due in the first `warm_s` are left out.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        said, _ = self._process.communicate(timeout=self._spec.seconds + 60)
        if self._process.returncode:
            raise subprocess.CalledProcessError(self._process.returncode, "load_program")
        records = np.fromfile(self._spec.records, np.int64).reshape(3, -1)
        return _loaded(self._spec, records, json.loads(said), warm_s)


def start(endpoint: Endpoint, rate: float, seconds: float, concurrency: int, grace_s: float = 1.0) -> Running:
    """The same as `load`, without waiting for the end. What has no answer `grace_s` after it stays unanswered."""
    folder = tempfile.TemporaryDirectory(prefix="pressline-load-")
    connections = 4 if endpoint.grpc else concurrency
    spec = Spec(
        host=HOST,
        port=endpoint.port,
        grpc=endpoint.grpc,
        path=endpoint.path,
        bodies=str(endpoint.bodies),
        connections=connections,
        streams=max(1, concurrency // connections),
        rate=rate,
        seconds=seconds,
        grace_s=grace_s,
        records=str(Path(folder.name) / "records"),
        keys=endpoint.keys,
    )
    return Running(spec, folder)


def percentile_ms(took_ms: npt.NDArray[np.float64], share: float) -> float:
    """The least time that `share` percent of the requests were answered in; NaN of none."""
    return float(np.percentile(took_ms, share, method="higher")) if took_ms.size else float("nan")


def _loaded(spec: Spec, records: npt.NDArray[np.int64], said: dict[str, Any], warm_s: float) -> Loaded:
    due, took, good = records[:, records[0] >= warm_s * 1e9]
    unanswered = took == NEVER
    took_ms = np.where(unanswered, (spec.seconds + spec.grace_s) * 1e9 - due, took) / 1e6
    # Answers that came in the seconds that count, whenever their requests were due: in a closed loop both are the same
    # but for the edges, in an open loop beyond its knee they are what the server can do.
    every_end = records[0] + records[1]
    in_time = (every_end >= warm_s * 1e9) & (every_end <= spec.seconds * 1e9) & (records[2] == 1)
    seconds = spec.seconds - warm_s
    window = Window(
        rate=spec.rate,
        seconds=seconds,
        due=len(due),
        answered_per_s=float(in_time.sum() / seconds),
        failed=int((~unanswered & (good == 0)).sum()),
        unanswered=int(unanswered.sum()),
        p50_ms=percentile_ms(took_ms, 50),
        p99_ms=percentile_ms(took_ms, 99),
        generator_busy=said["busy"],
        first_complaint=said["first_complaint"],
    )
    answer = base64.b64decode(said["sample_answer"])
    answered = int(records[2].sum())
    return Loaded(window, said["began_s"], due / 1e9, took_ms, good.astype(bool), answered, said["sample_body"], answer)
