"""The analysis beside the controller's loop: gateways and folders that are slow to answer hold up nobody."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from serving.errors import InputError
from serving.rollout.analysis import Judgement, judge
from serving.rollout.complaints import Complaints
from serving.rollout.evidence import Evidence
from serving.rollout.settings import Settings
from serving.rollout.state import Rollout

EVERY_S = 1.0
STALE_S = 15.0  # a judgement that is older says nothing: its sources may be gone, or hang
_Step = tuple[int, int]  # of a rollout


@dataclass(frozen=True)
class _Question:
    rollout: Rollout
    settings: Settings
    restarts: int
    lacking_s: float | None
    lacking: str
    asked: float


class Judging:
    """observation.Analysis in a thread of its own: judges what is asked about again and again.

    `start` runs `look` in a thread; a test calls it itself.
    """

    def __init__(
        self, evidence: Evidence, every_s: float = EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._evidence = evidence
        self._every_s = every_s
        self._clock = clock
        self._complaints = Complaints()
        self._lock = threading.Lock()
        self._questions: dict[_Step, _Question] = {}
        self._found: dict[_Step, tuple[Judgement, float]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="analysis", daemon=True)

    def judgement(
        self, rollout: Rollout, settings: Settings, restarts: int, lacking_s: float | None, lacking: str
    ) -> Judgement | None:
        """The newest of the rollout's step; None: none yet, or it is too old. Returns at once."""
        step, now = (rollout.id, rollout.step), self._clock()
        with self._lock:
            self._questions[step] = _Question(rollout, settings, restarts, lacking_s, lacking, now)
            found, since = self._found.get(step, (None, now))
        return found if now - since <= STALE_S else None

    def look(self) -> None:
        """Judges every step that was asked about lately, once."""
        now = self._clock()
        with self._lock:
            self._questions = {step: one for step, one in self._questions.items() if now - one.asked <= STALE_S}
            self._found = {step: one for step, one in self._found.items() if step in self._questions}
            questions = list(self._questions.items())
        for step, one in questions:
            try:
                window = self._evidence.window(
                    one.rollout, one.settings.outcome, one.restarts, one.lacking_s, one.lacking
                )
                found = judge(one.settings, one.rollout.step, window)
                self._complaints.over(f"analysis of {one.rollout.model}")
            except InputError as error:  # the database is away: the controller says so too
                self._complaints.say(f"analysis of {one.rollout.model}", error)
                continue
            with self._lock:
                self._found[step] = found, self._clock()

    def start(self) -> None:
        """Starts its thread."""
        self._thread.start()

    def close(self) -> None:
        """Ends it and the evidence; one that hangs is left behind after a few seconds."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(2 * self._every_s)
        self._evidence.close()

    def _loop(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self.look()
                self._complaints.over("analysis")
            except Exception as error:  # a defect of ours ends no rollout: without a judgement it is inconclusive
                self._complaints.say("analysis", repr(error), defect=True)
