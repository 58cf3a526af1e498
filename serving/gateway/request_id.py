"""The id by which a request's answer, log row and feedback find each other."""

import re
import secrets
from hashlib import blake2b

LONGEST = 128
_VISIBLE = re.compile(rb"[!-~]{1,128}")


def request_id(given: bytes | None) -> str:
    """The client's own id where it is 1 to 128 visible ASCII characters, else a new one of 128 random bits.

    Args:
        given: the header or metadata `x-request-id`.
    """
    if given is not None and _VISIBLE.fullmatch(given):
        return given.decode("ascii")
    return secrets.token_hex(16)


def sampled(request_id: str, rate: float) -> bool:
    """Whether this request is one of the share `rate` that is logged: by hash, so that all gateways say the same.

    Not by the hash that assigns variants: clients may send the user's name as the id, and then the sample would hold
    one variant alone.

    Args:
        rate: 0 (none) to 1 (all).
    """
    if rate >= 1:
        return True
    if rate <= 0:
        return False
    digest = blake2b(request_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < rate * 2.0**64
