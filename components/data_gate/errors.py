"""How the data gate stops the line."""

from serving.errors import InputError

__all__ = ["DataGateError"]


class DataGateError(InputError):
    """Records that must not be learned from; the message is the gate's report."""
