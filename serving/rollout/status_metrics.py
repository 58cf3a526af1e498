"""Where rollouts stand as Prometheus metrics; counted from the database, so that a restart takes nothing back."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from serving.errors import InputError
from serving.rollout.report import current
from serving.rollout.state import Outcome, Phase, Rollout

if TYPE_CHECKING:
    from serving.rollout.status_page import Live
    from serving.rollout.store import Store

TYPE = b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
_PREFIX = "pressline_rollout"


def text(store: "Store", live: "Live") -> bytes:
    """The metrics' page. Where the database is away it says so, and of rollouts nothing."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(store, live))
    return generate_latest(registry)


class _Collected:
    """A collector of one page."""

    def __init__(self, store: "Store", live: "Live") -> None:
        self._store = store
        self._live = live

    def collect(self) -> Iterator[Any]:
        """prometheus_client's entry point."""
        yield _gauge("leader", "1 where this controller leads", [], [((), float(self._live.leads()))])
        try:
            stable, rollouts, made = self._store.stable(), self._store.rollouts(), self._store.transitions()
        except InputError:
            yield _gauge("database_up", "1 where the database answers", [], [((), 0.0)])
            return
        yield _gauge("database_up", "1 where the database answers", [], [((), 1.0)])
        versions = [((model,), float(number)) for model, number in stable.items() if number is not None]
        yield _gauge("stable_version", "The stable version", ["model"], versions)
        yield _transitions(made)
        of = {model: [one for one in rollouts if one.model == model] for model in stable}
        yield from _states({model: current(them) for model, them in of.items() if them})  # one may have come meanwhile
        yield from self._known(list(stable))

    def _known(self, models: list[str]) -> Iterator[Any]:
        """What the controller alone knows."""
        found = {model: self._live.facts(model) for model in models}
        facts = {model: one for model, one in found.items() if one is not None}
        shares = [((model,), one.share) for model, one in facts.items()]
        yield _gauge("share", "The canary's share of the keys, 0 to 1", ["model"], shares)
        shadows = [((model,), one.shadow) for model, one in facts.items()]
        yield _gauge("shadow", "Share of stable's requests that are copied to the canary", ["model"], shadows)
        verdicts = [
            ((model, outcome.value), float(one.outcome == outcome.value))
            for model, one in facts.items()
            for outcome in Outcome
        ]
        yield _gauge("verdict", "1 for the outcome of the last judgement", ["model", "outcome"], verdicts)
        accepted = [
            ((model, replica.target), float(replica.accepted))
            for model, one in facts.items()
            for replica in one.replicas
        ]
        text = "1 where a model server serves what it should"
        yield _gauge("replica_accepted", text, ["model", "replica"], accepted)


def _states(rollouts: dict[str, Rollout]) -> Iterator[Any]:
    phases = [((model, phase.value), float(one.phase is phase)) for model, one in rollouts.items() for phase in Phase]
    yield _gauge("phase", "1 for the phase that the newest rollout is in", ["model", "phase"], phases)
    of_each: dict[str, tuple[str, Callable[[Rollout], float]]] = {
        "step": ("The step that it is in, from 1", lambda one: one.step),
        "paused": ("1 where it is paused", lambda one: one.paused),
        "bad": ("1 where its version is marked bad", lambda one: one.bad),
        "elapsed_seconds": ("Time in this phase or step", lambda one: one.elapsed_s),
        "version": ("Its version", lambda one: one.version),
    }
    for name, (text, value) in of_each.items():
        yield _gauge(name, text, ["model"], [((model,), float(value(one))) for model, one in rollouts.items()])


def _transitions(made: dict[tuple[str, str], int]) -> Any:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(
        f"{_PREFIX}_transitions", "Changes of rollouts, by what they led to", labels=["model", "to"]
    )
    for labels, count in made.items():
        family.add_metric(labels, count)
    return family


def _gauge(name: str, text: str, labels: list[str], values: Sequence[tuple[tuple[str, ...], float]]) -> Any:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family
