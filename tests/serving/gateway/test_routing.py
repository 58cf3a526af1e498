"""Where requests go by a plan, and how a new plan takes hold."""

import random
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.gateway.assignment import in_canary
from serving.gateway.exchange import Routed
from serving.gateway.plan_watch import PlanWatch
from serving.gateway.routing import LONGEST_KEY, MOST_KNOWN, Router
from serving.status import Code, StatusError
from serving.traffic_plan import ModelPlan, Target, TrafficPlan

PLAN = ModelPlan("clicks", Target(3), Target(4), share=0.25, salt="clicks/7", rollout=7, step=2)
KEYS = [f"user-{number}".encode() for number in range(500)]


@dataclass
class Stand:
    """A router and the watch whose plan it follows."""

    watch: PlanWatch
    router: Router

    def publish(self, *plans: ModelPlan) -> None:
        self.watch.plan = TrafficPlan(self.watch.plan.generation + 1, {plan.model: plan for plan in plans})


def stand(*plans: ModelPlan, chance: float | None = None, secret: bytes = b"secret") -> Stand:
    """A router of these plans, by the chance given or by dice of a fixed seed."""
    watch = PlanWatch(Path("nowhere"))
    dice = random.Random(11)
    made = Stand(watch, Router(watch, secret, dice.random if chance is None else lambda: chance))
    made.publish(*plans)
    return made


def test_keys_below_the_share_meet_the_canary_and_the_others_stable() -> None:
    router = stand(PLAN).router
    for key in KEYS:
        routed = router.route("clicks", key, None)
        meets = in_canary(b"clicks/7", key, 0.25)
        variant, version = ("canary", 4) if meets else ("stable", 3)
        assert (routed.variant, routed.version, routed.label, routed.how) == (variant, version, variant, "key")
        assert (routed.model, routed.rollout, routed.step, routed.copy) == ("clicks", 7, 2, False)


def test_a_key_goes_the_same_way_each_time_and_at_each_gateway() -> None:
    one, other = stand(PLAN).router, stand(PLAN).router
    first = [one.route("clicks", key, None) for key in KEYS]
    assert [one.route("clicks", key, None) for key in KEYS] == first
    assert [other.route("clicks", key, None) for key in reversed(KEYS)] == first[::-1]


def test_more_users_than_are_remembered_go_the_right_way() -> None:
    router = stand(PLAN).router
    keys = [str(number).encode() for number in range(MOST_KNOWN + 10)]
    ways = [router.route("clicks", key, None) for key in keys]
    assert [way.variant == "canary" for way in ways] == [in_canary(b"clicks/7", key, 0.25) for key in keys]
    assert [router.route("clicks", key, None) for key in keys] == ways


@pytest.mark.parametrize("key", [None, b""])
def test_requests_without_a_key_are_split_anew_each_time(key: bytes | None) -> None:
    router = stand(PLAN).router
    ways = [router.route("clicks", key, None) for _ in range(4000)]
    assert {(way.how, way.key_hash) for way in ways} == {("random", None)}
    assert abs(Counter(way.variant for way in ways)["canary"] - 1000) < 110  # 4 standard deviations; the seed is fixed


@given(st.binary(max_size=50))
def test_share_zero_is_nobody_and_share_one_everybody_with_or_without_a_key(key: bytes) -> None:
    nobody, everybody = (stand(replace(PLAN, share=share)).router for share in (0.0, 1.0))
    assert nobody.route("clicks", key, None).variant == "stable"
    assert everybody.route("clicks", key, None).variant == "canary"


def test_without_a_canary_stable_answers_all() -> None:
    router = stand(ModelPlan("clicks", Target(3), salt="s")).router
    with_key = router.route("clicks", b"a", None)
    assert (with_key.variant, with_key.version, with_key.how) == ("stable", 3, "only")
    assert with_key.key_hash is not None
    assert router.route("clicks", None, None) == replace(with_key, key_hash=None)


def test_a_model_that_no_plan_names_is_passed_on_as_it_is() -> None:
    routed = stand(PLAN).router.route("other", b"a", None)
    assert routed == Routed("other", "", None, None, "unplanned", routed.key_hash, None, 0, False)
    assert routed.key_hash is not None


def test_before_the_first_plan_everything_is_passed_on() -> None:
    assert Router(PlanWatch(Path("nowhere")), b"s").route("clicks", None, None).how == "unplanned"


@pytest.mark.parametrize("variant", ["stable", "canary"])
@pytest.mark.parametrize("key", [None, b"user-1"])
def test_a_tester_gets_the_variant_that_they_name_and_no_copy(variant: str, key: bytes | None) -> None:
    router = stand(replace(PLAN, shadow=1.0)).router
    routed = router.route("clicks", key, variant.encode())
    assert (routed.variant, routed.label, routed.how, routed.copy) == (variant, variant, "override", False)
    assert (routed.key_hash is None) == (key is None)


@pytest.mark.parametrize("override", [b"", b"Canary", b"blue", b"\xff\xfe", b"x" * 100_000])
def test_another_override_is_refused(override: bytes) -> None:
    for model in ("clicks", "other"):
        with pytest.raises(StatusError) as refused:
            stand(PLAN).router.route(model, b"a", override)
        assert refused.value.code == Code.INVALID_ARGUMENT
        assert len(refused.value.message) < 1000


@pytest.mark.parametrize("model", ["solo", "other"])
def test_a_canary_that_is_not_there_is_refused_and_not_replaced_behind_the_testers_back(model: str) -> None:
    router = stand(PLAN, ModelPlan("solo", Target(1))).router
    with pytest.raises(StatusError, match="no canary") as refused:
        router.route(model, b"a", b"canary")
    assert refused.value.code == Code.FAILED_PRECONDITION
    assert router.route(model, b"a", b"stable").variant in ("stable", "")


def test_a_key_that_would_take_long_to_hash_is_refused() -> None:
    router = stand(PLAN).router
    assert router.route("clicks", b"x" * LONGEST_KEY, None).how == "key"
    for model in ("clicks", "other"):
        with pytest.raises(StatusError) as refused:
            router.route(model, b"x" * (LONGEST_KEY + 1), None)
        assert refused.value.code == Code.INVALID_ARGUMENT


def test_while_labels_move_versions_are_asked_for_by_number() -> None:
    moving = replace(PLAN, stable=Target(3, "version"), canary=Target(4, "version"), share=0.5)
    router = stand(moving).router
    ways = {router.route("clicks", key, None).variant: router.route("clicks", key, None) for key in KEYS}
    assert {variant: (way.version, way.label) for variant, way in ways.items()} == {
        "stable": (3, None),
        "canary": (4, None),
    }


def test_a_share_of_stables_requests_is_copied_and_none_of_the_canarys() -> None:
    router = stand(replace(PLAN, shadow=0.5)).router
    ways = [router.route("clicks", key, None) for key in KEYS for _ in range(4)]
    ways += [router.route("clicks", None, None) for _ in range(2000)]
    assert not [way for way in ways if way.copy and way.variant == "canary"]
    stables = [way for way in ways if way.variant == "stable"]
    copied = sum(way.copy for way in stables)
    assert abs(copied - len(stables) / 2) < 4 * (len(stables) / 4) ** 0.5
    all_of_them = stand(replace(PLAN, share=0.0, shadow=1.0)).router
    assert all(all_of_them.route("clicks", key, None).copy for key in KEYS)


def test_a_copy_goes_to_the_canary_and_is_not_copied_again() -> None:
    made = stand(replace(PLAN, share=0.0, shadow=1.0))
    routed = made.router.route("clicks", b"a", None)
    assert made.router.shadow(routed) == replace(routed, variant="canary", version=4, label="canary", copy=False)
    made.publish(replace(PLAN, canary=None, share=0.0))
    assert made.router.shadow(routed) is None


def test_what_is_not_to_be_copied_is_not() -> None:
    router = stand(PLAN).router
    assert router.shadow(router.route("clicks", b"a", None)) is None
    assert router.shadow(router.route("other", b"a", None)) is None


def test_after_the_canarys_failure_stable_is_asked_in_the_name_of_the_same_step() -> None:
    made = stand(replace(PLAN, share=1.0))
    routed = made.router.route("clicks", b"a", None)
    expected = replace(routed, variant="stable", version=3, label="stable")
    assert made.router.fallback(routed) == expected
    made.publish(ModelPlan("clicks", Target(3, "version"), rollout=8, step=1))
    assert made.router.fallback(routed) == replace(expected, label=None)  # as stable is asked for now
    made.publish()
    assert made.router.fallback(routed) is None


def test_there_is_nothing_behind_stable_nor_for_testers_nor_without_a_plan() -> None:
    router = stand(replace(PLAN, share=0.0)).router
    assert router.fallback(router.route("clicks", b"a", None)) is None
    assert router.fallback(router.route("clicks", b"a", b"canary")) is None
    assert router.fallback(router.route("other", b"a", None)) is None


def test_a_new_plan_holds_from_the_next_request_on() -> None:
    made = stand(PLAN)
    before = {key for key in KEYS if made.router.route("clicks", key, None).variant == "canary"}
    made.publish(replace(PLAN, share=0.5, step=3))
    after = [made.router.route("clicks", key, None) for key in KEYS]
    assert {way.step for way in after} == {3}
    assert before < {key for key, way in zip(KEYS, after, strict=True) if way.variant == "canary"}
    made.publish(replace(PLAN, canary=None, share=0.0))
    assert {made.router.route("clicks", key, None).variant for key in KEYS} == {"stable"}
    made.publish(PLAN)
    assert {key for key in KEYS if made.router.route("clicks", key, None).variant == "canary"} == before


def test_keys_are_hashed_alike_with_the_same_secret_alone() -> None:
    hashes = [stand(PLAN, secret=secret).router.route("clicks", b"a", None).key_hash for secret in (b"1", b"1", b"2")]
    assert hashes[0] == hashes[1] != hashes[2]
    assert all(one is not None and 0 <= one < 1 << 64 for one in hashes)


def test_a_secret_may_be_empty_or_longer_than_the_hash_takes() -> None:
    secrets = (b"", b"x" * 64, b"x" * 65, b"x" * 10_000)
    assert len({stand(PLAN, secret=secret).router.route("clicks", b"a", None).key_hash for secret in secrets}) == 4


def test_different_keys_have_different_hashes() -> None:
    router = stand(PLAN).router
    assert len({router.route("clicks", key, None).key_hash for key in KEYS}) == len(KEYS)
