"""Load threads, waiting and stopping: no file system, no configuration."""

import threading

import pytest

from serving.model_server.lifecycle import Lifecycle
from serving.model_server.lifecycle_settings import Settings
from serving.model_server.transition import State
from tests.serving.model_server.lifecycle_fakes import FAST, Background, Loads, broken, is_free, until
from tests.serving.model_server.lifecycle_running import reach, running, states, want


def loads_at_once(load: Loads, names: str) -> int:
    """How many of these models' loads have begun and wait at their gate."""
    return sum(load.tries(name, 1) for name in names)


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
