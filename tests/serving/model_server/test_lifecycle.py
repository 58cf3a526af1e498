"""Versions on their way, driven by aspired sets: no file system, no configuration."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from serving.model_server.lifecycle import Lifecycle
from serving.model_server.lifecycle_settings import Settings
from serving.model_server.transition import State
from tests.serving.model_server.lifecycle_fakes import FAST, Background, Loads, broken, is_free, until


@contextlib.contextmanager
def running(load: Loads, **settings: Any) -> Iterator[Lifecycle]:
    lifecycle = Lifecycle(load, Settings(**{**FAST, **settings}))
    lifecycle.start()
    lifecycle.end_initial_loads()
    try:
        yield lifecycle
    finally:
        for gate in load.gates.values():
            gate.set()
        lifecycle.stop(10)


def want(lifecycle: Lifecycle, name: str, *numbers: int) -> None:
    lifecycle.aspire(name, {number: f"/{name}/{number}" for number in numbers})


def states(lifecycle: Lifecycle, name: str) -> dict[int, State]:
    return {status.version: status.state for status in lifecycle.statuses(name)}


def reach(lifecycle: Lifecycle, name: str, number: int, state: State) -> None:
    until(lambda: states(lifecycle, name).get(number) is state)


def loads_at_once(load: Loads, names: str) -> int:
    """How many of these models' loads have begun and wait at their gate."""
    return sum(load.tries(name, 1) for name in names)


def test_a_version_is_loaded_from_its_directory_and_serves() -> None:
    load = Loads()
    with running(load) as lifecycle:
        want(lifecycle, "m", 1)
        assert lifecycle.wait(["m"]) == {}
        assert load.calls == [("m", 1, "/m/1")]
        assert lifecycle.serving.latest == {"m": load.loaded[0]}
        assert lifecycle.serving.specific == {("m", 1): load.loaded[0]}
        assert lifecycle.is_available("m", 1)


def test_the_old_version_serves_until_the_new_one_does_and_is_freed_then() -> None:
    load = Loads()
    load.gates["m", 2] = threading.Event()
    with running(load) as lifecycle:
        want(lifecycle, "m", 1)
        lifecycle.wait(["m"])
        want(lifecycle, "m", 2)
        until(lambda: load.tries("m", 2))
        assert states(lifecycle, "m") == {2: State.LOADING, 1: State.AVAILABLE}
        assert lifecycle.serving.latest["m"].version == 1
        load.gates["m", 2].set()
        until(lambda: states(lifecycle, "m") == {2: State.AVAILABLE, 1: State.END})
        assert lifecycle.serving.latest["m"].version == 2
        assert is_free(load.loaded[0])
        assert not is_free(load.loaded[1])


def test_a_broken_version_ends_with_its_error_and_the_old_one_serves_on() -> None:
    load = Loads()
    load.broken["m", 2] = broken()
    with running(load, max_num_load_retries=3) as lifecycle:
        want(lifecycle, "m", 1)
        lifecycle.wait(["m"])
        want(lifecycle, "m", 2)
        until(lambda: states(lifecycle, "m") == {2: State.END, 1: State.AVAILABLE})
        assert load.tries("m", 2) == 4
        error = lifecycle.statuses("m")[0].error
        assert error is not None
        assert str(error) == "NOT_FOUND: No model here"
        assert lifecycle.serving.latest["m"].version == 1


def test_a_retry_waits_in_state_loading_and_ends_when_the_version_is_no_longer_wanted() -> None:
    load = Loads()
    load.broken["m", 1] = broken()
    with running(load, load_retry_interval_micros=3_600_000_000) as lifecycle:
        want(lifecycle, "m", 1)
        until(lambda: load.tries("m", 1) == 1)
        assert states(lifecycle, "m") == {1: State.LOADING}
        want(lifecycle, "m")
        reach(lifecycle, "m", 1, State.END)
        assert load.tries("m", 1) == 1


def test_a_failed_version_is_tried_again_after_nobody_wanted_it() -> None:
    load = Loads()
    load.broken["m", 1] = broken()
    with running(load, max_num_load_retries=0) as lifecycle:
        want(lifecycle, "m", 1)
        assert list(lifecycle.wait(["m"])) == [("m", 1)]
        del load.broken["m", 1]
        want(lifecycle, "m", 1)
        want(lifecycle, "other", 1)
        lifecycle.wait(["other"])
        assert states(lifecycle, "m") == {1: State.END}
        want(lifecycle, "m")
        want(lifecycle, "m", 1)
        reach(lifecycle, "m", 1, State.AVAILABLE)
        assert lifecycle.statuses("m")[0].error is None


def test_a_load_that_ends_when_nobody_wants_it_is_freed_and_never_serves() -> None:
    load = Loads()
    load.gates["m", 1] = threading.Event()
    with running(load) as lifecycle:
        want(lifecycle, "m", 1)
        until(lambda: load.tries("m", 1))
        want(lifecycle, "m")
        load.gates["m", 1].set()
        reach(lifecycle, "m", 1, State.END)
        assert is_free(load.loaded[0])
        error = lifecycle.statuses("m")[0].error
        assert error is not None
        assert str(error) == "CANCELLED: Loading of servable cancelled"


def test_a_request_in_flight_holds_its_version_and_nothing_else() -> None:
    load = Loads()
    with running(load) as lifecycle:
        want(lifecycle, "m", 1)
        lifecycle.wait(["m"])
        stuck = lifecycle.serving.latest["m"]
        assert stuck.acquire()
        want(lifecycle, "m", 2)
        until(lambda: states(lifecycle, "m") == {2: State.AVAILABLE, 1: State.UNLOADING})
        want(lifecycle, "m", 3)
        want(lifecycle, "other", 1)
        lifecycle.wait(["other"])
        until(lambda: states(lifecycle, "m") == {3: State.AVAILABLE, 2: State.END, 1: State.UNLOADING})
        assert not is_free(stuck)
        stuck.release()
        reach(lifecycle, "m", 1, State.END)
        assert is_free(stuck)


def test_a_version_wanted_back_while_it_leaves_is_loaded_anew_once_it_has_left() -> None:
    load = Loads()
    with running(load) as lifecycle:
        want(lifecycle, "m", 1)
        lifecycle.wait(["m"])
        held = lifecycle.serving.latest["m"]
        assert held.acquire()
        want(lifecycle, "m")
        reach(lifecycle, "m", 1, State.UNLOADING)
        want(lifecycle, "m", 1, 2)  # as a whole it has to wait, 2 as well
        want(lifecycle, "other", 1)
        lifecycle.wait(["other"])
        assert states(lifecycle, "m") == {1: State.UNLOADING}
        assert "m" not in lifecycle.serving.latest
        held.release()
        until(lambda: states(lifecycle, "m") == {2: State.AVAILABLE, 1: State.AVAILABLE})
        assert load.tries("m", 1) == 2


def test_with_a_broken_new_version_the_old_one_is_wanted_back_without_being_unloaded() -> None:
    load = Loads()
    load.broken["m", 2] = broken()
    with running(load, max_num_load_retries=0) as lifecycle:
        want(lifecycle, "m", 1)
        lifecycle.wait(["m"])
        want(lifecycle, "m", 2)
        reach(lifecycle, "m", 2, State.END)
        want(lifecycle, "m", 1, 3)
        until(lambda: states(lifecycle, "m") == {3: State.AVAILABLE, 2: State.END, 1: State.AVAILABLE})
        assert load.tries("m", 1) == 1


def test_without_load_threads_one_broken_version_holds_up_the_others_until_it_is_no_longer_wanted() -> None:
    load = Loads()
    load.broken["broken", 1] = broken()
    with running(load, num_load_threads=0, load_retry_interval_micros=3_600_000_000) as lifecycle:
        want(lifecycle, "m", 1)
        lifecycle.wait(["m"])
        want(lifecycle, "broken", 1)
        until(lambda: load.tries("broken", 1))
        want(lifecycle, "m", 2)
        assert states(lifecycle, "m") == {2: State.START, 1: State.AVAILABLE}
        want(lifecycle, "broken")
        until(lambda: states(lifecycle, "m") == {2: State.AVAILABLE, 1: State.END})


def test_a_broken_version_holds_up_only_its_own_load_thread() -> None:
    load = Loads()
    load.broken["broken", 1] = broken()
    with running(load, num_load_threads=2, load_retry_interval_micros=3_600_000_000) as lifecycle:
        want(lifecycle, "broken", 1)
        until(lambda: load.tries("broken", 1))
        for number in range(1, 4):
            want(lifecycle, "m", number)
            reach(lifecycle, "m", number, State.AVAILABLE)
        assert states(lifecycle, "broken") == {1: State.LOADING}


def test_load_threads_bound_the_loads_at_the_same_time() -> None:
    load = Loads()
    load.gates = {(name, 1): threading.Event() for name in "abcd"}
    with running(load, num_load_threads=2) as lifecycle:
        want(lifecycle, "other", 1)
        lifecycle.wait(["other"])
        for name in "abcd":
            want(lifecycle, name, 1)
        until(lambda: loads_at_once(load, "abcd") == 2)
        want(lifecycle, "other")
        reach(lifecycle, "other", 1, State.END)  # a later step than a third load would have been
        assert states(lifecycle, "c") == states(lifecycle, "d") == {1: State.START}
        load.gates["b", 1].set()
        until(lambda: load.tries("c", 1))
        for gate in load.gates.values():
            gate.set()
        lifecycle.wait("bcd")


def test_initial_loads_have_threads_of_their_own_number() -> None:
    load = Loads()
    load.gates = {(name, 1): threading.Event() for name in "abc"}
    lifecycle = Lifecycle(load, Settings(**{**FAST, "num_load_threads": 0, "max_initial_load_threads": 3}))
    lifecycle.start()
    for name in "abc":
        want(lifecycle, name, 1)
    until(lambda: loads_at_once(load, "abc") == 3)
    lifecycle.end_initial_loads()
    for gate in load.gates.values():
        gate.set()
    lifecycle.wait("abc")
    lifecycle.stop(10)


def test_a_version_that_was_never_begun_ends_when_nobody_wants_it() -> None:
    load = Loads()
    load.gates["a", 1] = threading.Event()
    with running(load, num_load_threads=1) as lifecycle:
        want(lifecycle, "a", 1)
        until(lambda: load.tries("a", 1))
        want(lifecycle, "b", 1)
        assert states(lifecycle, "b") == {1: State.START}
        want(lifecycle, "b")
        reach(lifecycle, "b", 1, State.END)
        assert not load.tries("b", 1)


def test_waiting_takes_the_highest_version_that_got_somewhere() -> None:
    load = Loads()
    load.broken["m", 2] = broken("two is broken")
    load.gates["m", 1] = threading.Event()
    with running(load, max_num_load_retries=0) as lifecycle:
        want(lifecycle, "m", 1, 2)
        assert {key: str(error) for key, error in lifecycle.wait(["m"]).items()} == {
            ("m", 2): "NOT_FOUND: two is broken"
        }
        load.gates["m", 1].set()
        load.gates["n", 2] = threading.Event()
        want(lifecycle, "n", 1, 2)
        assert lifecycle.wait(["n"]) == {}  # 1 is available, and 2 has got nowhere yet


def test_waiting_does_not_take_what_a_model_was_before_it_was_removed() -> None:
    load = Loads()
    load.broken["m", 1] = broken()
    load.gates["other", 1] = threading.Event()
    with running(load, max_num_load_retries=0, num_load_threads=0) as lifecycle:
        want(lifecycle, "m", 1)
        lifecycle.wait(["m"])
        want(lifecycle, "other", 1)  # without load threads nothing moves now
        until(lambda: load.tries("other", 1))
        want(lifecycle, "m")
        failed: list[object] = []
        waiting = Background(lambda: failed.append(lifecycle.wait(["m"])))
        del load.broken["m", 1]
        want(lifecycle, "m", 1)
        load.gates["other", 1].set()
        assert waiting.result() is None
        assert failed == [{}]


def test_stopping_frees_everything_that_is_loaded() -> None:
    load = Loads()
    with running(load) as lifecycle:
        want(lifecycle, "m", 1, 2)
        want(lifecycle, "n", 1)
        until(lambda: len(lifecycle.serving.specific) == 3)
        lifecycle.stop(10)
        assert all(is_free(each) for each in load.loaded)
        assert not lifecycle.serving.specific
        assert states(lifecycle, "m") == {2: State.END, 1: State.END}
        lifecycle.stop(10)
        want(lifecycle, "m", 3)
        assert load.tries("m", 3) == 0


def test_stopping_ends_retries_and_leaves_a_stuck_request_to_the_end_of_the_process() -> None:
    load = Loads()
    load.broken["n", 1] = broken()
    with running(load, load_retry_interval_micros=3_600_000_000) as lifecycle:
        want(lifecycle, "m", 1)
        lifecycle.wait(["m"])
        want(lifecycle, "n", 1)
        until(lambda: load.tries("n", 1))
        assert lifecycle.serving.latest["m"].acquire()
        assert Background(lambda: lifecycle.stop(0.05)).result() is None
        reach(lifecycle, "n", 1, State.END)
        assert states(lifecycle, "m") == {1: State.UNLOADING}
        load.loaded[0].release()
        reach(lifecycle, "m", 1, State.END)


@pytest.mark.parametrize("threads", [0, 1])
def test_stopping_waits_for_a_load_under_way_and_frees_it(threads: int) -> None:
    load = Loads()
    load.gates["m", 1] = threading.Event()
    with running(load, num_load_threads=threads) as lifecycle:
        want(lifecycle, "m", 1)
        until(lambda: load.tries("m", 1))
        stop = Background(lambda: lifecycle.stop(30))
        load.gates["m", 1].set()
        assert stop.result() is None
        assert is_free(load.loaded[0])
        assert states(lifecycle, "m") == {1: State.END}


def test_a_lifecycle_that_never_started_stops() -> None:
    Lifecycle(Loads(), Settings()).stop(1)
