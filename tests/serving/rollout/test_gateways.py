"""Asking gateways for their tallies: several, away, slow, talking nonsense, behind one name, over TLS."""

import itertools
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from serving.errors import InputError
from serving.rollout import gateways
from serving.rollout.gateways import Gateways, Tls
from serving.tallies import Tally, to_json
from tests.serving.gateway.running import gateway
from tests.serving.model_server import certificates
from tests.serving.model_server.conformance.process import free_port
from tests.serving.rollout.stub_gateway import content, key, raw, stub

TALLIES = {key(): Tally(keyed=5), key("canary"): Tally(keyed=2)}
LIMIT_S = 10.0


@pytest.fixture
def asking(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Makes Gateways that are closed in the end."""
    made: list[Gateways] = []

    def make(*urls: str, **more: Any) -> Gateways:
        made.append(Gateways(urls, **{"limit_s": LIMIT_S, **more}))
        return made[-1]

    yield make
    for one in made:
        one.close()


def named(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Every host name stands for these addresses."""

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        family = [socket.AF_INET6 if ":" in one else socket.AF_INET for one in addresses]
        return [
            (one, socket.SOCK_STREAM, 6, "", (address, port)) for one, address in zip(family, addresses, strict=True)
        ]

    monkeypatch.setattr(gateways, "getaddrinfo", getaddrinfo)


def test_every_gateway_is_asked_each_time(asking: Any) -> None:
    with stub(content("a", TALLIES)) as a, stub(content("b", {})) as b:
        both = asking(a.url, b.url + "/")
        for _ in range(3):
            found = both.ask()
            assert (found.said, found.answered, found.gaps) == ({"a": TALLIES, "b": {}}, 2, ())
        assert a.asked == [("/v1/tallies", f"127.0.0.1:{a.port}")] * 3
        a.answer = content("a", {key(): Tally(keyed=9)})
        assert both.ask().said["a"] == {key(): Tally(keyed=9)}


def test_a_path_before_the_tallies_is_kept(asking: Any) -> None:
    with stub(content("a", {})) as a:
        assert asking(f"{a.url}/gateway/").ask().answered == 1
        assert a.asked[0][0] == "/gateway/v1/tallies"


def test_without_gateways_nobody_answers(asking: Any) -> None:
    assert asking().ask().answered == 0


def test_one_that_is_away_is_a_gap_until_it_comes(asking: Any) -> None:
    port = free_port()
    one = asking(f"http://127.0.0.1:{port}")
    found = one.ask()
    assert (found.said, found.answered) == ({}, 0)
    assert found.gaps == (f"gateway 127.0.0.1:{port}: [Errno 111] Connection refused",)
    with stub(content("a", TALLIES), port=port):
        assert one.ask().said == {"a": TALLIES}
    assert one.ask().answered == 0
    with stub(content("b", TALLIES), port=port):
        assert one.ask().said == {"b": TALLIES}


NONSENSE = {
    "empty": raw(b""),
    "not JSON": raw(b"<html>welcome</html>"),
    "half": raw(to_json("a", TALLIES)[:60]),
    "a list": raw(b"[[[[]]]]"),
    "deep": raw(b"[" * 100_000),
    "not UTF-8": raw(b"\xff\xfe\x00"),
    "other format": raw(b'{"format": 99, "instance": "a", "tallies": []}'),
    "negative": raw(to_json("a", {key(): Tally(keyed=-1)})),
    "no name": raw(to_json("a\0b", TALLIES)),
    "long name": raw(to_json("a" * 1000, TALLIES)),
    "not found": raw(b"{}", status=404),
    "moved": raw(b"", status=302),
    "broken off": raw(to_json("a", TALLIES), length=10**6),
    "no HTTP": lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n") and None,
    "nothing": lambda handler: handler.connection.shutdown(socket.SHUT_RDWR),
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
def test_one_that_talks_nonsense_is_a_gap_and_the_others_count(asking: Any, nonsense: Any) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        nonsense(handler)

    with stub(answer) as bad, stub(content("b", TALLIES)) as good:
        found = asking(bad.url, good.url).ask()
        assert (found.said, found.answered, len(found.gaps)) == ({"b": TALLIES}, 1, 1)
        assert found.gaps[0].startswith(f"gateway 127.0.0.1:{bad.port}: ")
        assert len(found.gaps[0]) < 260


def test_one_that_hangs_or_drips_holds_up_nobody(asking: Any) -> None:
    over = threading.Event()

    def hangs(handler: BaseHTTPRequestHandler) -> None:
        over.wait(30)

    def drips(handler: BaseHTTPRequestHandler) -> None:
        raw(b"", length=10**6)(handler)
        while not over.wait(0.05):
            handler.wfile.write(b" ")

    with stub(hangs) as a, stub(drips) as b, stub(content("c", TALLIES)) as c:
        try:
            asked = asking(a.url, b.url, c.url, limit_s=1.0)
            for _ in range(3):
                found = asked.ask()
                assert (found.said, found.answered, len(found.gaps)) == ({"c": TALLIES}, 1, 2)
            assert len(a.asked) <= 3
        finally:
            over.set()


def test_one_that_says_more_than_anybody_wants_is_a_gap(asking: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "MOST_BYTES", 1000)
    with stub(raw(b" " * 5000)) as a:
        assert "bytes in" in asking(a.url).ask().gaps[0]


def test_a_name_stands_for_every_gateway_behind_it(asking: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, "127.0.0.2", "127.0.0.3", "::1")
    monkeypatch.setattr(gateways, "RESOLVED_FOR_S", 0.0)
    with stub(content("a", TALLIES), "127.0.0.2") as a:
        one = asking(f"http://gateways:{a.port}")
        with stub(content("b", {}), "127.0.0.3", a.port):
            assert one.ask().said == {"a": TALLIES, "b": {}}
            assert a.asked == [("/v1/tallies", f"gateways:{a.port}")]
        assert one.ask().gaps == (f"gateway gateways:{a.port} (127.0.0.3): [Errno 111] Connection refused",)
        named(monkeypatch, "127.0.0.2")
        assert one.ask().gaps == ()


def test_addresses_are_remembered_where_the_name_cannot_be_looked_up(
    asking: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(gateways, "RESOLVED_FOR_S", 0.0)
    with stub(content("a", TALLIES)) as a:
        one = asking(f"http://gateways:{a.port}")
        monkeypatch.setattr(gateways, "getaddrinfo", fails)
        assert one.ask().gaps == (f"gateway gateways:{a.port}: [Errno -3] Temporary failure in name resolution",)
        named(monkeypatch, "127.0.0.1")
        assert one.ask().said == {"a": TALLIES}
        monkeypatch.setattr(gateways, "getaddrinfo", fails)
        assert one.ask().said == {"a": TALLIES}


def test_a_name_server_that_hangs_is_waited_for_no_longer(asking: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    over, calls = threading.Event(), itertools.count(1)

    def hangs(*_: Any, **__: Any) -> list[Any]:
        next(calls)
        over.wait(30)
        return []

    monkeypatch.setattr(gateways, "getaddrinfo", hangs)
    one = asking("http://gateways:1", limit_s=0.05)
    try:
        for _ in range(3):
            assert one.ask().gaps == ("gateway gateways:1: no answer within 0.05 s",)
        assert next(calls) == 2
    finally:
        over.set()


def test_over_tls_both_sides_are_checked(asking: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named(monkeypatch, "127.0.0.1")
    authority = certificates.authority("ca")
    (tmp_path / "ca").write_bytes(authority.pem)
    for host in ("gateway.test", "controller.test"):
        for kind, pem in zip(("key", "crt"), authority.issue(host), strict=True):
            (tmp_path / f"{host}.{kind}").write_bytes(pem)
    ca, cert, private = (str(tmp_path / name) for name in ("ca", "controller.test.crt", "controller.test.key"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "gateway.test.crt", tmp_path / "gateway.test.key")
    with stub(content("a", TALLIES), tls=context) as a:
        url = f"https://gateway.test:{a.port}"
        assert asking(url, tls=Tls(ca)).ask().said == {"a": TALLIES}
        for other, tls in ((f"https://other.test:{a.port}", Tls(ca)), (url, None)):
            found = asking(other, tls=tls).ask()
            assert found.answered == 0
            assert "certificate" in found.gaps[0]
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(ca)
    with stub(content("a", TALLIES), tls=context) as a:
        url = f"https://gateway.test:{a.port}"
        assert asking(url, tls=Tls(ca, cert, private)).ask().answered == 1
        assert asking(url, tls=Tls(ca)).ask().answered == 0
        assert asking(url, tls=Tls(ca, "/nowhere", "/nowhere")).ask().answered == 0


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:80", "ftp://a", "http://", "http://a?b", "http://me:secret@a", "http://a:99999", "http://[::1"],
)
def test_what_is_no_gateways_url_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="gateway's URL is like http"):
        Gateways([url])


def test_a_real_gateway_says_what_it_counted(asking: Any, tmp_path: Path) -> None:
    with gateway(tmp_path, f"--grpc-upstream=127.0.0.1:{free_port()}") as running:
        found = asking(f"http://127.0.0.1:{running.rest_port}").ask()
        assert (found.answered, found.gaps) == (1, ())
        assert list(found.said.values()) == [{}]
