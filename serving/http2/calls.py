"""What a gRPC server is asked, and what it answers."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from serving.http2.hpack import Header
from serving.status import StatusError


class Call(NamedTuple):
    """What a client asks.

    Attributes:
        path: /package.Service/Method.
        message: not compressed.
        metadata: all of its headers, by lower-case name; of a repeated one the last.
        timeout_s: from now; None for no deadline.
    """

    path: bytes
    message: bytes
    metadata: dict[bytes, bytes]
    timeout_s: float | None


class Reply(NamedTuple):
    """What it gets.

    Attributes:
        message: of a success.
        trailing: metadata behind it.
        error: None for a success.
    """

    message: bytes
    trailing: Sequence[Header] = ()
    error: StatusError | None = None


Answer = Callable[[Call], "Reply | Coroutine[Any, Any, Reply]"]
