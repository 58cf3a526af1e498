"""Work that may hang, in a thread that nobody waits for: not even the end of the process."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_Result = TypeVar("_Result")


def begin(call: Callable[[], _Result], name: str) -> Future[_Result]:
    """Calls it in a thread of its own. The future holds what it returns or raises."""
    future: Future[_Result] = Future()

    def work() -> None:
        try:
            result = call()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=work, name=name, daemon=True).start()
    return future
