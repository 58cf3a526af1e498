"""Tells of a lasting trouble once when it begins and once when it is over."""

import errno
import logging

log = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Troubles:
    """Of one kind of work. For one thread."""

    def __init__(self, what: str) -> None:
        """
        Args:
            what: is the matter, for people.
        """
        self._what = what
        self._now = ""

    def reason(self, error: Exception) -> str:
        """Notes a failure; what it is called in counts: `disk_full` or `write_failed`."""
        reason = "disk_full" if isinstance(error, OSError) and error.errno in _FULL else "write_failed"
        if reason != self._now:
            log.warning("%s: %s: %s", self._what, type(error).__name__, error)
        self._now = reason
        return reason

    def over(self) -> None:
        """Notes a success."""
        if self._now:
            log.warning("it works again; before, %s", self._what)
        self._now = ""
