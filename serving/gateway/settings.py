"""Everything that a gateway can be told. `__main__` has one flag for each field; nothing heavy is imported here."""

import math
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from serving.errors import InputError
from serving.home import home
from serving.traffic_plan import plan_path

REST_PORT, GRPC_PORT = 8600, 8610
_INSTANCE = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class Settings:
    """What `--help` says; a path that is None is not used. `check` says whether they can stand together."""

    rest_host: Annotated[str, "address that REST listens on; 0.0.0.0 lets other hosts in"] = "127.0.0.1"
    rest_port: Annotated[int, "of REST; 0 is any free one"] = REST_PORT
    grpc_host: Annotated[str, "address that gRPC listens on"] = "127.0.0.1"
    grpc_port: Annotated[int, "of gRPC; 0 is any free one"] = GRPC_PORT
    rest_upstream: Annotated[tuple[str, ...], "URL of a model server's REST port; once for each replica"] = (
        "http://127.0.0.1:8501",
    )
    grpc_upstream: Annotated[tuple[str, ...], "HOST:PORT of a model server's gRPC port; once for each replica"] = (
        "127.0.0.1:8500",
    )
    plan: Annotated[Path, "the traffic plan that the rollout's controller writes"] = field(default_factory=plan_path)
    impressions: Annotated[str, "folder for impressions and feedback, a path or fsspec URL; empty for none"] = field(
        default_factory=lambda: str(home() / "serving" / "impressions")
    )
    sampling_rate: Annotated[float, "share of requests whose impressions are written, 0 to 1"] = 1.0
    flush_s: Annotated[float, "seconds after which rows are written at the latest"] = 10.0
    key_field: Annotated[
        str, "input whose first element is the user's key where there is no x-user-id; empty for none"
    ] = ""
    timeout_s: Annotated[float, "longest time for a request, in seconds"] = 30.0
    canary_time_share: Annotated[
        float, "part of a request's time that the canary may use up, so that stable can still answer after it"
    ] = 0.5
    max_in_flight: Annotated[int, "requests worked on at a time; those beyond are refused with 429"] = 512
    max_body_bytes: Annotated[int, "largest request body, in bytes"] = 64 << 20
    shadow_in_flight: Annotated[int, "copies (shadow mode) worked on at a time; those beyond are not made"] = 32
    shadow_timeout_s: Annotated[float, "longest time for a copy, in seconds"] = 5.0
    token_file: Annotated[Path | None, "bearer token that feedback needs; default: $PRESSLINE_TOKEN, else none"] = None
    secret_file: Annotated[Path, "secret that users' keys are hashed with, the same at all gateways; made once"] = (
        field(default_factory=lambda: home() / "serving" / "gateway.secret")
    )
    tls_cert: Annotated[Path | None, "PEM certificate chain: both ports speak TLS; needs --tls-key"] = None
    tls_key: Annotated[Path | None, "PEM key of --tls-cert"] = None
    tls_client_ca: Annotated[Path | None, "PEM certificates that must have signed the clients'"] = None
    upstream_ca: Annotated[Path | None, "PEM certificates to trust: gRPC to the model servers speaks TLS"] = None
    upstream_cert: Annotated[Path | None, "PEM certificate chain to show to the model servers"] = None
    upstream_key: Annotated[Path | None, "PEM key of --upstream-cert"] = None
    upstream_server_name: Annotated[str, "name to expect in the model servers' certificates; empty: their host"] = ""
    name: Annotated[str, "of this gateway, in tallies and file names"] = field(
        default_factory=lambda: socket.gethostname()[:64]
    )


FILES = ("token_file", "tls_cert", "tls_key", "tls_client_ca", "upstream_ca", "upstream_cert", "upstream_key")


def check(settings: Settings) -> None:
    """Looks at every value and file, so that a mistake is told at once and not by the first request.

    Raises:
        InputError: names the flag.
    """
    for name, allowed, wanted in _RANGES:
        value = getattr(settings, name)
        if not math.isfinite(value) or not allowed(value):
            raise InputError(f"{flag(name)} {value!r}: expected {wanted}")
    for name in ("rest_host", "grpc_host"):
        if not getattr(settings, name):
            raise InputError(f"{flag(name)} is empty; 127.0.0.1 is this machine alone, 0.0.0.0 every IPv4 address")
    if settings.rest_port and settings.rest_port == settings.grpc_port and settings.rest_host == settings.grpc_host:
        raise InputError(f"--rest-port and --grpc-port are both {settings.rest_port}; give each its own")
    if not _INSTANCE.fullmatch(settings.name):
        raise InputError(f"--name {settings.name!r}: expected 1 to 64 letters, digits, dots, dashes, underscores")
    _check_upstreams(settings)
    _check_files(settings)


def flag(name: str) -> str:
    """The flag of a field."""
    return "--" + name.replace("_", "-")


_Range = tuple[str, Callable[[float], bool], str]
_RANGES: tuple[_Range, ...] = (
    ("rest_port", lambda value: 0 <= value <= 65535, "a port, 0 to 65535"),
    ("grpc_port", lambda value: 0 <= value <= 65535, "a port, 0 to 65535"),
    ("sampling_rate", lambda value: 0 <= value <= 1, "a share from 0 to 1"),
    ("flush_s", lambda value: value > 0, "seconds, more than 0"),
    ("timeout_s", lambda value: value > 0, "seconds, more than 0"),
    ("canary_time_share", lambda value: 0 < value <= 1, "a share above 0, at most 1"),
    ("max_in_flight", lambda value: value >= 1, "at least 1"),
    ("max_body_bytes", lambda value: 1 <= value < 2**31, "1 to 2147483647 bytes"),
    ("shadow_in_flight", lambda value: value >= 0, "0 or more"),
    ("shadow_timeout_s", lambda value: value > 0, "seconds, more than 0"),
)


def _check_upstreams(settings: Settings) -> None:
    if not settings.rest_upstream or not settings.grpc_upstream:
        raise InputError("--rest-upstream and --grpc-upstream: at least one of each is needed")
    for url in settings.rest_upstream:
        try:
            parts = urlsplit(url)
            right = parts.scheme == "http" and parts.hostname and parts.port != 0 and parts.path in ("", "/")
        except ValueError:
            right = False
        if not right or parts.query or parts.fragment or parts.username:
            raise InputError(f"--rest-upstream {url!r}: expected http://HOST:PORT of a model server")
    for target in settings.grpc_upstream:
        host, _, port = target.rpartition(":")
        is_port = port.isascii() and port.isdigit() and 0 < int(port) <= 65535
        if not target.startswith("unix:") and not (host and "/" not in host and is_port):
            raise InputError(f"--grpc-upstream {target!r}: expected HOST:PORT of a model server, or unix:PATH")


def _check_files(settings: Settings) -> None:
    for first, second in (("tls_cert", "tls_key"), ("upstream_cert", "upstream_key")):
        if (getattr(settings, first) is None) != (getattr(settings, second) is None):
            raise InputError(f"{flag(first)} and {flag(second)} go together: one of them is missing")
    for first, second in (("tls_client_ca", "tls_cert"), ("upstream_cert", "upstream_ca")):
        if getattr(settings, first) is not None and getattr(settings, second) is None:
            raise InputError(f"{flag(first)} needs {flag(second)}")
    if settings.upstream_server_name and settings.upstream_ca is None:
        raise InputError("--upstream-server-name needs --upstream-ca")
    for name in FILES:
        path: Path | None = getattr(settings, name)
        if path is not None:
            read(path, name)


def read(path: Path, name: str) -> bytes:
    """A file of the settings.

    Args:
        name: of the field, for the error.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{flag(name)} {path}: {error.strerror}") from error
