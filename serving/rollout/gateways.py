"""Asks every gateway what it has counted. One that is away, slow, or talks nonsense is a gap, and holds up nobody."""

import ipaddress
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from socket import AF_INET, AF_INET6, SOCK_STREAM, getaddrinfo
from typing import Any

import urllib3
from urllib3.util import Timeout, parse_url

from serving.errors import InputError
from serving.rollout.background import begin
from serving.tallies import Tally, TallyKey, from_json

PATH = "/v1/tallies"
LIMIT_S = 1.0
RESOLVED_FOR_S = 5.0
MOST_BYTES = 64 << 20
CHUNK_BYTES = 1 << 20
MOST_NAME = 200
_FAMILIES = (AF_INET, AF_INET6)
Tallies = Mapping[TallyKey, Tally]


@dataclass(frozen=True)
class Asked:
    """What one round brought.

    Attributes:
        said: gateway's instance -> its tallies since it started.
        answered: how many addresses gave tallies.
        gaps: why the others did not, a line each.
    """

    said: Mapping[str, Tallies]
    answered: int
    gaps: tuple[str, ...]


@dataclass(frozen=True)
class Tls:
    """PEM files for https.

    Attributes:
        ca_file: whom to trust, instead of the system's authorities.
        cert_file, key_file: who asks, for gateways that want to know.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


@dataclass(frozen=True)
class _Base:
    """A base URL, taken apart."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def shown(self) -> str:
        return f"{self.host}:{self.port}"


_Target = tuple[_Base, str]  # and the address; "" for looking addresses up


class Gateways:
    """All gateways by their base URLs. For one thread at a time."""

    def __init__(self, urls: Sequence[str], tls: Tls | None = None, limit_s: float = LIMIT_S) -> None:
        """
        Args:
            urls: such as `http://127.0.0.1:8500`. A host name with several addresses stands for as many gateways; IPv6
                ones are asked where there is no IPv4 one.
            tls: for https.
            limit_s: how long an answer may take; `ask` takes twice that at most.

        Raises:
            InputError: not the URL of a gateway.
        """
        self._bases = [_parsed(url) for url in urls]
        self._tls, self._limit_s = tls or Tls(), limit_s
        self._pending: dict[_Target, Future[Any]] = {}
        self._resolved: dict[_Base, tuple[tuple[str, ...], float]] = {}
        self._pools: dict[_Target, urllib3.HTTPConnectionPool] = {}

    def ask(self) -> Asked:
        """Asks all of them at once; never raises."""
        gaps: list[str] = []
        targets = [(base, address) for base in self._bases for address in self._addresses(base, gaps)]
        self._forget(set(targets))
        said: dict[str, Tallies] = {}
        answered = 0
        work = {target: partial(_fetched, self._pool(*target), target[0], self._limit_s) for target in targets}
        for (base, address), found in self._together(work).items():
            if isinstance(found, Exception):
                where = base.shown if address == base.host else f"{base.shown} ({address})"
                gaps.append(f"gateway {where}: {_why(found)}")
            else:
                answered += 1
                said[found[0]] = found[1]
        return Asked(said, answered, tuple(gaps))

    def close(self) -> None:
        """Ends connections; threads that still wait for a gateway end by their limit."""
        for pool in self._pools.values():
            pool.close()

    def _addresses(self, base: _Base, gaps: list[str]) -> tuple[str, ...]:
        if _is_address(base.host):
            return (base.host,)
        known, since = self._resolved.get(base, ((), -RESOLVED_FOR_S))
        if time.monotonic() - since < RESOLVED_FOR_S:
            return known
        found = self._together({(base, ""): partial(_resolved, base)})[base, ""]
        if isinstance(found, Exception):
            if not known:
                gaps.append(f"gateway {base.shown}: {_why(found)}")
            return known
        self._resolved[base] = found, time.monotonic()
        return self._resolved[base][0]

    def _together(self, work: Mapping[_Target, Callable[[], Any]]) -> dict[_Target, Any]:
        """What came of each, or the exception; what hangs is waited for again next time, and not begun anew."""
        for target, call in work.items():
            if target not in self._pending:
                self._pending[target] = begin(partial(_outcome, call), "gateway")
        wait([self._pending[target] for target in work], self._limit_s)
        late = TimeoutError(f"no answer within {self._limit_s:g} s")
        return {target: self._pending.pop(target).result() if self._pending[target].done() else late for target in work}

    def _forget(self, targets: set[_Target]) -> None:
        for target in [one for one, future in self._pending.items() if one not in targets and future.done()]:
            del self._pending[target]
        for target in self._pools.keys() - targets - self._pending.keys():
            self._pools.pop(target).close()

    def _pool(self, base: _Base, address: str) -> urllib3.HTTPConnectionPool:
        if (base, address) not in self._pools:
            limits: dict[str, Any] = {"timeout": Timeout(self._limit_s, self._limit_s), "retries": False}
            if base.scheme == "https":
                files = {
                    "ca_certs": self._tls.ca_file,
                    "cert_file": self._tls.cert_file,
                    "key_file": self._tls.key_file,
                }
                named: dict[str, Any] = {"server_hostname": base.host, **files}
                pool: urllib3.HTTPConnectionPool = urllib3.HTTPSConnectionPool(address, base.port, **limits, **named)
            else:
                pool = urllib3.HTTPConnectionPool(address, base.port, **limits)
            self._pools[base, address] = pool
        return self._pools[base, address]


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # what comes over the network may make nearly anything raise
        return error


def _fetched(pool: urllib3.HTTPConnectionPool, base: _Base, limit_s: float) -> tuple[str, Tallies]:
    """The instance and its tallies."""
    begin = time.monotonic()
    host = f"[{base.host}]" if ":" in base.host else base.host
    headers = {"Host": f"{host}:{base.port}", "Accept": "application/json"}
    response = pool.urlopen("GET", base.path + PATH, headers=headers, redirect=False, preload_content=False)
    content = bytearray()
    try:
        while chunk := response.read1(CHUNK_BYTES):
            content += chunk
            # The limit of a read holds for each part of it: a gateway that drips would hold the thread for ever.
            if len(content) > MOST_BYTES or time.monotonic() - begin > limit_s:
                raise ValueError(f"{len(content)} bytes in {time.monotonic() - begin:.1f} s and still no end")
    except BaseException:
        response.close()
        raise
    response.release_conn()
    if response.status != 200:
        raise ValueError(f"answered with status {response.status}")
    instance, tallies = from_json(bytes(content))
    if not instance.isprintable() or len(instance) > MOST_NAME:
        raise ValueError("its instance has no printable name")
    return instance, tallies


def _resolved(base: _Base) -> tuple[str, ...]:
    found = getaddrinfo(base.host, base.port, type=SOCK_STREAM)
    by_family = {family: sorted({str(one[4][0]) for one in found if one[0] is family}) for family in _FAMILIES}
    return tuple(next((addresses for addresses in by_family.values() if addresses), []))


def _parsed(url: str) -> _Base:
    try:
        parts = parse_url(url)
    except ValueError:
        parts = parse_url("")
    if parts.scheme not in ("http", "https") or not parts.host or parts.query or parts.auth:
        raise InputError(f"a gateway's URL is like http://127.0.0.1:8600; got {url!r}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return _Base(parts.scheme, parts.host.strip("[]"), port, (parts.path or "").rstrip("/"))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _why(error: Exception) -> str:
    """For people, in a line; urllib3 puts the cause last."""
    said = str(error) or type(error).__name__
    return (said if isinstance(error, ValueError) else said.rpartition(": ")[2])[:200]
