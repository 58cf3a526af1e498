"""A PostgreSQL of the tests' own, that can be stopped and started. Not a test module."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

PASSWORD = "s3cret:/p@ss"
LIMIT_S = 60


class Server:
    """Asks for a password and listens on a socket file only. Made by `running`."""

    def __init__(self, folder: Path, programs: Path, user: str | None) -> None:
        self._folder = folder
        self._programs = programs
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql://pressline:s3cret%3A%2Fp%40ss@/postgres?host={folder}"

    def start(self) -> None:
        """Starts it and waits until it answers."""
        folder = self._folder
        options: list[str | Path] = ["-D", folder / "data", "-k", folder, "-h", "", "-F", "-c", "timezone=Asia/Tokyo"]
        self._process = subprocess.Popen(
            [self._programs / "postgres", *options],
            user=self._user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + LIMIT_S
        while subprocess.run([self._programs / "pg_isready", "-q", "-h", folder], check=False).returncode != 0:
            assert self._process.poll() is None
            assert time.monotonic() < deadline

    def stop(self, at_once: bool = False) -> None:
        """Ends it and every connection to it; `at_once`: without writing down what nobody will read."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if at_once else signal.SIGINT)
            self._process.wait(LIMIT_S)
            self._process = None

    def database(self) -> str:
        """The URL of a new, empty schema, which is all that its user sees: a database would be 300 files."""
        import sqlalchemy as sa

        name = f"pressline_{secrets.token_hex(4)}"
        engine = sa.create_engine(self.url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {name}")
        return f"{self.url}&options=-csearch_path%3D{name}"


@contextmanager
def running() -> Iterator[Server]:
    """A started server; skips the test where there are no PostgreSQL programs."""
    found = find_spec("pgserver")
    if found is None or found.origin is None:
        pytest.skip("no pgserver wheel, which brings the PostgreSQL programs")
    folder = Path(tempfile.mkdtemp(prefix="pressline-pg-", dir="/tmp"))  # a socket's path must be short
    try:
        package, user = Path(found.origin).parent, None
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root, and root's folders may be closed to others
            user = "nobody"
            for part in (package, package.with_name("pgserver.libs")):
                shutil.copytree(part, folder / "site" / part.name)
            package = folder / "site" / package.name
            shutil.chown(folder, user)
        programs = package / "pginstall" / "bin"
        _make(folder, programs, user)
        server = Server(folder, programs, user)
        try:
            server.start()
            yield server
        finally:
            server.stop(at_once=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make(folder: Path, programs: Path, user: str | None) -> None:
    password = folder / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    options: list[str | Path] = [
        "-D",
        folder / "data",
        "-U",
        "pressline",
        "-A",
        "scram-sha-256",
        f"--pwfile={password}",
        "-N",
    ]
    done = subprocess.run(
        [programs / "initdb", *options], user=user, cwd=folder, capture_output=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
