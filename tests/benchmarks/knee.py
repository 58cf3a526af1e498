"""Finds the knee: the highest rate at which a server still answers in time."""

from collections.abc import Callable

STEP = 1.3
CLOSE = 1.03  # neighbours that are not worth another try


def find_knee(holds: Callable[[float], bool], start: float, tries: int) -> float:
    """The highest rate tried that holds; 0 where none did.

    Geometric steps from `start`, up while it holds or down while it does not, then bisection of the last step.

    Args:
        holds: tries a rate.
        start: requests a second.
        tries: at most this many.

    Example:
        >>> round(find_knee(lambda rate: rate <= 1000, 700, 8))
        983
    """
    good, bad, rate = 0.0, 0.0, start
    for _ in range(tries):
        if holds(rate):
            good = max(good, rate)
        else:
            bad = min(bad, rate) if bad else rate
        if good and bad:
            if bad / good < CLOSE:
                break
            rate = (good * bad) ** 0.5
        else:
            rate = good * STEP if good else bad / STEP
    return good
