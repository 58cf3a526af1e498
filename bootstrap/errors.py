"""The one error of the set-up."""


class SetupError(Exception):
    """This host cannot be set up as asked; the message says what was expected, what was found, and the remedy."""
