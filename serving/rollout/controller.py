"""The rollout controller: a loop that makes the world equal to what the database says, and moves that by what it sees.

What a rollout's phase wants of the model servers and of the gateways is a pure function of it (desired), and so is the
next phase (machine). The database is written first and the world changed after it, and every round begins with the
database, so a controller that is killed at any line is carried on by the next one.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from serving.errors import InputError
from serving.rollout import desired, machine, observation
from serving.rollout.complaints import Complaints
from serving.rollout.facts import Verdict
from serving.rollout.leadership import LEASE_S, Lease
from serving.rollout.observation import Analysis, Look, Observation
from serving.rollout.publishing import PublishedPlan, write_config
from serving.rollout.replicas import Replica
from serving.rollout.report import ModelFacts
from serving.rollout.rows import Ask, place
from serving.rollout.settings import Settings
from serving.rollout.state import Phase, Rollout
from serving.rollout.store import Store

log = logging.getLogger(__name__)

TICK_S = 0.25
BEAT_S = 1.0
KEEP_S = 5.0  # of the time in a phase, at most so much is lost with a killed controller


@dataclass(frozen=True)
class Places:
    """Where things are.

    Attributes:
        config: models.config, which model servers start with.
        plan: the traffic plan, which gateways watch.
        base: model -> its base path as model servers see it (serving.home.models_dir): absolute, or a URI.
    """

    config: Path
    plan: Path
    base: Callable[[str], str | Path]


class Controller:
    """The loop. Also status_page.Live: `leads()` and `facts(model)` may be called from any thread."""

    def __init__(
        self,
        store: Store,
        servers: Sequence[Replica],
        analysis: Analysis | None,
        settings_of: Callable[[str], Settings],
        places: Places,
        holder: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            store: opened with a patience of a second or two.
            servers: every model server, at least one; the caller starts and closes them.
            analysis: None: nothing is ever judged, so every step ends inconclusive.
            settings_of: model -> its settings, asked in every round; after an InputError the ones before hold.
            holder: who this is, for the ledger.
            clock: seconds that only grow.
        """
        self._store = store
        self._servers = servers
        self._analysis = analysis
        self._settings_of = settings_of
        self._places = places
        self._holder = holder
        self._clock = clock
        self._lease: Lease | None = None
        self._next_beat = self._led = float("-inf")
        self._settings: dict[str, Settings] = {}
        self._stable: dict[str, int | None] = {}
        self._complaints = Complaints()
        self._plan = PublishedPlan(places.plan, clock)
        self._named: frozenset[str] | None = None
        self._observation = Observation(analysis)
        self._last: float | None = None
        self._next_keep = 0.0
        self._elapsed: dict[tuple[int, Phase, int], float] = {}
        self._facts: Mapping[str, ModelFacts] = {}

    def run(self, stop: threading.Event, tick_s: float = TICK_S) -> None:
        """Goes round until `stop`; then gives up the lead, so that another may take it at once."""
        while not stop.is_set():
            try:
                self.tick()
                self._complaints.over("round")
            except Exception as error:  # a defect of ours: users go on with the plan that stands
                self._complaints.say("round", repr(error), defect=True)
            stop.wait(tick_s)
        if self._lease is not None:
            with contextlib.suppress(InputError):
                self._store.release(self._lease)
            self._follow()

    def tick(self) -> None:
        """One round: lead, obey, look, move, make the world equal. With the database away it changes nothing."""
        now = self._clock()
        if self._lease is None and now < self._next_beat:
            return
        try:
            if self._leads(now):
                self._round(now)
                self._led = now
            self._complaints.over("controller")
        except InputError as error:
            self._complaints.say("controller", f"everything stays as it is: {error}")
            self._last = None  # time without it counts for nothing
            if now - self._led > LEASE_S:  # somebody else may lead by now, and two must not reload the same servers
                self._tell(None)

    def leads(self) -> bool:
        """Whether this controller is the leader, as far as it knows."""
        return self._lease is not None

    def facts(self, model: str) -> ModelFacts | None:
        """What the status page shows of a model; None: nothing is known of it."""
        return self._facts.get(model)

    def _leads(self, now: float) -> bool:
        if now < self._next_beat:
            return self._lease is not None
        self._next_beat = now + BEAT_S
        if self._lease is not None:
            if self._store.beat(self._lease):
                return True
            self._follow()
            return False
        self._lease = self._store.lead(self._holder)
        if self._lease is None:
            return False
        log.info("%s leads, epoch %d", self._holder, self._lease.epoch)
        self._plan.lead(self._lease.epoch)
        self._named = None
        self._observation, self._last, self._elapsed = Observation(self._analysis), None, {}
        return True

    def _follow(self) -> None:
        log.info("%s leads no more", self._holder)
        self._lease, self._facts = None, {}
        self._tell(None)

    def _tell(self, config: desired.ServerConfig | None) -> None:
        for server in self._servers:
            server.want(config)

    def _still_leads(self) -> bool:
        return self._lease is not None and self._store.beat(self._lease)

    def _round(self, now: float) -> None:
        rollouts, self._stable = self._store.rollouts(live=True), self._store.stable()
        if not self._stable:
            return  # nobody has said anything yet, and a config of nothing would unload everything
        if self._named is None:
            self._named = frozenset(one.model for one in self._store.rollouts() if one.step)
        self._read_settings()
        rollouts = self._aged(rollouts, now)
        for ask in self._store.asks():
            rollouts = self._obeyed(ask, rollouts)
        look, rollouts = self._advanced(rollouts, now)
        self._keep(rollouts, now)
        if self._lease is not None:
            self._equalize(rollouts, look)

    def _aged(self, rollouts: Sequence[Rollout], now: float) -> list[Rollout]:
        """With the time since the last round, for those that aren't paused."""
        # A process that stood still longer than its lease cannot say that it led, nor that it would have seen much.
        passed_s = 0.0 if self._last is None else min(max(now - self._last, 0.0), LEASE_S)
        aged = []
        for one in rollouts:
            known_s = max(self._elapsed.get((one.id, one.phase, one.step), 0.0), one.elapsed_s)
            aged.append(replace(one, elapsed_s=known_s + (0.0 if one.paused else passed_s)))
        self._last = now
        self._elapsed = {(one.id, one.phase, one.step): one.elapsed_s for one in aged}
        return aged

    def _obeyed(self, ask: Ask, rollouts: Sequence[Rollout]) -> list[Rollout]:
        """The rollouts after an operator's wish, which is answered in any case."""
        before = next((one for one in rollouts if one.id == ask.rollout), None)
        if self._lease is None:
            return list(rollouts)
        if before is None or ask.verb == "retry":  # which the store carries out by itself
            self._store.answer(self._lease, ask, "no change: it has ended")
            return list(rollouts)
        why = f"{ask.verb} by {ask.actor}{f': {ask.reason}' if ask.reason else ''}"
        after = machine.obey(before, ask.verb, why)
        if after == before:
            self._store.answer(self._lease, ask, f"no change: it is {before.phase.value}")
            return list(rollouts)
        return [self._saved(before, after, {}, ask) if one is before else one for one in rollouts]

    def _advanced(self, rollouts: Sequence[Rollout], now: float) -> tuple[Look, list[Rollout]]:
        """What was seen, and the rollouts after at most one move each."""
        models = self._models(rollouts)
        config = desired.server_config(models.values())
        look = Look({one.target: one.seen() for one in self._servers}, config, now)
        self._observation.keep(rollouts)
        moved = []
        verdicts: dict[str, Verdict | None] = dict.fromkeys(models)
        for one in rollouts:
            settings, model = self._settings[one.model], models[one.model]
            published_s = self._plan.standing_s(model.name, desired.model_plan(model))
            facts = self._observation.facts(one, rollouts, settings, model.stable, look, published_s)
            verdicts[one.model] = facts.verdict or verdicts[one.model]
            after = machine.advance(one, settings, facts)
            moved.append(one if after is None else self._saved(one, after, observation.evidence(facts)))
        self._facts = {
            name: observation.shown(name, look, self._settings[name], verdict, self._plan.models.get(name))
            for name, verdict in verdicts.items()
        }
        return look, moved

    def _models(self, rollouts: Sequence[Rollout]) -> dict[str, desired.Model]:
        """Every model that the database knows, with its rollout under way."""
        under_way = {one.model: one for one in rollouts if one.live and one.phase is not Phase.STAGED}
        models = {}
        for name, stable in sorted(self._stable.items()):
            settings, base = self._settings[name], str(self._places.base(name))
            model = desired.Model(name, base, stable, under_way.get(name), settings.steps)
            standing_s = self._plan.standing_s(name, desired.model_plan(model))
            models[name] = replace(model, settled=standing_s is not None and standing_s >= settings.settle_s)
        return models

    def _read_settings(self) -> None:
        for model in self._stable:
            try:
                self._settings[model] = self._settings_of(model)
                self._complaints.over(f"settings of {model}")
            except InputError as error:
                if model not in self._settings:
                    raise
                self._complaints.say(f"settings of {model}", f"the ones before hold on: {error}")

    def _saved(
        self, before: Rollout, after: Rollout, evidence: Mapping[str, object], ask: Ask | None = None
    ) -> Rollout:
        """The rollout as it stands now: `after`, or `before` where that could not be written."""
        if self._lease is None:
            return before
        moved = before.phase is not Phase.STAGED and machine.stable(before) != machine.stable(after)
        stable = machine.stable(after) if moved else None
        if not self._store.save(self._lease, before, after, evidence, ask, stable):
            if not self._still_leads():
                self._follow()
            return before
        self._stable |= {} if stable is None else {after.model: stable}
        log.info("%s version %d: %s, %s", after.model, after.version, place(after), after.reason)
        return replace(after, revision=before.revision + 1)

    def _keep(self, rollouts: Sequence[Rollout], now: float) -> None:
        """Writes down the time in the phase now and then."""
        if self._lease is None or now < self._next_keep:
            return
        self._next_keep = now + KEEP_S
        for one in rollouts:
            if one.live and not one.paused and not self._store.save(self._lease, one, one, {}):
                self._next_beat = now  # it looks at once whether it still leads

    def _equalize(self, rollouts: Sequence[Rollout], look: Look) -> None:
        """Makes files and servers what they should be. The plan comes first: what it no longer names may go then."""
        models = self._models(rollouts)
        plans = {name: desired.model_plan(one) for name, one in models.items()}
        # A model that a plan has named stays in it, whatever became of the file: users of one that none names would all
        # meet its newest version, the canary.
        known = self._plan.models.keys() | (self._named or ())
        wanted = {name: one for name, one in plans.items() if one and (name in known or observation.ready(name, look))}
        try:
            if not self._plan.publish(wanted, self._still_leads):
                self._follow()
                return
            self._complaints.over("plan")
        except OSError as error:  # what needs the new one waits for it; a label that goes back helps without it
            self._complaints.say("plan", f"the traffic plan cannot be written, the one that stands holds on: {error}")
        config = desired.server_config(models.values())
        try:
            write_config(self._places.config, config.text)
            self._complaints.over("config")
        except OSError as error:  # servers that run are told in any case
            self._complaints.say("config", f"{self._places.config} cannot be written: {error}")
        self._tell(config)
