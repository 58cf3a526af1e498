"""Trying again: only what is UNAVAILABLE, with growing pauses, never past the deadline."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from serving.status import Code, StatusError

T = TypeVar("T")


@dataclass(frozen=True)
class Retry:
    """How often, and with which pauses.

    Attributes:
        tries: the first one counts; None is as many as fit before the deadline.
        first_s: the longest pause before the second try; each further one is twice as long.
        longest_s: that no pause exceeds.
        clock, sleep, jitter: seconds of a steady clock; waits so many; a random number of [0, 1].
    """

    tries: int | None = 5
    first_s: float = 0.05
    longest_s: float = 1.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random

    def call(self, attempt: Callable[[float], T], timeout_s: float) -> T:
        """What `attempt` returns, given the seconds that are left.

        Raises:
            StatusError: `attempt`'s own, the last one where it was tried again; DEADLINE_EXCEEDED where no time was
                given at all.
        """
        end = self.clock() + timeout_s
        longest_s, tried = self.first_s, 0
        while (left := end - self.clock()) > 0:
            try:
                return attempt(left)
            except StatusError as error:
                tried += 1
                # Half of the pause is drawn, so that clients that failed together do not come back together.
                pause_s = min(longest_s, self.longest_s) * (0.5 + 0.5 * self.jitter())
                if error.code != Code.UNAVAILABLE or tried == self.tries or self.clock() + pause_s >= end:
                    raise
            self.sleep(pause_s)
            longest_s *= 2
        raise StatusError(Code.DEADLINE_EXCEEDED, f"Timed out after {timeout_s:g} s.")


RETRY = Retry()
