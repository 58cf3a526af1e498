"""The paths that model servers are asked by, once it is known which variant answers."""

from functools import lru_cache
from urllib.parse import quote

from serving.gateway.exchange import Routed


def placed(target: bytes, routed: Routed) -> bytes:
    """The target of a request that names neither version nor label, with the variant's put in.

    Args:
        target: of an inference or of metadata, as the client sent it; `serving.model_server.rest.routes` has found it
            right. A request that no plan routes keeps it.
    """
    path = target if target.startswith(b"/") else b"/" + target.split(b"/", 3)[3]  # after http://host
    if not routed.variant:
        return path
    at = max(path.rfind(b":"), 0) or path.rindex(b"/")
    return path[:at] + _place(routed.label, routed.version) + path[at:]


@lru_cache(256)
def _place(label: str | None, version: int | None) -> bytes:
    return (f"/versions/{version}" if label is None else f"/labels/{quote(label, safe='')}").encode()
