"""One version: tries, the end of tries, and freeing."""

import threading

import pytest

from serving.model_server.loading import free, load_with_retries
from serving.model_server.servable import Servable
from serving.status import Code, StatusError
from tests.serving.model_server.lifecycle_fakes import Background, broken, is_free, servable, until


class Tries:
    """Fails so many times."""

    def __init__(self, failures: int, error: BaseException) -> None:
        self.left = failures
        self.error = error
        self.made = 0

    def __call__(self) -> Servable:
        self.made += 1
        if self.made <= self.left:
            raise self.error
        return servable()


def refuses(each: Servable) -> bool:
    if each.acquire():
        each.release()
        return False
    return True


@pytest.mark.parametrize("failures", [0, 1, 3])
def test_a_load_is_tried_until_it_succeeds(failures: int) -> None:
    tries = Tries(failures, broken())
    assert isinstance(load_with_retries(tries, "m version 1", 3, 0, threading.Event()), Servable)
    assert tries.made == failures + 1


@pytest.mark.parametrize("retries", [0, 2])
def test_after_the_last_try_its_error_is_the_answer(retries: int, caplog: pytest.LogCaptureFixture) -> None:
    tries = Tries(99, broken("nothing there"))
    error = load_with_retries(tries, "m version 1", retries, 0, threading.Event())
    assert isinstance(error, StatusError)
    assert str(error) == "NOT_FOUND: nothing there"
    assert tries.made == retries + 1
    last = f"m version 1 cannot be loaded (try {retries + 1} of {retries + 1}): NOT_FOUND: nothing there"
    assert caplog.messages[-1] == last


@pytest.mark.parametrize("raised", [ValueError("odd"), SystemExit("out"), KeyboardInterrupt()])
def test_whatever_a_load_raises_is_a_status(raised: BaseException) -> None:
    error = load_with_retries(Tries(1, raised), "m", 0, 0, threading.Event())
    assert isinstance(error, StatusError)
    assert error.code is Code.INTERNAL


def test_the_status_holds_nothing_of_the_failed_load() -> None:
    raised = broken()
    error = load_with_retries(Tries(1, raised), "m", 0, 0, threading.Event())
    assert isinstance(error, StatusError)
    assert error is not raised
    assert error.__traceback__ is None
    assert error.__context__ is None


def test_the_wait_for_the_next_try_ends_when_nobody_wants_it() -> None:
    tries, cancelled = Tries(99, broken()), threading.Event()
    answer: list[object] = []
    waiting = Background(lambda: answer.append(load_with_retries(tries, "m", 5, 3600, cancelled)))
    until(lambda: tries.made == 1)
    assert waiting.waits
    cancelled.set()
    assert waiting.result() is None
    assert tries.made == 1
    assert isinstance(answer[0], StatusError)
    assert answer[0].message == "No model here"


def test_freeing_waits_for_the_last_request() -> None:
    each = servable()
    assert each.acquire()
    freeing = Background(lambda: free(each, "m"))
    until(lambda: refuses(each))
    assert freeing.waits
    assert not is_free(each)
    each.release()
    assert freeing.result() is None
    assert is_free(each)


def test_memory_that_cannot_be_freed_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    each = servable()

    def fail() -> None:
        raise StatusError(Code.UNKNOWN, "stuck")

    monkeypatch.setattr(each.session, "close", fail)
    error = free(each, "m version 1")
    assert error is not None
    assert error.message == "stuck"
    assert "m version 1 cannot be freed" in caplog.text
