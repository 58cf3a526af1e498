"""Versions on their way, driven by aspired sets: no file system, no configuration."""

import threading

from serving.model_server.transition import State
from tests.serving.model_server.lifecycle_fakes import Loads, broken, is_free, until
from tests.serving.model_server.lifecycle_running import reach, running, states, want


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
