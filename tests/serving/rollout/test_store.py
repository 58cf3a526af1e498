"""The rollouts' store on SQLite and on a real PostgreSQL: candidates, transitions, what stays on the disk."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from serving.errors import InputError
from serving.ledger import open_ledger
from serving.rollout.leadership import Lease
from serving.rollout.state import Phase
from serving.rollout.store import Store, open_store
from tests.serving.rollout.stores import led, moved, promoted


@pytest.fixture
def store(url: str) -> Store:
    return open_store(url)


@pytest.fixture
def lease(store: Store) -> Lease:
    return led(store)


def test_a_candidate_waits_staged_and_comes_back_as_it_was(store: Store, url: str) -> None:
    asked = store.submit("clicks", 7, "pipeline", "run r1")
    (found,) = open_store(url).rollouts("clicks")
    assert found == asked
    assert (found.version, found.previous, found.phase, found.step) == (7, None, Phase.STAGED, 0)
    assert (found.paused, found.promoted, found.bad, found.revision) == (False, False, False, 0)
    assert abs(found.created - datetime.now(UTC)) < timedelta(minutes=1)
    assert found.created.utcoffset() == timedelta(0)
    (row,) = open_ledger(url).decisions()
    assert (row.kind, row.task, row.version, row.verdict) == ("rollout", "clicks", 7, "STAGED")
    assert (row.actor, row.reason) == ("pipeline", "run r1")


def test_a_candidate_that_is_submitted_again_is_the_same_one(store: Store, lease: Lease, url: str) -> None:
    first = store.submit("clicks", 7, "pipeline")
    assert store.submit("clicks", 7, "ann") == first
    canary = moved(store, lease, first, Phase.CANARY, 2)
    assert store.submit("clicks", 7, "pipeline") == canary
    assert store.submit("topic", 7, "pipeline").id != first.id
    assert [row.task for row in open_ledger(url).decisions() if row.verdict == "STAGED"] == ["clicks", "topic"]


def test_many_that_submit_at_once_begin_one_rollout(url: str) -> None:
    stores = [open_store(url) for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        ids = set(threads.map(lambda store: store.submit("clicks", 3, "pipeline").id, stores))
    assert len(ids) == 1
    assert len(stores[0].rollouts()) == 1


def test_a_stable_version_is_not_rolled_out_again_and_an_older_one_is(store: Store, lease: Lease) -> None:
    first, second = (promoted(store, lease, "clicks", version) for version in (1, 2))
    assert store.submit("clicks", 2, "pipeline") == second
    back = store.submit("clicks", 1, "ann", "2 sells less")
    assert back.id > second.id > first.id
    assert back.previous == 2


def test_a_superseded_version_may_be_asked_for_again(store: Store, lease: Lease) -> None:
    first = store.submit("clicks", 1, "pipeline")
    moved(store, lease, first, Phase.ROLLED_BACK, reason="superseded by 2")
    assert store.submit("clicks", 1, "ann").id > first.id


def test_a_bad_version_is_refused_with_the_remedy_while_it_leaves_and_ever_after(store: Store, lease: Lease) -> None:
    leaving = moved(store, lease, store.submit("clicks", 4, "pipeline"), Phase.WITHDRAWING, bad=True, reason="NaN")
    wanted = r"version 4 of clicks was rolled back and marked bad: NaN\. `.* retry clicks --version 4`"
    with pytest.raises(InputError, match=wanted):
        store.submit("clicks", 4, "pipeline")
    moved(store, lease, leaving, Phase.ROLLED_BACK)
    with pytest.raises(InputError, match=wanted):
        store.submit("clicks", 4, "pipeline")
    assert len(store.rollouts()) == 1


@pytest.mark.parametrize(
    ("model", "version"), [("", 1), ("a/b", 1), ("a:b", 1), ("a\n", 1), ("clicks", -1), ("c", 2**63)]
)
def test_an_impossible_model_or_version_is_refused(store: Store, model: str, version: int) -> None:
    with pytest.raises(InputError, match=r"a (model's name|version) is"):
        store.submit(model, version, "ann")
    assert store.rollouts() == []


def test_each_transition_is_a_row_of_the_ledger_with_who_why_and_the_numbers(
    store: Store, lease: Lease, url: str
) -> None:
    rollout = store.submit("clicks", 7, "pipeline")
    rollout = moved(store, lease, rollout, Phase.CANARY, 1, reason="warm")
    rollout = moved(store, lease, rollout, Phase.CANARY, 1, elapsed_s=9.5)
    moved(store, lease, rollout, Phase.CANARY, 2, reason="as good as stable", evidence={"p": 0.4, "samples": [812, 90]})
    rows = open_ledger(url).decisions(kind="rollout")
    assert [row.verdict for row in rows] == ["STAGED", "CANARY 1", "CANARY 2"]
    assert [row.id for row in store.history("clicks")] == [row.id for row in rows]
    assert {row.actor for row in rows[1:]} == {"one"}
    assert rows[2].reason == "as good as stable"
    assert rows[2].version == 7
    assert rows[2].evidence == {
        "rollout": rollout.id,
        "from": "canary 1",
        "to": "canary 2",
        "after_s": 9.5,
        "bad": False,
        "evidence": {"p": 0.4, "samples": [812, 90]},
    }


def test_time_that_passes_is_saved_without_a_row(store: Store, lease: Lease) -> None:
    rollout = store.submit("clicks", 7, "pipeline")
    later = moved(store, lease, rollout, Phase.STAGED, elapsed_s=3.25)
    assert (later.elapsed_s, later.revision) == (3.25, 1)
    assert len(store.history("clicks")) == 1


def test_what_was_read_before_another_change_is_not_written(store: Store, lease: Lease) -> None:
    rollout = store.submit("clicks", 7, "pipeline")
    moved(store, lease, rollout, Phase.WARMING)
    assert not store.save(lease, rollout, replace(rollout, phase=Phase.ROLLED_BACK), {}, stable=9)
    assert [one.phase for one in store.rollouts()] == [Phase.WARMING]
    assert store.stable() == {"clicks": None}
    assert [row.verdict for row in store.history("clicks")] == ["STAGED", "WARMING"]


def test_a_transition_whose_evidence_cannot_be_written_is_not_made(store: Store, lease: Lease) -> None:
    rollout = store.submit("clicks", 7, "pipeline")
    with pytest.raises(TypeError):
        store.save(lease, rollout, replace(rollout, phase=Phase.WARMING), {"model": object()}, stable=7)
    assert store.rollouts() == [rollout]
    assert store.stable() == {"clicks": None}


def test_a_rollouts_model_and_version_never_change(store: Store, lease: Lease) -> None:
    rollout = store.submit("clicks", 7, "pipeline")
    with pytest.raises(ValueError, match="id, model and version stay"):
        store.save(lease, rollout, replace(rollout, version=8), {})


def test_the_live_ones_of_a_model_are_told_from_the_ended(store: Store, lease: Lease) -> None:
    promoted(store, lease, "clicks", 1)
    live, other = store.submit("clicks", 2, "pipeline"), store.submit("topic", 1, "pipeline")
    assert [one.version for one in store.rollouts("clicks")] == [1, 2]
    assert store.rollouts("clicks", live=True) == [live]
    assert store.rollouts(live=True) == [live, other]
    assert store.rollouts("nothing") == []
    assert store.stable() == {"clicks": 1, "topic": None}


def test_the_disk_keeps_what_serves_what_is_loaded_and_the_newest_candidate(store: Store, lease: Lease) -> None:
    assert store.protected("clicks") == frozenset()
    promoted(store, lease, "clicks", 1)
    promoted(store, lease, "clicks", 2)
    assert store.protected("clicks") == {2}
    third = moved(store, lease, store.submit("clicks", 3, "pipeline"), Phase.CANARY, 1)
    for version in (4, 5):
        store.submit("clicks", version, "pipeline")
    assert store.protected("clicks") == {2, 3, 5}
    third = moved(store, lease, third, Phase.STABLE, stable=3, promoted=True)
    assert store.protected("clicks") == {2, 3, 5}, "the one before is loaded until its window is over"
    moved(store, lease, third, Phase.DONE)
    assert store.protected("clicks") == {3, 5}
    assert store.protected("topic") == frozenset()


def test_a_version_that_was_served_before_there_were_rollouts_is_taken_for_stable_once(store: Store) -> None:
    assert store.adopt("clicks", 3, "pipeline", "served when rollouts began")
    assert not store.adopt("clicks", 4, "pipeline")
    assert store.stable() == {"clicks": 3}
    assert store.submit("clicks", 4, "pipeline").previous == 3
    adopted = store.submit("clicks", 3, "pipeline")
    assert (adopted.phase, adopted.promoted, adopted.reason) == (Phase.DONE, True, "served when rollouts began")
    store.submit("topic", 1, "pipeline")
    assert not store.adopt("topic", 1, "pipeline"), "its first rollout has begun"


def test_tallies_are_the_newest_of_each_gateway_until_the_rollout_ends(store: Store, lease: Lease) -> None:
    rollout = store.submit("clicks", 7, "pipeline")
    assert store.keep_tallies(rollout.id, {"a": '{"n": 1}', "b": '{"n": 5}'})
    assert store.keep_tallies(rollout.id, {"a": '{"n": 2}'}, lease)
    assert store.tallies(rollout.id) == {"a": '{"n": 2}', "b": '{"n": 5}'}
    assert store.tallies(rollout.id + 1) == {}
    moved(store, lease, rollout, Phase.ROLLED_BACK)
    assert store.tallies(rollout.id) == {}


def test_a_text_that_no_database_holds_is_written_readably(store: Store, lease: Lease) -> None:
    rollout = store.submit("clicks", 7, "a\udcff", "NUL \0")
    assert rollout.reason == "NUL \ufffd"
    moved(store, lease, rollout, Phase.WARMING, reason="half \ud800")
    assert [one.reason for one in store.rollouts()] == ["half ?"]
    assert [row.actor for row in store.history("clicks")] == ["a?", "one"]
