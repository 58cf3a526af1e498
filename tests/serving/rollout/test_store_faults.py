"""The store when its database is locked, gone, replaced or stopped, and when a writer is killed."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from serving.errors import InputError
from serving.rollout.leadership import Lease
from serving.rollout.state import Phase
from serving.rollout.store import Store, open_store
from tests.serving.postgresql import Server
from tests.serving.rollout.stores import led, moved

SHORT_S = 0.3
LIMIT_S = 60
LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""
SAVE_MANY = """
import sys
from dataclasses import replace
from serving.rollout.state import Phase
from serving.rollout.store import open_store
store = open_store(lease_s=0.1)
while (lease := store.lead("killed")) is None:
    pass
(rollout,) = store.rollouts()
print("ready", flush=True)
while True:
    after = replace(rollout, phase=Phase.CANARY, step=rollout.step + 1)
    assert store.save(lease, rollout, after, {"step": after.step, "filling": "x" * 2000}, stable=after.step)
    (rollout,) = store.rollouts()
"""


@contextmanager
def locked(file: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process holds the database; it lets go when its input ends."""
    command = [sys.executable, "-c", LOCK, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process


@contextmanager
def emptied(file: Path) -> Iterator[None]:
    """An empty store stands in the place of ours."""
    aside = file.with_suffix(".aside")
    file.rename(aside)
    open_store(f"sqlite:///{file}")
    yield
    aside.replace(file)


@contextmanager
def away(folder: Path) -> Iterator[None]:
    """The folder has another name."""
    elsewhere = folder.with_name("elsewhere")
    folder.rename(elsewhere)
    yield
    elsewhere.rename(folder)


def every_call(store: Store, lease: Lease) -> dict[str, Callable[[], object]]:
    """What a controller, a pusher and an operator do."""
    (rollout,) = store.rollouts()
    return {
        "submit": lambda: store.submit("clicks", 9, "pipeline"),
        "ask": lambda: store.ask("clicks", "pause", "ann"),
        "beat": lambda: store.beat(lease),
        "save": lambda: store.save(lease, rollout, replace(rollout, phase=Phase.WARMING), {}),
        "tallies": lambda: store.keep_tallies(rollout.id, {"a": "{}"}),
        "rollouts": store.rollouts,
        "asks": store.asks,
        "stable": store.stable,
        "protected": lambda: store.protected("clicks"),
        "lead": lambda: store.lead("two"),
    }


def begun(url: str) -> tuple[Store, Lease]:
    store = open_store(url, patience_s=SHORT_S)
    store.submit("clicks", 7, "pipeline")
    return store, led(store)


def works_again(store: Store, lease: Lease) -> None:
    assert store.beat(lease)
    (rollout,) = store.rollouts()
    assert (rollout.version, rollout.phase, rollout.revision) == (7, Phase.STAGED, 0)
    assert store.asks() == []
    assert len(store.history("clicks")) == 1
    moved(store, lease, rollout, Phase.WARMING)
    store.ask("clicks", "pause", "ann")


def test_a_locked_database_refuses_writers_soon_and_loses_nothing(tmp_path: Path) -> None:
    store, lease = begun(f"sqlite:///{tmp_path}/ledger.sqlite")
    calls = every_call(store, lease)
    with locked(tmp_path / "ledger.sqlite") as process:
        for name in ("submit", "ask", "beat", "save", "tallies"):
            with pytest.raises(InputError, match="cannot be written: database is locked"):
                calls[name]()
        for name in ("rollouts", "asks", "stable", "protected"):
            calls[name]()
        process.communicate()
    works_again(store, lease)


def test_who_has_patience_waits_for_a_locked_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    patient = open_store(url)
    asked: list[int] = []
    with locked(tmp_path / "ledger.sqlite") as process:
        thread = threading.Thread(target=lambda: asked.append(patient.submit("clicks", 7, "pipeline").version))
        thread.start()
        with pytest.raises(InputError, match="locked"):
            open_store(url, patience_s=SHORT_S).submit("clicks", 7, "pipeline")
        process.communicate()
    thread.join(LIMIT_S)
    assert asked == [7]


@pytest.mark.parametrize("gone", [away, emptied])
def test_a_database_that_is_away_or_replaced_is_not_taken_for_one_without_rollouts(
    tmp_path: Path, gone: Callable[[Path], AbstractContextManager[None]]
) -> None:
    file = tmp_path / "var" / "ledger.sqlite"
    store, lease = begun(f"sqlite:///{file}")
    calls = every_call(store, lease)
    with gone(file.parent if gone is away else file):
        for call in calls.values():
            with pytest.raises(InputError, match=r"unable to open database file|is another one than when"):
                call()
    works_again(store, lease)


def test_a_database_whose_tables_are_gone_is_bad_input(tmp_path: Path) -> None:
    store, lease = begun(f"sqlite:///{tmp_path}/ledger.sqlite")
    calls = every_call(store, lease)
    (tmp_path / "ledger.sqlite").unlink()
    for call in calls.values():
        with pytest.raises(InputError, match="no such table"):
            call()


def test_a_stopped_postgresql_is_bad_input_until_it_is_back(postgresql: Server) -> None:
    store, lease = begun(postgresql.database())
    calls = every_call(store, lease)
    postgresql.stop()
    try:
        for call in calls.values():
            with pytest.raises(InputError, match="cannot be (read|written)") as caught:
                call()
            assert "s3cret" not in str(caught.value)
    finally:
        postgresql.start()
    works_again(store, lease)


def test_a_row_that_is_locked_in_postgresql_refuses_writers_soon(postgresql: Server) -> None:
    import sqlalchemy as sa

    url = postgresql.database()
    store, lease = begun(url)
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as other:
        other.exec_driver_sql("LOCK TABLE rollout_leader, rollout_schema, rollouts IN SHARE MODE")
        for name in ("submit", "ask", "beat", "save"):
            with pytest.raises(InputError, match="lock timeout"):
                every_call(store, lease)[name]()
    engine.dispose()
    works_again(store, lease)


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    open_store(url)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("UPDATE rollout_schema SET version = 99")
    connection.close()
    with pytest.raises(InputError, match="rollouts in .* have schema version 99"):
        open_store(url)


def test_a_writer_that_is_killed_leaves_rollout_stable_version_and_ledger_of_one_mind(url: str) -> None:
    store = open_store(url, lease_s=0.1)
    store.submit("clicks", 7, "pipeline")
    for _ in range(3):
        (before,) = store.rollouts()
        environment = {**os.environ, "PRESSLINE_LEDGER_URL": url}
        process = subprocess.Popen([sys.executable, "-c", SAVE_MANY], env=environment, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        while store.rollouts()[0].revision < before.revision + 3:
            assert process.poll() is None
        process.kill()
        process.communicate()
        (rollout,) = store.rollouts()
        rows = [row for row in store.history("clicks") if row.verdict.startswith("CANARY")]
        assert [row.evidence["evidence"]["step"] for row in rows] == list(range(1, rollout.step + 1))
        assert rollout.revision == rollout.step == store.stable()["clicks"]
    deadline = time.monotonic() + LIMIT_S
    while (lease := store.lead("next")) is None:
        assert time.monotonic() < deadline
    moved(store, lease, rollout, Phase.WARMING)
