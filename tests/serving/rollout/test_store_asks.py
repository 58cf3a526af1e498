"""The operators' verbs in the store: idempotent, audited, and refused with what there is."""

from dataclasses import replace
from typing import get_args

import pytest

from serving.errors import InputError
from serving.rollout.leadership import Lease
from serving.rollout.state import Phase
from serving.rollout.store import Store, Verb, open_store
from tests.serving.rollout.stores import led, moved, promoted


@pytest.fixture
def store(url: str) -> Store:
    return open_store(url)


@pytest.fixture
def lease(store: Store) -> Lease:
    return led(store)


def test_an_ask_waits_for_the_leader_and_is_audited(store: Store, url: str) -> None:
    rollout = store.submit("clicks", 7, "pipeline")
    ask = store.ask("clicks", "pause", "ann@desk", "looks odd")
    assert (ask.model, ask.rollout, ask.verb, ask.actor, ask.reason) == (
        "clicks",
        rollout.id,
        "pause",
        "ann@desk",
        "looks odd",
    )
    assert ask.said is None
    assert open_store(url).asks() == [ask]
    row = store.history("clicks")[-1]
    assert (row.verdict, row.actor, row.reason, row.version) == ("ASKED TO PAUSE", "ann@desk", "looks odd", 7)


def test_the_same_ask_twice_waits_once_and_opposite_ones_keep_their_order(store: Store) -> None:
    store.submit("clicks", 7, "pipeline")
    for verb in ("pause", "pause", "resume", "resume", "pause"):
        store.ask("clicks", verb, "ann")
    assert [ask.verb for ask in store.asks()] == ["pause", "resume", "pause"]


def test_a_transition_that_an_ask_made_ends_it_and_bears_its_name(store: Store, lease: Lease) -> None:
    rollout = moved(store, lease, store.submit("clicks", 7, "pipeline"), Phase.CANARY, 1)
    ask = store.ask("clicks", "abort", "ann@desk", "users complain")
    after = replace(rollout, phase=Phase.WITHDRAWING, bad=True, reason="aborted by ann@desk")
    assert store.save(lease, rollout, after, {"errors": 3}, ask=ask)
    assert store.asks() == []
    assert store.told(ask).said == "withdrawing"
    row = store.history("clicks")[-1]
    assert (row.verdict, row.actor, row.reason) == ("WITHDRAWING", "ann@desk", "users complain")
    assert row.evidence["evidence"] == {"errors": 3}
    assert (row.evidence["ask"], row.evidence["verb"], row.evidence["decided by"]) == (ask.id, "abort", "one")


def test_a_pause_and_what_ends_it_are_told_by_name(store: Store, lease: Lease) -> None:
    rollout = moved(store, lease, store.submit("clicks", 7, "pipeline"), Phase.CANARY, 1)
    rollout = moved(store, lease, rollout, Phase.CANARY, 1, paused=True)
    moved(store, lease, rollout, Phase.CANARY, 1, paused=False)
    assert [row.verdict for row in store.history("clicks")][-2:] == ["PAUSED", "RESUMED"]


def test_an_ask_that_changes_nothing_is_answered_once(store: Store, lease: Lease) -> None:
    store.submit("clicks", 7, "pipeline")
    ask = store.ask("clicks", "resume", "ann")
    assert store.answer(lease, ask, "it was not paused")
    assert store.answer(lease, ask, "another word")
    assert store.asks() == []
    assert store.told(ask).said == "it was not paused"
    assert [row.verdict for row in store.history("clicks")] == ["STAGED", "ASKED TO RESUME", "NO CHANGE"]


def test_a_verb_is_about_the_rollout_that_moves_not_about_one_that_waits(store: Store, lease: Lease) -> None:
    moving = moved(store, lease, store.submit("clicks", 7, "pipeline"), Phase.CANARY, 1)
    waiting = store.submit("clicks", 8, "pipeline")
    assert store.ask("clicks", "abort", "ann").rollout == moving.id
    moved(store, lease, moving, Phase.ROLLED_BACK)
    assert store.ask("clicks", "abort", "ann").rollout == waiting.id


@pytest.mark.parametrize("verb", get_args(Verb))
def test_a_verb_for_a_model_without_a_rollout_says_what_there_is(store: Store, verb: Verb) -> None:
    with pytest.raises(InputError, match="no rollout of 'clicks'; there are some of: no model yet"):
        store.ask("clicks", verb, "ann")
    store.submit("topic", 1, "pipeline")
    store.submit("films", 1, "pipeline")
    with pytest.raises(InputError, match=r"there are some of: films, topic\. `.* start MODEL VERSION`"):
        store.ask("clicks", verb, "ann")
    assert store.asks() == []


@pytest.mark.parametrize("verb", ["pause", "resume", "abort"])
def test_a_verb_after_the_end_says_how_it_ended(store: Store, lease: Lease, verb: Verb) -> None:
    promoted(store, lease, "clicks", 3)
    with pytest.raises(InputError, match=rf"nothing to {verb}: the last one, of version 3, is stable"):
        store.ask("clicks", verb, "ann")


def test_a_verb_whose_wish_is_fulfilled_already_is_no_error(store: Store, lease: Lease) -> None:
    promoted(store, lease, "clicks", 3)
    assert store.ask("clicks", "promote", "ann").said == "version 3 is stable already"
    rollout = store.submit("clicks", 4, "pipeline")
    moved(store, lease, rollout, Phase.ROLLED_BACK, bad=True)
    for _ in range(2):
        assert store.ask("clicks", "abort", "ann").said == "version 4 is rolled_back already"
    with pytest.raises(InputError, match="nothing to promote"):
        store.ask("clicks", "promote", "ann")
    assert store.asks() == []


def test_an_unknown_verb_is_refused(store: Store) -> None:
    store.submit("clicks", 1, "pipeline")
    with pytest.raises(InputError, match="there are pause, resume, promote, abort, retry"):
        store.ask("clicks", "undo", "ann")  # type: ignore[arg-type]


def test_retry_clears_the_mark_and_begins_anew_once(store: Store, lease: Lease) -> None:
    bad = moved(store, lease, store.submit("clicks", 4, "pipeline"), Phase.ROLLED_BACK, bad=True, reason="NaN")
    ask = store.ask("clicks", "retry", "ann", "the feature is mended")
    assert ask.said == "version 4 is staged again"
    old, new = store.rollouts("clicks")
    assert (old.id, old.bad, new.version, new.phase, new.bad) == (bad.id, False, 4, Phase.STAGED, False)
    assert ask.rollout == new.id
    assert store.ask("clicks", "retry", "ann").said == "version 4 is under way already"
    assert store.submit("clicks", 4, "pipeline") == new
    assert store.asks() == []
    assert [row.verdict for row in store.history("clicks")][-3:] == ["STAGED", "ASKED TO RETRY", "ASKED TO RETRY"]


def test_retry_takes_the_version_that_it_is_told(store: Store, lease: Lease) -> None:
    for version in (4, 5):
        moved(store, lease, store.submit("clicks", version, "pipeline"), Phase.ROLLED_BACK, bad=True)
    store.ask("clicks", "retry", "ann", version=4)
    assert [(one.version, one.bad) for one in store.rollouts("clicks")] == [(4, False), (5, True), (4, False)]
    with pytest.raises(InputError, match="no rollout of version 9 of clicks"):
        store.ask("clicks", "retry", "ann", version=9)


def test_retry_while_the_version_still_leaves_waits_behind_it_and_the_leader_goes_on(
    store: Store, lease: Lease
) -> None:
    leaving = moved(store, lease, store.submit("clicks", 4, "pipeline"), Phase.WITHDRAWING, bad=True)
    store.ask("clicks", "retry", "ann")
    first, second = store.rollouts("clicks", live=True)
    assert (first.id, first.phase, second.phase) == (leaving.id, Phase.WITHDRAWING, Phase.STAGED)
    moved(store, lease, first, Phase.ROLLED_BACK)
    assert store.rollouts("clicks", live=True) == [second]


def test_retry_of_the_stable_version_has_nothing_to_do(store: Store, lease: Lease) -> None:
    promoted(store, lease, "clicks", 3)
    assert store.ask("clicks", "retry", "ann").said == "version 3 is stable already"
    assert len(store.rollouts()) == 1
