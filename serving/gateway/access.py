"""Who may give feedback and steer rollouts: whoever has the bearer token, where one is set."""

import hmac
import os
from pathlib import Path

from serving.errors import InputError

VARIABLE = "PRESSLINE_TOKEN"
CHALLENGE = b"WWW-Authenticate: Bearer\r\n"  # what a refusal says (RFC 6750)
_SCHEME = b"bearer "


class Access:
    """Checks the `authorization` header or metadata of a request."""

    def __init__(self, token: bytes | None = None) -> None:
        """
        Args:
            token: see `read_token`; None lets everybody in.
        """
        self._token = token

    @property
    def is_open(self) -> bool:
        """Whether everybody is let in."""
        return self._token is None

    def allows(self, authorization: bytes | None) -> bool:
        """Whether the header's value (None: there is none) has the token. The time it takes does not tell the token."""
        if self._token is None:
            return True
        if authorization is None or authorization[: len(_SCHEME)].lower() != _SCHEME:
            return False
        return hmac.compare_digest(authorization[len(_SCHEME) :].strip(), self._token)


def read_token(path: Path | None = None) -> bytes | None:
    """The token in a file, without the white space around it, or else in PRESSLINE_TOKEN; None where neither is given.

    Raises:
        InputError: the file cannot be read; or what is given is empty or has other than visible ASCII characters. An
            empty one is most likely a secret that did not arrive, and must not open the door.
    """
    if path is not None:
        try:
            return _checked(path.read_bytes(), str(path))
        except OSError as error:
            raise InputError(f"The token cannot be read from {path}: {error.strerror}") from error
    given = os.environ.get(VARIABLE)
    return None if given is None else _checked(os.fsencode(given), f"The variable {VARIABLE}")


def _checked(content: bytes, where: str) -> bytes:
    token = content.strip()
    if not token:
        raise InputError(f"{where} holds no token: it is empty")
    if not all(0x21 <= byte <= 0x7E for byte in token):
        raise InputError(f"{where} holds no token: it must be one line of visible ASCII characters without spaces")
    return token
