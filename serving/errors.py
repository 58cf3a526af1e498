"""Errors that a user can mend."""


class InputError(Exception):
    """Bad input: the message says what was expected, what came, where, and what to do. The CLI exits with 2."""
