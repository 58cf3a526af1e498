"""Exactly one controller leads; another takes over by its own clock; whoever was superseded writes nothing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import InputError
from serving.rollout.leadership import Lease, Standstill
from serving.rollout.state import Phase
from serving.rollout.store import Store, open_store
from tests.serving.rollout.stores import led, moved

LEASE_S = 0.2
LIMIT_S = 60
CONTROLLER = """
import sys
from dataclasses import replace
from serving.errors import InputError
from serving.rollout.state import Phase
from serving.rollout.store import open_store
name, until, saved, lease = sys.argv[1], int(sys.argv[2]), 0, None
store = open_store(lease_s=float(sys.argv[3]))
def turn():
    global lease, saved
    (rollout,) = store.rollouts()
    if lease is None and rollout.step < until:
        lease = store.lead(name)
        print("leads" if lease else "follows", flush=True)
    if lease is not None:
        after = replace(rollout, phase=Phase.CANARY, step=rollout.step + 1)
        if rollout.step >= until:
            store.release(lease)
        elif store.save(lease, rollout, after, {}):
            saved += 1
        elif not store.beat(lease):
            print("fenced", flush=True)
            lease = None
    return rollout.step < until
def goes_on():
    try:
        return turn()
    except InputError as error:
        print(error, flush=True)
        return True
while goes_on():
    pass
print(f"saved {saved}", flush=True)
"""


def controller(url: str, name: str, until: int, lease_s: float = LEASE_S) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", CONTROLLER, name, str(until), str(lease_s)]
    environment = {**os.environ, "PRESSLINE_LEDGER_URL": url}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def _said(process: "subprocess.Popen[str]", what: str) -> None:
    """Reads what it says up to a line."""
    assert process.stdout is not None
    while (line := process.stdout.readline()) != f"{what}\n":
        assert line, f"ended with {process.wait(LIMIT_S)} and never said {what}"


def takes_over(store: Store, holder: str) -> Lease:
    deadline = time.monotonic() + LIMIT_S
    while True:
        with suppress(InputError):  # one that was stopped within a transaction is waited for
            lease = store.lead(holder)
            if lease is not None:
                return lease
        assert time.monotonic() < deadline


def test_of_many_that_want_to_lead_at_once_one_does(url: str) -> None:
    stores = [open_store(url) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        leases = list(threads.map(lambda store: store.lead("any"), stores))
    assert len([lease for lease in leases if lease is not None]) == 1
    assert [store.lead("late") for store in stores] == [None] * 8


def test_a_leader_that_beats_is_left_alone_and_one_that_stands_still_is_not(url: str) -> None:
    first, second = open_store(url), open_store(url, lease_s=LEASE_S)
    lease = led(first, "first")
    until = time.monotonic() + 3 * LEASE_S
    while time.monotonic() < until:
        assert first.beat(lease)
        assert second.lead("second") is None
    taken = takes_over(second, "second")
    assert taken.epoch == lease.epoch + 1
    assert (second.leader().holder, second.leader().epoch) == ("second", taken.epoch)


def test_one_that_was_superseded_writes_nothing(url: str) -> None:
    first, second = open_store(url), open_store(url, lease_s=LEASE_S)
    rollout, lease = first.submit("clicks", 7, "pipeline"), led(first)
    ask = first.ask("clicks", "pause", "ann")
    taken = takes_over(second, "second")
    assert not first.beat(lease)
    assert not first.save(lease, rollout, replace(rollout, phase=Phase.WARMING), {}, ask=ask, stable=7)
    assert not first.answer(lease, ask, "done")
    assert not first.keep_tallies(rollout.id, {"a": "{}"}, lease)
    first.release(lease)
    assert second.beat(taken)
    assert second.rollouts() == [rollout]
    assert second.asks() == [ask]
    assert second.stable() == {"clicks": None}
    assert second.tallies(rollout.id) == {}
    assert [row.verdict for row in second.history("clicks")] == ["STAGED", "ASKED TO PAUSE"]


def test_a_leader_that_gives_up_is_followed_at_once_and_has_no_say_any_more(url: str) -> None:
    store = open_store(url)
    lease = led(store, "first")
    assert store.leader().lately()
    store.release(lease)
    assert not store.leader().lately()
    assert not store.beat(lease)
    assert led(open_store(url), "second").epoch == lease.epoch + 1


def test_a_stalled_leader_that_wakes_is_fenced_and_the_new_one_goes_on(url: str) -> None:
    other = open_store(url, patience_s=LEASE_S, lease_s=LEASE_S)
    other.submit("clicks", 7, "pipeline")
    stalled = controller(url, "stalled", 10_000_000, 10 * LEASE_S)
    _said(stalled, "leads")
    try:
        _stopped(stalled, other)
        lease = takes_over(other, "other")
        stalled.send_signal(signal.SIGCONT)
        _said(stalled, "fenced")
        assert other.beat(lease)
        (rollout,) = other.rollouts()
        moved(other, lease, rollout, Phase.STABLE)
    finally:
        stalled.kill()
        stalled.communicate()


def _stopped(process: "subprocess.Popen[str]", store: Store) -> None:
    """Stops it at a moment when it doesn't hold the lock of SQLite's file, which nobody could take from it."""
    for _ in range(1000):
        process.send_signal(signal.SIGSTOP)
        try:
            store.submit("clicks", 7, "pipeline")
            return
        except InputError:
            process.send_signal(signal.SIGCONT)
    raise AssertionError("it never let go")


def test_controllers_that_supersede_one_another_lose_no_change_and_make_none_twice(url: str) -> None:
    store = open_store(url, patience_s=LEASE_S)
    store.submit("clicks", 7, "pipeline")
    both = [controller(url, name, 30) for name in ("one", "two")]
    try:
        _let_them_take_turns(store, both)
        said = [process.communicate(timeout=LIMIT_S)[0] for process in both]
    finally:
        for process in both:
            process.kill()
            process.communicate()
    assert sum(int(one.split()[-1]) for one in said) == 30, said
    steps = [row.verdict for row in store.history("clicks")]
    assert steps == ["STAGED", *(f"CANARY {step}" for step in range(1, 31))]


def _let_them_take_turns(store: Store, both: Sequence["subprocess.Popen[str]"]) -> None:
    """Stops one of them, lets the other save a little, and the other way round, until one has ended."""
    deadline = time.monotonic() + LIMIT_S
    for turn in range(10_000):
        stopped, free = both[turn % 2], both[1 - turn % 2]
        for process, what in ((stopped, signal.SIGSTOP), (free, signal.SIGCONT)):
            if process.poll() is None:
                process.send_signal(what)
        with suppress(InputError):  # the stopped one may hold SQLite's lock until its next turn
            wanted, wait_until = store.rollouts()[0].revision + 5, time.monotonic() + 0.5
            while store.rollouts()[0].revision < wanted and time.monotonic() < wait_until and free.poll() is None:
                pass
        if any(process.poll() is not None for process in both) or time.monotonic() > deadline:
            break
    for process in both:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)


class Clock:
    """Ticks when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def stands(standstill: Standstill, clock: Clock, looks: Sequence[tuple[float, int]]) -> list[bool]:
    seen = []
    for passed, beat in looks:
        clock.now += passed
        seen.append(standstill.over(1, beat))
    return seen


def test_a_suspended_machine_is_not_a_dead_leader() -> None:
    clock = Clock()
    standstill = Standstill(4.0, clock)
    assert stands(standstill, clock, [(0, 7), (1, 7), (86_400, 7), (1, 7)]) == [False] * 4
    assert stands(standstill, clock, [(1, 7)]) == [True]


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_new_leader_with_the_same_beat_has_its_own_time(epoch: int) -> None:
    clock = Clock()
    standstill = Standstill(4.0, clock)
    stands(standstill, clock, [(0, 7), (1, 7), (1, 7), (1, 7)])
    clock.now += 1
    assert not standstill.over(epoch + 1, 7)


@given(st.lists(st.floats(0, 1e6), max_size=30))
def test_a_beat_that_always_grows_never_stands_still(gaps: list[float]) -> None:
    clock = Clock()
    assert not any(stands(Standstill(4.0, clock), clock, [(gap, number) for number, gap in enumerate(gaps)]))


@given(st.lists(st.floats(0, 0.9), min_size=1, max_size=30))
def test_a_beat_that_stands_is_over_when_the_looks_add_up_to_the_lease(gaps: list[float]) -> None:
    clock = Clock()
    seen = stands(Standstill(4.0, clock), clock, [(0, 1), *((gap, 1) for gap in gaps)])
    for number, over in enumerate(seen):
        total = sum(gaps[:number])
        assert over == (total >= 4.0) or abs(total - 4.0) < 1e-9
