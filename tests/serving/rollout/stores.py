"""Stores and leases for the tests of the rollouts. Not a test module."""

from dataclasses import replace
from typing import Any

from serving.rollout.leadership import Lease
from serving.rollout.state import Phase, Rollout
from serving.rollout.store import Store


def led(store: Store, holder: str = "one") -> Lease:
    """The lease of a store that nobody leads."""
    lease = store.lead(holder)
    assert lease is not None
    return lease


def moved(store: Store, lease: Lease, rollout: Rollout, phase: Phase, step: int = 0, **more: Any) -> Rollout:
    """The rollout in another phase, saved; `stable` and `evidence` go to the store, other names are the rollout's."""
    stable, evidence = more.pop("stable", None), more.pop("evidence", {})
    assert store.save(lease, rollout, replace(rollout, phase=phase, step=step, **more), evidence, stable=stable)
    return next(one for one in store.rollouts() if one.id == rollout.id)


def promoted(store: Store, lease: Lease, model: str, version: int) -> Rollout:
    """A version that went all the way."""
    rollout = store.submit(model, version, "pipeline")
    for phase in (Phase.WARMING, Phase.CANARY, Phase.PROMOTING):
        rollout = moved(store, lease, rollout, phase)
    rollout = moved(store, lease, rollout, Phase.STABLE, stable=version, promoted=True)
    return moved(store, lease, rollout, Phase.DONE)
