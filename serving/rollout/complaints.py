"""What is wrong and for how long: said once, however often it is met, and once more when it is over."""

import logging

log = logging.getLogger(__name__)


class Complaints:
    """What is wrong now, by what it is about."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def say(self, about: str, what: object, defect: bool = False) -> None:
        """Something is wrong; said when it begins, since its words may change with every try.

        Args:
            defect: of ours, whose traceback is wanted.
        """
        if about not in self._said:
            log.log(logging.ERROR if defect else logging.WARNING, "%s: %s", about, what, exc_info=defect)
        self._said.add(about)

    def over(self, about: str) -> None:
        """It is as it should be."""
        if about in self._said:
            log.info("%s: as it should be again", about)
        self._said.discard(about)
