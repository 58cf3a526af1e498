"""The traffic plan as the controller last published it, looked after while the gateway runs."""

import asyncio
import logging
import os
import stat
import time
from pathlib import Path

from serving.errors import InputError
from serving.traffic_plan import TrafficPlan, decode

LARGEST_BYTES = 16 << 20  # no plan is as large; what is would hold up every request while it is read
_YOUNG_NS = 1_000_000_000  # clocks of file systems tick coarsely: a younger file may change again unseen
_log = logging.getLogger(__name__)

_Signature = tuple[int, int, int]


class PlanWatch:
    """Reads the plan's file anew whenever it changes.

    A file that is gone, torn, older than the plan that is known, or no plan at all, changes nothing. Only a new process
    takes an older plan, such as one of a database that was restored.

    Attributes:
        plan: the newest good one; one without models until there is any.
        refusals: how many contents were not taken.
    """

    def __init__(self, path: Path, poll_s: float = 0.1) -> None:
        """Reads nothing yet.

        Args:
            poll_s: between two looks of `run`.
        """
        self.plan = TrafficPlan()
        self.refusals = 0
        self._path = path
        self._poll_s = poll_s
        self._signature: _Signature | None = None
        self._seen: bytes | str | None = None  # the content that was judged last, or why there was none

    async def run(self) -> None:
        """Checks for ever. On the event loop: a look is one stat, some 2 us."""
        while True:
            self.check()
            await asyncio.sleep(self._poll_s)

    def check(self) -> bool:
        """Reads the file if it has changed; never raises. Returns whether there is a new plan."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._signature = None
            return False
        except OSError as error:
            return self._refuse(f"{self._path} cannot be read: {error.strerror}")
        signature = (found.st_mtime_ns, found.st_ino, found.st_size)
        if signature == self._signature:
            return False
        # Remembered from before the reading: what is written meanwhile has another one.
        self._signature = None if abs(time.time_ns() - found.st_mtime_ns) < _YOUNG_NS else signature
        return self._read(found)

    def _read(self, found: os.stat_result) -> bool:
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_BYTES:
            return self._refuse(
                f"{self._path} is not a traffic plan: a file of at most {LARGEST_BYTES} bytes is wanted"
            )
        try:
            content = self._path.read_bytes()
        except OSError as error:
            self._signature = None
            return self._refuse(f"{self._path} cannot be read: {error.strerror}")
        if content == self._seen:
            return False
        try:
            plan = decode(content, str(self._path))
        except InputError as error:
            return self._refuse(str(error), content)
        if plan.generation < self.plan.generation:
            older = f"{self._path} has generation {plan.generation}, older than {self.plan.generation}"
            return self._refuse(older, content)
        self._seen = content
        self.plan = plan
        return True

    def _refuse(self, why: str, content: bytes | None = None) -> bool:
        """Counts and logs each content, or each reason for none, once until another one comes."""
        seen = why if content is None else content
        if seen != self._seen:
            self._seen = seen
            self.refusals += 1
            _log.error("%s; the plan of generation %d stays", why, self.plan.generation)
        return False
