"""Transactions and refusals of the database that the ledger and the rollouts share."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from serving import ledger
from serving.database import Database, open_database
from serving.errors import InputError


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """An empty one with the ledger's tables."""
    return open_database(f"sqlite:///{tmp_path / 'ledger.sqlite'}", ledger.TABLES, patience_s=0.1)


def test_a_decision_recorded_within_a_transaction_that_fails_was_never_made(database: Database, tmp_path: Path) -> None:
    def deed(connection: Connection, fails: bool) -> None:
        ledger.record_within(connection, "rollout", "clicks", "CANARY", {"step": 1}, version=2, actor="ann")
        if fails:
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError):
        database.transaction(lambda connection: deed(connection, True))
    written = ledger.open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    assert written.decisions() == []
    database.transaction(lambda connection: deed(connection, False))
    assert [(row.kind, row.version, row.actor) for row in written.decisions()] == [("rollout", 2, "ann")]


def test_a_database_that_stays_locked_is_told_after_the_patience(database: Database) -> None:
    with database.engine.connect() as other:
        other.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(InputError, match="cannot be written: database is locked"):
            database.transaction(
                lambda connection: ledger.record_within(connection, "gate", "clicks", "PASSED", {}), "written", 0.1
            )
        other.rollback()
    assert database.transaction(lambda connection: connection.execute(sa.text("SELECT 1")).scalar_one()) == 1
