"""Loading and freeing one version, whatever happens meanwhile."""

import logging
import threading
from collections.abc import Callable

from serving.model_server.servable import Servable
from serving.status import Code, StatusError, from_exception

Load = Callable[[str, int, str], Servable]  # model name, version, directory

log = logging.getLogger(__name__)


def load_with_retries(
    load: Callable[[], Servable], what: str, retries: int, interval_s: float, cancelled: threading.Event
) -> Servable | StatusError:
    """Tries until it succeeds, the tries are used up, or nobody wants it any more.

    Args:
        load: one try.
        what: the version, for the log.
        retries: tries after the first.
        interval_s: between two tries.
        cancelled: ends the wait for the next try; a try under way cannot be ended.

    Returns:
        What was loaded, or why the last try failed.
    """
    error = StatusError(Code.UNKNOWN, "never tried")
    tries = max(retries, 0) + 1
    for attempt in range(tries):
        if attempt and cancelled.wait(interval_s):
            log.info("%s is not tried again: it is no longer wanted", what)
            break
        try:
            return load()
        except BaseException as raised:  # whatever it is, it ends this version and nothing else
            status = from_exception(raised)
            # The status is kept for good, and what was raised would keep the frames, and so the memory, of the load.
            error = StatusError(status.code, status.message)
            defect = raised if error.code is Code.INTERNAL else None
            log.error("%s cannot be loaded (try %d of %d): %s", what, attempt + 1, tries, error, exc_info=defect)
    return error


def free(servable: Servable, what: str) -> StatusError | None:
    """Waits, without limit, for the requests in flight and frees the memory; returns what went wrong, if anything."""
    try:
        servable.retire()
    except BaseException as raised:
        log.exception("%s cannot be freed", what)
        status = from_exception(raised)
        return StatusError(status.code, status.message)
    return None
