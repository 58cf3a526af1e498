"""The decision ledger on SQLite and on a real PostgreSQL."""

import math
import os
import re
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import InputError
from serving.ledger import KINDS, SCHEMA_VERSION, open_ledger
from tests.serving.postgresql import Server

WRITE_MANY = """
import sys
from serving.ledger import open_ledger
ledger = open_ledger()
print("ready", flush=True)
for number in range(int(sys.argv[2])):
    ledger.record("gate", "clicks", "PASSED", {"number": number, "filling": "x" * 2000}, run=sys.argv[1])
"""


def writer(url: str, name: str, rows: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PRESSLINE_LEDGER_URL": url}
    command = [sys.executable, "-c", WRITE_MANY, name, str(rows)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_a_decision_comes_back_as_it_was_recorded(url: str) -> None:
    before = datetime.now(UTC)
    evidence = {"auc": 0.71, "slices": [{"gender": "F", "rows": 1200}], "baseline": None, "naïve": True}
    ledger = open_ledger(url)
    key = ledger.record("verdict", "clicks", "BLESSED", evidence, run="r1", version=3, actor="ann@desk", reason="fine")
    (row,) = open_ledger(url).decisions()
    assert (row.id, row.kind, row.task, row.verdict, row.run) == (key, "verdict", "clicks", "BLESSED", "r1")
    assert (row.version, row.actor, row.reason, row.evidence) == (3, "ann@desk", "fine", evidence)
    assert row.time.utcoffset() == timedelta(0)
    assert before - timedelta(seconds=1) <= row.time <= datetime.now(UTC) + timedelta(seconds=1)


def test_decisions_are_found_by_task_kind_run_and_version_in_either_order(url: str) -> None:
    ledger = open_ledger(url)
    for version in (1, 2, 3):
        ledger.record("gate", "clicks", "PASSED", {}, run=f"r{version}")
        ledger.record("push", "clicks", "PUSHED", {}, run=f"r{version}", version=version)
    ledger.record("push", "topic", "PUSHED", {}, version=2)
    assert [row.version for row in ledger.decisions(task="clicks", kind="push")] == [1, 2, 3]
    assert [row.version for row in ledger.decisions(task="clicks", kind="push", limit=2, newest_first=True)] == [3, 2]
    assert [row.kind for row in ledger.decisions(run="r2")] == ["gate", "push"]
    assert [row.task for row in ledger.decisions(version=2)] == ["clicks", "topic"]
    assert ledger.decisions(task="nothing") == []


def test_writers_in_several_processes_that_open_a_new_ledger_together_lose_nothing(url: str) -> None:
    writers = [writer(url, f"w{number}", 40) for number in range(4)]
    assert [process.wait(120) for process in writers] == [0] * 4
    for process in writers:
        process.communicate()
    rows = open_ledger(url).decisions()
    assert len({row.id for row in rows}) == 160
    for number in range(4):
        mine = [row.evidence["number"] for row in rows if row.run == f"w{number}"]
        assert mine == list(range(40))


def test_a_killed_writer_leaves_no_half_row_and_nobody_waiting(url: str) -> None:
    for attempt in range(3):
        process = writer(url, f"killed{attempt}", 1_000_000)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        while not open_ledger(url).decisions(run=f"killed{attempt}", limit=attempt + 1)[attempt:]:
            assert process.poll() is None
        process.kill()
        process.communicate()
    ledger = open_ledger(url)
    last = ledger.record("gate", "clicks", "PASSED", {"number": -1})
    rows = ledger.decisions()
    assert rows[-1].id == last
    assert all(row.evidence["filling"] == "x" * 2000 for row in rows[:-1])
    for attempt in range(3):
        mine = [row.evidence["number"] for row in rows if row.run == f"killed{attempt}"]
        assert mine == list(range(len(mine)))
        assert mine
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()


def test_what_no_database_can_hold_is_recorded_in_a_plain_form(url: str) -> None:
    ledger = open_ledger(url)
    odd = {"auc": math.nan, "loss": math.inf, "least": -math.inf, "where": Path("/a"), "tuple": (1, 2)}
    when = datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=1)))
    ledger.record("gate", "clicks", "FAILED", {**odd, "when": when}, reason="non-UTF-8 \udcff and a NUL \0")
    (row,) = ledger.decisions()
    plain = {"auc": "NaN", "loss": "Infinity", "least": "-Infinity", "where": "/a", "tuple": [1, 2]}
    assert row.evidence == {**plain, "when": "2026-01-02T03:00:00+01:00"}
    assert row.reason == "non-UTF-8 ? and a NUL \ufffd"


def test_a_ledger_written_by_a_newer_version_is_refused(url: str) -> None:
    import sqlalchemy as sa

    open_ledger(url)
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT version FROM ledger_schema").scalar_one() == SCHEMA_VERSION
        connection.exec_driver_sql("UPDATE ledger_schema SET version = 99")
    with pytest.raises(InputError, match="schema version 99"):
        open_ledger(url)


def test_the_password_is_in_no_repr_and_no_error(postgresql: Server) -> None:
    ledger = open_ledger(postgresql.url)
    assert "pressline" in repr(ledger)
    assert "s3cret" not in repr(ledger)
    wrong = [
        postgresql.url.replace("s3cret", "s3cret-wrong"),
        postgresql.url.replace("pressline:s3cret%3A%2Fp%40ss@", "").replace("?", "?user=pressline&password=s3cret&"),
        "postgresql://ann:s3cret@127.0.0.1:1/ledger",
        "postgresql://ann:s3cret@host:s3cret/ledger",
        "mysql://ann:s3cret@host/ledger",
        "s3cret",
    ]
    for url in wrong:
        with pytest.raises(InputError) as caught:
            open_ledger(url)
        told = f"{caught.value!r} {caught.value.__cause__!r}"
        assert "s3cret" not in told
        assert "PRESSLINE_LEDGER_URL" in told


def test_a_ledger_without_a_file_or_in_an_impossible_place_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without a file"):
        open_ledger("sqlite://")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be made"):
        open_ledger(f"sqlite:///{tmp_path}/file/ledger.sqlite")
    (tmp_path / "text.sqlite").write_text("a text that is no database at all" * 100)
    with pytest.raises(InputError, match="not a database"):
        open_ledger(f"sqlite:///{tmp_path}/text.sqlite")


def test_a_ledger_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    ledger = open_ledger(url)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON decisions BEGIN SELECT RAISE(FAIL, 'disk is full'); END"
        )
    connection.close()
    with pytest.raises(InputError, match=re.escape("cannot be written: disk is full")):
        ledger.record("gate", "clicks", "PASSED", {})
    assert ledger.decisions() == []


def test_an_unknown_kind_or_a_thing_without_a_plain_form_is_refused_by_name(tmp_path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    with pytest.raises(ValueError, match="did you mean 'push'"):
        ledger.record("pushed", "clicks", "PUSHED", {})
    with pytest.raises(TypeError, match=re.escape("evidence['model'] is a object")):
        ledger.record("push", "clicks", "PUSHED", {"model": object()})
    assert ledger.decisions() == []


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
numbers = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
plain_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def shared_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.sqlite"


@settings(max_examples=40, deadline=None)
@given(evidence=st.dictionaries(texts, plain_values, max_size=4), kind=st.sampled_from(KINDS))
def test_any_plain_evidence_comes_back_unchanged(shared_file: str, evidence: dict[str, object], kind: str) -> None:
    ledger = open_ledger(shared_file)
    ledger.record(kind, "clicks", "any", evidence)
    (row,) = ledger.decisions(limit=1, newest_first=True)
    assert row.evidence == evidence


def test_importing_the_ledger_loads_no_tensorflow() -> None:
    program = (
        "import sys, serving.ledger; print([name for name in sys.modules if name in ('tensorflow', 'numpy', 'tfx')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
