"""Where each request goes, by the traffic plan of the moment: about 5 us with a key, 0.2 us with one that came lately,
2 us without one."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from serving.gateway.assignment import murmur2, threshold
from serving.gateway.exchange import How, Routed
from serving.gateway.plan_watch import PlanWatch
from serving.status import Code, StatusError
from serving.traffic_plan import CANARY, STABLE, ModelPlan, Target, TrafficPlan

LONGEST_KEY = 1024  # bytes, whose hash takes 80 us; headers may have 64 KiB, and all other requests wait meanwhile
MOST_KNOWN = 4096  # keys whose ways are remembered per model, until the plan changes; about 2 MB


class _Side(NamedTuple):
    """A variant, and what to ask the model server for."""

    variant: str
    version: int
    label: str | None


@dataclass(frozen=True, slots=True)
class _Split:
    """One model's plan, worked out: keys' buckets below `below` are the canary's; `known` are keys that came lately."""

    stable: _Side
    canary: _Side | None
    salt: bytes
    below: int
    share: float
    shadow: float
    rollout: int | None
    step: int
    known: dict[bytes, Routed] = field(default_factory=dict)


class Router:
    """Answers for the newest plan that the watch has; it is worked out once per plan."""

    def __init__(self, watch: PlanWatch, secret: bytes, chance: Callable[[], float] = random.random) -> None:
        """
        Args:
            watch: has the plan.
            secret: keys the hash of users' keys; the same at all gateways, of any length.
            chance: a number from 0 to below 1, anew with each call.
        """
        secret = secret if len(secret) <= blake2b.MAX_KEY_SIZE else blake2b(secret).digest()
        self._watch = watch
        self._keyed = blake2b(digest_size=8, key=secret)
        self._chance = chance
        self._plan: TrafficPlan | None = None
        self._splits: dict[str, _Split] = {}

    def route(self, model: str, key: bytes | None, override: bytes | None) -> Routed:
        """Where a request goes.

        Args:
            key: the user's; None or empty for none, and then the variant is drawn anew for each request.
            override: `stable` or `canary`, a tester's wish; None for none.

        Raises:
            StatusError: INVALID_ARGUMENT for another override or a key that is too long; FAILED_PRECONDITION for the
                canary of a model that has none.
        """
        split = self._split(model)
        if key and override is None and split is not None:
            return split.known.get(key) or self._by_key(model, split, key)
        hashed = self._key_hash(key) if key else None
        if override is not None:
            side = _wished(override, model, split)
            if split is not None and side is not None:
                return _routed(model, split, side, "override", hashed, False)
        if split is None:
            return Routed(model, "", None, None, "unplanned", hashed, None, 0, False)
        if split.canary is None:
            return _routed(model, split, split.stable, "only", None, False)
        side = split.canary if self._chance() < split.share else split.stable
        return _routed(model, split, side, "random", None, self._copied(split, side))

    def fallback(self, routed: Routed) -> Routed | None:
        """Where to ask again after the canary failed: stable, as the plan has it now.

        None where the request did not go to the canary, for a tester's, who is to see what the canary says, and where
        the plan no longer has the model.
        """
        split = self._split(routed.model)
        if split is None or routed.variant != CANARY or routed.how == "override":
            return None
        return _elsewhere(routed, split.stable)

    def shadow(self, routed: Routed) -> Routed | None:
        """Where the copy of a request with `routed.copy` goes: the canary. None where the plan no longer has one."""
        split = self._split(routed.model)
        if split is None or split.canary is None or not routed.copy:
            return None
        return _elsewhere(routed, split.canary)

    def _split(self, model: str) -> _Split | None:
        plan = self._watch.plan
        if plan is not self._plan:
            self._splits = {name: _worked_out(one) for name, one in plan.models.items()}
            self._plan = plan
        return self._splits.get(model)

    def _by_key(self, model: str, split: _Split, key: bytes) -> Routed:
        how: How = "only" if split.canary is None else "key"
        hashed = self._key_hash(key)
        side = split.stable
        if split.canary is not None and murmur2(split.salt + key) < split.below:
            side = split.canary
        routed = _routed(model, split, side, how, hashed, self._copied(split, side))
        if not split.shadow:  # else whether it is copied is drawn anew each time
            if len(split.known) >= MOST_KNOWN:
                split.known.clear()
            split.known[key] = routed
        return routed

    def _copied(self, split: _Split, side: _Side) -> bool:
        return side is split.stable and split.shadow > 0 and self._chance() < split.shadow

    def _key_hash(self, key: bytes) -> int:
        """64 bits; refuses what would take long."""
        if len(key) > LONGEST_KEY:
            raise StatusError(Code.INVALID_ARGUMENT, f"The key has {len(key)} bytes; at most {LONGEST_KEY} are taken")
        keyed = self._keyed.copy()  # cheaper than keying anew
        keyed.update(key)
        return int.from_bytes(keyed.digest(), "big")


def _routed(model: str, split: _Split, side: _Side, how: How, key_hash: int | None, copy: bool) -> Routed:
    return Routed(model, side.variant, side.version, side.label, how, key_hash, split.rollout, split.step, copy)


def _worked_out(plan: ModelPlan) -> _Split:
    canary = None if plan.canary is None else _side(CANARY, plan.canary)
    salt, below = plan.salt.encode(), threshold(plan.share)
    return _Split(_side(STABLE, plan.stable), canary, salt, below, plan.share, plan.shadow, plan.rollout, plan.step)


def _side(variant: str, target: Target) -> _Side:
    return _Side(variant, target.version, variant if target.by == "label" else None)


def _wished(override: bytes, model: str, split: _Split | None) -> _Side | None:
    """The tester's variant; None where there is no plan, and so nothing but the model as it is."""
    if override == b"stable":
        return None if split is None else split.stable
    if override != b"canary":
        shown = override[:100].decode("utf-8", "replace")
        raise StatusError(Code.INVALID_ARGUMENT, f"A variant is stable or canary; got {shown!r}")
    if split is None or split.canary is None:
        raise StatusError(Code.FAILED_PRECONDITION, f"Model {model} has no canary at the moment")
    return split.canary


def _elsewhere(routed: Routed, side: _Side) -> Routed:
    hashed, rollout, step = routed.key_hash, routed.rollout, routed.step
    return Routed(routed.model, side.variant, side.version, side.label, routed.how, hashed, rollout, step, False)
