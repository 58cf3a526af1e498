"""What a request's method and path ask for, by TF Serving's rules: the path, query included, is matched as a whole."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast
from urllib.parse import unquote_to_bytes

LARGEST_VERSION = 2**63 - 1
_LONGEST_REMEMBERED = 256  # bytes of a target

Action = Literal["predict", "classify", "regress", "status", "metadata", "options", "metrics", "refused", "unknown"]

_PLACE = r"/v1/models(?:/([^/:]+))?(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_INFERENCE = re.compile(_PLACE.replace("(?:/([^/:]+))?", "/([^/:]+)", 1) + r":(classify|regress|predict)", re.I | re.A)
_ABOUT = re.compile(_PLACE + r"(?:/(metadata))?", re.I | re.A)
_DISPATCHED = re.compile(r"/v1/.*", re.I | re.A | re.S)
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#]*", re.I | re.A)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes.

    Attributes:
        action: `refused` is a path under /v1 that means nothing (400), `unknown` one outside of it (404).
        name: of the model, decoded; '' where the path has none. Metrics are labelled with it, also when refused.
        version, label: at most one of them is set.
        method: the verb behind the colon as it was written; metrics are labelled with it.
        message: why it is refused.
    """

    action: Action
    name: str = ""
    version: int | None = None
    label: str | None = None
    method: str = ""
    message: str = ""


def find(method: str, target: bytes, metrics_path: str | None = None) -> Route:
    """The route of one request; those of short targets are remembered.

    Args:
        method: upper-case, as it came.
        target: the request target as it came, still percent-encoded.
        metrics_path: where metrics are, None for nowhere; it goes before /v1.
    """
    if len(target) <= _LONGEST_REMEMBERED:
        return _remembered(method, target, metrics_path)
    return _find(method, target, metrics_path)


def _find(method: str, target: bytes, metrics_path: str | None) -> Route:
    path = target.decode("utf-8", "replace")
    if not path.startswith("/"):
        path = _ABSOLUTE.sub("", path, count=1)
    bare = re.split(r"[?#]", path, maxsplit=1)[0]
    if bare == metrics_path:
        message = "" if path == bare else f"Unexpected path: {path}. Should be {metrics_path}"
        return Route("metrics", message=message)
    if not _DISPATCHED.fullmatch(path):
        return Route("unknown")
    if method == "OPTIONS":
        return Route("options")
    found = {"POST": _INFERENCE, "GET": _ABOUT}[method].fullmatch(path) if method in ("POST", "GET") else None
    if found is None:
        return Route("refused", message=f"Malformed request: {method} {path}")
    return _matched(method, path, *found.groups())


_remembered = lru_cache(1024)(_find)


def _matched(
    method: str, path: str, name: str | None, digits: str | None, label: str | None, last: str | None
) -> Route:
    name, label = _decoded(name or ""), None if label is None else _decoded(label)
    verb = last or "" if method == "POST" else ""
    version = None if digits is None else int(digits.lstrip("0")[:20] or "0")  # Python refuses to read thousands
    if version is not None and version > LARGEST_VERSION:
        return Route("refused", name, method=verb, message=f"Failed to convert version: {digits} to numeric.")
    if method == "GET":
        if not name:
            return Route("refused", message="Missing model name in request.")
        return Route("metadata" if last == "metadata" else "status", name, version, label)
    if verb in ("predict", "classify", "regress"):
        return Route(cast(Action, verb), name, version, label, verb)
    return Route("refused", name, method=verb, message=f"Malformed request: {method} {path}")


def _decoded(part: str) -> str:
    return unquote_to_bytes(part).decode("utf-8", "replace")
