"""The decision ledger: every gate, verdict, push and override is a row with its time, actor and evidence.

SQLite by default, PostgreSQL by URL. Every call opens a connection of its own, so a Ledger may be shared by threads and
survives a fork; a row is one transaction, so that a killed writer leaves it whole or not at all.
"""

import difflib
import getpass
import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.pool import NullPool

from serving.errors import InputError
from serving.home import ledger_url

KINDS = ("run_started", "run_finished", "gate", "verdict", "serving_check", "push", "override", "rebaseline")
SCHEMA_VERSION = 1
PATIENCE_S = 30.0  # how long a writer waits for others
_FIRST_OPEN = 5_077_001  # any number: the PostgreSQL advisory lock under which the tables are made

_TABLES = sa.MetaData()
_SCHEMA = sa.Table(
    "ledger_schema",
    _TABLES,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer, nullable=False),
)
_DECISIONS = sa.Table(
    "decisions",
    _TABLES,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("time", sa.DateTime(timezone=True), nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("run", sa.Text),
    sa.Column("version", sa.BigInteger),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("evidence", sa.JSON, nullable=False),
    sa.Index("decisions_by_task_and_kind", "task", "kind"),
    sqlite_autoincrement=True,  # an id is never given twice, not even after rows were deleted by hand
)
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Decision:
    """One row: who decided what, when, on which evidence. `time` is in UTC; ids grow in the order of writing."""

    id: int
    time: datetime
    actor: str
    kind: str
    task: str
    run: str | None
    version: int | None
    verdict: str
    reason: str
    evidence: dict[str, Any]


class Ledger:
    """An open ledger; get one from `open_ledger`. Neither its repr nor its errors show the password."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __repr__(self) -> str:
        return f"Ledger({_shown(self._engine.url)})"

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing stays open between calls; `with` only says how long the ledger is used."""

    def record(
        self,
        kind: str,
        task: str,
        verdict: str,
        evidence: Mapping[str, object],
        run: str | None = None,
        version: int | None = None,
        actor: str | None = None,
        reason: str = "",
    ) -> int:
        """Write one decision and return its id; it is durable when this returns.

        Args:
            kind: one of KINDS.
            evidence: strings, numbers, booleans, None, lists and mappings of them, and what turns into those plainly
                (numpy scalars, paths, times). NaN and infinities become "NaN", "Infinity" and "-Infinity".
            actor: who decided; `user@host` of this process by default.

        Raises:
            ValueError: unknown kind. TypeError: evidence of a type that has no plain form.
            InputError: the database cannot be reached or written.
        """
        if kind not in KINDS:
            near = difflib.get_close_matches(kind, KINDS, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(f"a decision's kind is one of {', '.join(KINDS)}; got {kind!r}{hint}")
        row = {
            "time": datetime.now(UTC),
            "actor": _text(actor or _whoami()),
            "kind": kind,
            "task": _text(task),
            "run": None if run is None else _text(run),
            "version": version,
            "verdict": _text(verdict),
            "reason": _text(reason),
            "evidence": _plain(dict(evidence), "evidence"),
        }

        def insert(connection: Connection) -> int:
            key = connection.execute(_DECISIONS.insert().values(row)).inserted_primary_key
            assert key is not None
            return int(key[0])

        with _input_errors(self._engine.url, "written"):
            return _in_transaction(self._engine, insert)

    def decisions(
        self,
        task: str | None = None,
        kind: str | None = None,
        run: str | None = None,
        version: int | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[Decision]:
        """The decisions that match all that is given, oldest first unless `newest_first`; at most `limit` of them."""
        query = sa.select(_DECISIONS)
        for column, value in (("task", task), ("kind", kind), ("run", run), ("version", version)):
            if value is not None:
                query = query.where(_DECISIONS.c[column] == value)
        query = query.order_by(_DECISIONS.c.id.desc() if newest_first else _DECISIONS.c.id).limit(limit)
        with _input_errors(self._engine.url, "read"):
            rows = _in_transaction(self._engine, lambda connection: connection.execute(query).mappings().all())
        return [Decision(**{**row, "time": _in_utc(row["time"])}) for row in rows]


def open_ledger(url: str | None = None) -> Ledger:
    """Open the ledger at a SQLAlchemy URL (default `serving.home.ledger_url()`), making what is missing of it.

    Raises:
        InputError: not the URL of a SQLite file or a PostgreSQL database, not reachable, or of a newer Pressline.
    """
    parsed = _parse(url or ledger_url())
    engine = _engine(parsed)
    with _input_errors(parsed, "opened"):
        if parsed.get_backend_name() == "sqlite":
            _while_locked(lambda: _use_write_ahead_log(engine))
        found = _in_transaction(engine, _make_tables)
    if found > SCHEMA_VERSION:
        raise InputError(
            f"the ledger at {_shown(parsed)} has schema version {found} and this Pressline knows up to "
            f"{SCHEMA_VERSION}: use the newer Pressline that wrote it, or another ledger (PRESSLINE_LEDGER_URL)"
        )
    return Ledger(engine)


def _parse(url: str) -> URL:
    wanted = "expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE in PRESSLINE_LEDGER_URL"
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except Exception:  # the cause may quote a part of the password, so it is not passed on
        raise InputError(f"the ledger's URL cannot be read (not shown, it may hold a password): {wanted}") from None
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed.set(drivername="sqlite+pysqlite")
    raise InputError(f"the ledger's URL is for {backend or 'nothing'} without a file: {wanted}")


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        file = Path(str(url.database))
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"the ledger's folder {file.parent} cannot be made: {error.strerror}") from error
        return sa.create_engine(url, poolclass=NullPool, connect_args={"timeout": PATIENCE_S})
    return sa.create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": 10})


def _use_write_ahead_log(engine: Engine) -> None:  # readers then never wait for writers
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def _make_tables(connection: Connection) -> int:
    """Make what is missing, safely beside other processes that do the same; return the schema version found."""
    if connection.dialect.name == "postgresql":  # its IF NOT EXISTS alone is not safe against a concurrent creation
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_FIRST_OPEN)))
    for table in _TABLES.sorted_tables:
        connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
        for index in table.indexes:
            connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))
    first = "INSERT INTO ledger_schema (id, version) VALUES (1, :version) ON CONFLICT DO NOTHING"
    connection.execute(sa.text(first), {"version": SCHEMA_VERSION})
    return int(connection.execute(sa.select(_SCHEMA.c.version)).scalar_one())


def _in_transaction(engine: Engine, action: Callable[[Connection], _Result]) -> _Result:
    def attempt() -> _Result:
        with engine.begin() as connection:
            return action(connection)

    return _while_locked(attempt)


def _while_locked(attempt: Callable[[], _Result]) -> _Result:
    """SQLite's busy timeout covers neither a change of journal mode nor the last closing of the file: try again."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return attempt()
        except sa.exc.OperationalError as error:
            if "database is locked" not in str(error.orig) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _secrets(url: URL) -> list[str]:
    given = [url.password, url.query.get("password"), url.query.get("sslpassword")]
    return [str(secret) for secret in given if secret]


def _shown(url: URL) -> str:
    """The URL without its password and without its query, which may hold one too."""
    return url.set(query={}).render_as_string(hide_password=True)


@contextmanager
def _input_errors(url: URL, doing: str) -> Iterator[None]:
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        for secret in _secrets(url):
            cause = cause.replace(secret, "***")
        raise InputError(
            f"the ledger at {_shown(url)} cannot be {doing}: {cause}. Check that the database is there, "
            "may be written and has room; PRESSLINE_LEDGER_URL chooses another"
        ) from None


def _whoami() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _text(value: str) -> str:
    """Text that every database takes: no NUL, no half of a surrogate pair (a non-UTF-8 argument holds those)."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _plain(value: object, where: str) -> Any:
    if hasattr(value, "item") and not isinstance(value, Mapping) and getattr(value, "shape", None) == ():
        value = value.item()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, os.PathLike):
        return _text(os.fsdecode(value))
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {_text(str(key)): _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, where) for item in value]
    raise TypeError(f"{where} is a {type(value).__name__}: give strings, numbers, lists and mappings")


def _in_utc(moment: datetime) -> datetime:
    """SQLite gives back what was written, in UTC without saying so; PostgreSQL the session's zone."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
