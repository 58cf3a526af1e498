"""The same swap as a rollout: a new version becomes the canary of half the users under constant load, and is aborted.

The model server has one core; the gateway and the controller share the other with the load generator.
"""

import http.client
import pickle
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import load
from tests.benchmarks.dialects import TF_REST
from tests.benchmarks.fronts import MODEL, Ports
from tests.benchmarks.load import LOAD_CORE, Endpoint, percentile_ms
from tests.benchmarks.places import PROJECT, free_ports
from tests.benchmarks.programs import QUIET
from tests.benchmarks.server_process import Server
from tests.benchmarks.serving_models import Prepared

if TYPE_CHECKING:
    from serving.rollout.store import Store

USERS = [f"user-{number}" for number in range(200)]
KEYS = 997
OPEN_LOOP, GRACE_S, WARM_S = 128, 10.0, 1.0
START_S = 90.0
POLL_S = 0.02
SETTINGS = """\
settle_s = 0.5
drain_s = 1
steps = [{share = 0.5, least_s = 3600, most_s = 7200}]
"""


@dataclass(frozen=True)
class RolledBack:
    """One run.

    Attributes:
        rate: requests a second.
        failed: refused, answered wrong, or never answered.
        steady_p99_ms: outside the windows after the two changes.
        canary_p99_ms, rollback_p99_ms: in them.
        canary_s: from asking for the rollout until the first user meets the canary.
        rollback_s: from asking for the abort until no user meets it any more.
        unloaded_s: until it is gone from the model server.
        changed: users who met both variants while the canary's share stood still.
        complaint: about the first request that failed.
    """

    rate: float
    failed: int
    steady_p99_ms: float
    canary_p99_ms: float
    rollback_p99_ms: float
    canary_s: float
    rollback_s: float
    unloaded_s: float
    changed: int
    complaint: str

    @property
    def worst_ratio(self) -> float:
        """The larger of the windows' p99, over the steady p99."""
        return max(self.canary_p99_ms, self.rollback_p99_ms) / self.steady_p99_ms


@dataclass(frozen=True)
class Stage:
    """What runs.

    Attributes:
        gateway: its REST port.
        store: of the rollouts.
        base: the model's base path.
        body: of a request.
    """

    gateway: int
    store: "Store"
    base: Path
    body: bytes

    def variant(self, user: str) -> str:
        """Which a user meets now."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway, timeout=10)
        try:
            connection.request("POST", f"/v1/models/{MODEL}:predict", self.body, {"x-user-id": user})
            answer = connection.getresponse()
            answer.read()
            return answer.getheader("x-pressline-variant") or f"HTTP {answer.status}"
        finally:
            connection.close()


def measure(folder: Path, prepared: Prepared, rate: float, seconds: float, window_s: float) -> RolledBack:
    """One run with servers of its own.

    Args:
        rate: requests a second; 0 for a quarter of what the gateway answers in a closed loop.
        seconds: of load; the new version comes at a third and is aborted at two thirds.
    """
    home = Path(tempfile.mkdtemp(dir=folder))
    bodies = [TF_REST.body(MODEL, one) for one in prepared.work[MODEL].inputs]
    with _stage(home, prepared.models[MODEL], bodies[0]) as stage:
        file = home / "bodies"
        file.write_bytes(pickle.dumps(bodies))
        endpoint = Endpoint(stage.gateway, False, TF_REST.path.format(model=MODEL), file, KEYS)
        rate = rate or load.load(endpoint, 0, 2.0, WARM_S, 64).window.answered_per_s / 4
        begin = time.perf_counter()
        with load.start(endpoint, rate, seconds, OPEN_LOOP, GRACE_S) as running:
            _sleep_until(begin + seconds / 3)
            (home / "staged").rename(stage.base / "2")
            came_at = time.perf_counter()
            stage.store.submit(MODEL, 2, "bench")
            canary_s = _seconds_until(lambda: any(stage.variant(user) == "canary" for user in USERS[:20]), came_at)
            changed = _changed(stage, begin + seconds * 2 / 3)
            left_at = time.perf_counter()
            stage.store.ask(MODEL, "abort", "bench")
            met = [user for user in USERS[:40] if stage.variant(user) == "canary"]
            rollback_s = _seconds_until(lambda: all(stage.variant(user) == "stable" for user in met), left_at)
            unloaded_s = _seconds_until(lambda: not stage.store.rollouts(MODEL, live=True), left_at)
            loaded = running.result(WARM_S)
    due = loaded.due_s + loaded.began_s
    came = (due >= came_at) & (due < came_at + window_s)
    left = (due >= left_at) & (due < left_at + window_s)
    return RolledBack(
        rate=rate,
        failed=int((~loaded.good).sum()),
        steady_p99_ms=percentile_ms(loaded.took_ms[~came & ~left], 99),
        canary_p99_ms=percentile_ms(loaded.took_ms[came], 99),
        rollback_p99_ms=percentile_ms(loaded.took_ms[left], 99),
        canary_s=canary_s,
        rollback_s=rollback_s,
        unloaded_s=unloaded_s,
        changed=changed,
        complaint=loaded.window.first_complaint,
    )


def _changed(stage: Stage, until: float) -> int:
    """Users who met both variants until then, each asked at least twice."""
    met: dict[str, set[str]] = {user: set() for user in USERS}
    while True:
        for user in USERS:
            met[user].add(stage.variant(user))
        if time.perf_counter() > until:
            return sum(len(variants) > 1 for variants in met.values())


@contextmanager
def _stage(home: Path, version: Path, body: bytes) -> Iterator[Stage]:
    from serving.rollout.store import open_store

    base = home / "models" / MODEL
    shutil.copytree(version, base / "1")
    shutil.copytree(version, home / "staged")
    ports, gateway, status = Ports(*free_ports(2)), *free_ports(2)
    (home / "serving").mkdir()
    config = home / "serving" / "models.config"
    about = f'name: "{MODEL}" base_path: "{base}" model_platform: "tensorflow"'
    config.write_text(f"model_config_list {{ config {{ {about} }} }}")
    (home / "rollout.toml").write_text(SETTINGS)
    environment = {**QUIET, "PRESSLINE_HOME": str(home), "PRESSLINE_LEDGER_URL": ""}

    def program(module: str, core: int, *flags: str) -> Server:
        command = [sys.executable, "-m", module, *flags]
        return Server(command, environment, PROJECT, home / f"{module}.log", core)

    with ExitStack() as running:
        running.enter_context(
            program(
                "serving.model_server",
                0,
                *(f"--port={ports.grpc}", f"--rest_api_port={ports.rest}", f"--model_config_file={config}"),
                "--allow_version_labels_for_unavailable_models=true",
            )
        )
        upstream = (f"--rest-upstream=http://127.0.0.1:{ports.rest}", f"--grpc-upstream=127.0.0.1:{ports.grpc}")
        own = (f"--rest-port={gateway}", "--grpc-port=0")
        running.enter_context(program("serving.gateway", LOAD_CORE, *own, *upstream))
        running.enter_context(
            program(
                "serving.rollout",
                LOAD_CORE,
                *("run", f"--port={status}", f"--settings={home / 'rollout.toml'}"),
                *(f"--replica=127.0.0.1:{ports.grpc}", f"--gateway=http://127.0.0.1:{gateway}"),
            )
        )
        store = open_store(f"sqlite:///{home / 'ledger.sqlite'}")
        store.submit(MODEL, 1, "bench")
        stage = Stage(gateway, store, base, body)
        _seconds_until(lambda: _answers(stage) == "stable", time.perf_counter())
        yield stage


def _answers(stage: Stage) -> str:
    try:
        return stage.variant(USERS[0])
    except (OSError, http.client.HTTPException):
        return ""


def _seconds_until(true: Callable[[], bool], since: float) -> float:
    """Seconds from `since`; TimeoutError after START_S."""
    while not true():
        if time.perf_counter() - since > START_S:
            raise TimeoutError(f"it did not come within {START_S:.0f} s")
        time.sleep(POLL_S)
    return time.perf_counter() - since


def _sleep_until(when: float) -> None:
    time.sleep(max(0.0, when - time.perf_counter()))
