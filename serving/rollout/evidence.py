"""Where the analysis gets its numbers: gateways' tallies over HTTP, users' outcomes from the log of impressions.

A gateway's tallies are cumulative, and the newest of each instance are kept in the store, so that a gateway or a
controller that is started anew loses what came since the last poll at most.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from serving.errors import InputError
from serving.rollout.analysis import Window
from serving.rollout.background import begin
from serving.rollout.gateways import LIMIT_S, Asked, Gateways, Tls
from serving.rollout.settings import OutcomeMetric
from serving.rollout.state import Rollout
from serving.tallies import Tally, TallyKey, add, from_json, to_json
from serving.traffic_plan import CANARY, STABLE

if TYPE_CHECKING:
    from serving.impressions.join import Joined, Outcomes

log = logging.getLogger(__name__)

POLL_S = 0.25  # several rollouts' windows in a row share a round
KEEP_S = 2.0  # between writes to the store
IDLE_S = 60.0  # a rollout that nobody has asked about for so long is forgotten
REST = 3.0  # times as long as reading the log took, it is left alone
_Kept = dict[str, dict[TallyKey, Tally]]


class TallyStore(Protocol):
    """What is needed of store.Store."""

    def keep_tallies(self, rollout: int, newest: Mapping[str, str]) -> bool:
        """Keeps them until the rollout ends. InputError: the database is away."""
        ...

    def tallies(self, rollout: int) -> dict[str, str]:
        """What was kept. InputError: the database is away."""
        ...


class Evidence:
    """Reads what gateways counted and what users did. For one thread at a time."""

    def __init__(
        self,
        gateways: Sequence[str],
        impressions: str | None,
        store: TallyStore,
        lag_s: float = 15.0,
        tls: Tls | None = None,
        limit_s: float = LIMIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            gateways: base URLs; see Gateways.
            impressions: the folder (or fsspec URL) of impressions and feedback; None: outcomes are not read.
            store: keeps tallies.
            lag_s: how long gateways may take to write impressions: their flush_s and a little more.
            tls: of gateways over https.
            limit_s: how long each source may take.

        Raises:
            InputError: not the URL of a gateway.
        """
        self._gateways = Gateways(gateways, tls, limit_s)
        self._asked, self._asked_at = Asked({}, 0, ()), -POLL_S
        self._impressions, self._lag_s, self._limit_s, self._clock = impressions, lag_s, limit_s, clock
        self._store = store
        self._sources: dict[int, _Sources] = {}

    def window(
        self,
        rollout: Rollout,
        outcome: OutcomeMetric | None,
        restarts: int = 0,
        lacking_s: float | None = None,
        lacking: str = "",
    ) -> Window:
        """What is known of the rollout's step now; never raises. A source that hangs is waited for `limit_s` or twice.

        Args:
            outcome: whose feedback is read; None: users alone are counted.
            restarts, lacking_s, lacking: what the controller knows, passed on.
        """
        now = self._clock()
        if now - self._asked_at >= POLL_S:
            self._asked, self._asked_at = self._gateways.ask(), self._clock()
        self._sources = {one: of for one, of in self._sources.items() if now - of.used <= IDLE_S}
        of = self._sources.setdefault(rollout.id, _Sources(_Counted(rollout, self._store, self._clock)))
        of.used = now
        of.counted.take(self._asked)
        outcomes, gap = self._outcomes(of, rollout, outcome)
        return Window(
            stable=of.counted.total(rollout.step, STABLE),
            canary=of.counted.total(rollout.step, CANARY),
            outcomes=outcomes,
            elapsed_s=rollout.elapsed_s,
            restarts=restarts,
            lacking_s=lacking_s,
            lacking=lacking,
            gateways=self._asked.answered,
            gaps=(*self._asked.gaps, *([gap] if gap else [])),
        )

    def close(self) -> None:
        """Ends its connections; a thread that hangs is left behind."""
        self._gateways.close()

    def _outcomes(
        self, of: "_Sources", rollout: Rollout, outcome: OutcomeMetric | None
    ) -> "tuple[Outcomes | None, str]":
        if self._impressions is None:
            return None, "no folder of impressions is given" if outcome is not None else ""
        metric = outcome or OutcomeMetric(label="", window_s=0.0)
        if of.reading is None or of.reading.metric != metric:
            of.reading = _Reading(self._impressions, rollout, metric, self._lag_s, self._clock)
        return of.reading.outcomes(rollout.step, self._limit_s)


@dataclass
class _Sources:
    """What is read of one rollout; `used`: when it was last asked about."""

    counted: "_Counted"
    reading: "_Reading | None" = None
    used: float = 0.0


class _Counted:
    """The newest tallies of each gateway instance that speak of one rollout."""

    def __init__(self, rollout: Rollout, store: TallyStore, clock: Callable[[], float]) -> None:
        self._rollout, self._store, self._clock = rollout, store, clock
        self._newest: _Kept = {}
        self._unkept: set[str] = set()
        self._kept_at = -KEEP_S
        self._loaded = False

    def take(self, asked: Asked) -> None:
        """Merges what gateways say, and has the store keep it."""
        self._load()
        for instance, tallies in asked.said.items():
            ours = {key: tally for key, tally in tallies.items() if self._is_ours(key)}
            if ours and self._merge(instance, ours):
                self._unkept.add(instance)
        if self._unkept and self._clock() - self._kept_at >= KEEP_S:
            self._keep()

    def total(self, step: int, variant: str) -> Tally:
        """The sum over gateways."""
        total = Tally()
        for tallies in self._newest.values():
            for key, tally in tallies.items():
                if key.step == step and key.variant == variant:
                    total = add(total, tally)
        return total

    def _is_ours(self, key: TallyKey) -> bool:
        return key.model == self._rollout.model and key.rollout == self._rollout.id

    def _merge(self, instance: str, tallies: Mapping[TallyKey, Tally]) -> bool:
        """Whether something is new. Counts only grow, so where they do not, the answer was overtaken or is false."""
        known = self._newest.setdefault(instance, {})
        fresh = {
            key: tally
            for key, tally in tallies.items()
            if key not in known or (tally != known[key] and tally.requests >= known[key].requests)
        }
        known |= fresh
        return bool(fresh)

    def _load(self) -> None:
        if self._loaded:
            return
        try:
            kept = self._store.tallies(self._rollout.id)
        except InputError:
            return  # the controller tells that the database is away
        self._loaded = True
        for instance, content in kept.items():
            try:
                self._merge(instance, from_json(content.encode())[1])
            except ValueError as error:
                log.warning("what was kept of gateway %s is left out: %s", instance, error)

    def _keep(self) -> None:
        newest = {instance: to_json(instance, self._newest[instance]).decode() for instance in self._unkept}
        self._kept_at = self._clock()
        try:
            self._store.keep_tallies(self._rollout.id, newest)
        except InputError:
            return  # tried again
        self._unkept.clear()


class _Reading:
    """Reads the log of impressions in a thread of its own: object stores may hang, and the guardrails must not."""

    def __init__(
        self, folder: str, rollout: Rollout, metric: OutcomeMetric, lag_s: float, clock: Callable[[], float]
    ) -> None:
        self.metric = metric
        self._folder, self._rollout, self._lag_s, self._clock = folder, rollout, lag_s, clock
        self._joined: Joined | None = None
        self._pending: Future[Outcomes] | None = None
        self._pending_step = 0
        self._again_at = -1.0
        self._found: tuple[int, Outcomes] | None = None
        self._gap = ""

    def outcomes(self, step: int, wait_s: float) -> "tuple[Outcomes | None, str]":
        """The newest of this step, None where there is none yet; and what is wrong."""
        other_step = self._found is None or self._found[0] != step
        if self._pending is None and (other_step or self._clock() >= self._again_at):
            self._pending, self._pending_step = begin(partial(self._read, step), "impressions"), step
        if self._pending is not None:
            wait([self._pending], wait_s)
            self._take(self._pending)
        known = self._found is not None and self._found[0] == step
        gap = self._gap or ("impressions are still being read" if self._pending is not None or not known else "")
        return (self._found[1] if self._found is not None and known else None), gap

    def _take(self, pending: "Future[Outcomes]") -> None:
        if not pending.done():
            return
        error = pending.exception()
        if error is None:
            self._found, self._gap = (self._pending_step, pending.result()), ""
        else:
            self._gap = f"impressions in {self._folder} cannot be read: {error}"
        self._pending = None

    def _read(self, step: int) -> "Outcomes":
        from serving.impressions.join import Joined

        began = self._clock()
        try:
            if self._joined is None:
                metric, rollout = self.metric, self._rollout
                self._joined = Joined(
                    self._folder, rollout.model, rollout.id, metric.label, metric.window_s, rollout.created, self._lag_s
                )
            self._joined.update()
            return self._joined.outcomes(step=step)
        finally:
            self._again_at = self._clock() + REST * (self._clock() - began)
