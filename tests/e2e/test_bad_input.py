"""What users hand in by mistake: each time exit code 2, a message that names the mistake, and no version."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.e2e import command
from tests.e2e.command import Finished
from tests.e2e.conftest import SMALL, Run
from tests.e2e.left_behind import Home
from tests.e2e.small import spans

Harm = Callable[[Path], object]


def _column(name: str, change: Callable[[pa.ChunkedArray], pa.Array], span: int = 1) -> Harm:
    def harm(root: Path) -> None:
        records = spans.table(seed=span + 1)
        spans.write(root, span, spans.with_column(records, name, change(records[name])))

    return harm


def _nothing_but(rows: int) -> Harm:
    def harm(root: Path) -> None:
        train = pc.equal(spans.table(seed=2)["user"], b"u0")  # a user of the training part
        spans.write(root, 1, spans.table(seed=2).filter(train).slice(0, rows))

    return harm


def _every(harm: Callable[[int], Harm]) -> Harm:
    return lambda root: [harm(span)(root) for span in (0, 1)]


def _first_values(values: list[object], kind: pa.DataType) -> Callable[[pa.ChunkedArray], pa.Array]:
    return lambda column: pa.array([*values, *column.to_pylist()[len(values) :]], kind)


def _csv(text: bytes) -> Harm:
    def harm(root: Path) -> None:
        (root / "span-1" / "records.parquet").unlink()
        (root / "span-1" / "records.csv").write_bytes(text)

    return harm


def _cut_short(root: Path) -> None:
    file = root / "span-0" / "records.parquet"
    file.write_bytes(file.read_bytes()[:-100])


def _without_tags(root: Path) -> None:
    spans.write(root, 1, spans.table(seed=2).drop_columns(["tags"]))


def _emptied(root: Path) -> None:
    (root / "span-1" / "records.parquet").unlink()


def _renamed(old: str, new: str) -> Harm:
    return lambda root: (root / old).rename(root / new)


def _copied(root: Path) -> None:
    spans.write(root, 0, spans.table(seed=9)).parent.rename(root / "span-01")
    spans.write(root, 0, spans.table(seed=1))


HEADER = b"user,age,price,tags,liked\n"
CASES: dict[str, tuple[Harm, tuple[str, ...]]] = {
    "a missing column": (_without_tags, ("span-1/records.parquet", "requires column 'tags' (BYTES)")),
    "an extra column": (
        lambda root: spans.write(root, 1, spans.with_column(spans.table(seed=2), "plan", pa.array([1] * spans.ROWS))),
        ("span-1/records.parquet", "'plan' is not in the schema", "remove it from the file"),
    ),
    "a column of the wrong type in an older span": (
        _column("age", lambda column: column.cast(pa.string()), span=0),
        ("span-0/records.parquet", "'age' expected INT", "of type string"),
    ),
    "one value of the wrong type": (
        _csv(HEADER + b"u1,31,0.5,t1|t2,1\nu2,old,,,0\n"),
        ("span-1/records.csv, record 2", "'age' expected INT", "'old'"),
    ),
    "a span without a file": (_emptied, ("span-1 is empty",)),
    "a span without a record": (_nothing_but(0), ("span-1/records.parquet holds no records",)),
    "a span of one record": (_nothing_but(1), ("ONE_ROW_SPAN", "NO_EVALUATION_RECORDS")),
    "one answer in all records": (
        _every(lambda span: _column("liked", lambda column: pa.array([1] * len(column)), span)),
        ("CONSTANT_LABEL", "every record says 1"),
    ),
    "NaN": (
        _column("price", _first_values([float("nan"), 1.0], pa.float32())),
        ("price", "FLOAT_TYPE_HAS_NAN"),
    ),
    "infinity": (
        _column("price", _first_values([float("inf"), 1.0], pa.float32())),
        ("price", "FLOAT_TYPE_HAS_INF"),
    ),
    "text that is not UTF-8": (
        _column("tags", _first_values([[b"t0", b"\xff\xfe"]], pa.list_(pa.binary()))),
        ("tags", "UTF-8"),
    ),
    "a header that is not UTF-8": (_csv(b"us\xffr,age,price,tags,liked\nu1,1,1,t1,1\n"), ("records.csv", "UTF-8")),
    "nothing but unknown categories in a closed list": (
        _column("tags", lambda column: pa.array([[b"new"]] * len(column))),
        ("tags", "ENUM_TYPE_UNEXPECTED_STRING_VALUES", "new"),
    ),
    "a Parquet file that was cut short": (_cut_short, ("span-0/records.parquet", "whole Parquet file")),
    "a span number twice": (_copied, ("holds span", "more than once", "span-01")),
    "a gap in the span numbers": (_renamed("span-1", "span-3"), ("lacks 1, 2",)),
    "a directory that is no span": (_renamed("span-1", "spam-1"), ("'spam-1'", "not span-<N>")),
    "no spans at all": (lambda root: root.rename(root.with_name("elsewhere")), ("expected a directory of spans",)),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_records_stop_the_line_and_are_named(case: str, tmp_path: Path) -> None:
    harm, words = CASES[case]
    root, home = tmp_path / "records", Home(tmp_path / "home")
    for number in (0, 1):
        spans.write(root, number, spans.table(seed=number + 1))
    harm(root)
    ended = command.run(["run", SMALL, "--data", str(root)], home.path)
    _refused(ended, *words)
    assert home.versions() == ()
    assert not (home.path / "artifacts" / "Trainer").exists()


def test_bad_records_leave_the_live_version_as_it_was(second: Run, home: Home, records: Path, tmp_path: Path) -> None:
    before = home.versions()
    root = tmp_path / "records"
    for number in (0, 1, 2):
        spans.write(root, number, spans.table(seed=number + 1))
    _column("price", lambda column: pa.array(np.full(len(column), np.nan, np.float32)), span=2)(root)
    ended = command.run(["run", SMALL, "--data", str(root)], home.path)
    _refused(ended, "FLOAT_TYPE_HAS_NAN", "nothing was trained")
    assert home.versions() == before
    assert home.decisions("gate")[-1].verdict == "STOPPED"
    # And the line has not forgotten the last good run.
    again = command.run(["run", SMALL, "--data", str(records)], home.path)
    assert again.code == 0, again.said
    assert "nothing has changed" in again.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "clicsk"], ("unknown task 'clicsk'", "did you mean clicks?")),
        (["run", "tests.e2e.small.absent"], ("there is no module tests.e2e.small.absent",)),
        (["run", "tests.e2e.small.spans"], ("declares no TASK",)),
        (["run", "tests.e2e.small.no_gates"], ("has no gates",)),
        (["run", SMALL], ("has no source", "--data DIR")),
        (["run", SMALL, "--data", "DIR", "--until-span", "7"], ("--until-span 7", "spans 0 to 1")),
        (["run", SMALL, "--data", "DIR", "--window", "0"], ("--window is at least 1",)),
        (["run", SMALL, "--data", "DIR", "--environment", "lokal"], ("no environment 'lokal'", "local")),
        (["run", SMALL, "--data", "DIR", "--environment", "FILE"], ("unknown key 'batchsize'", "'batch_size'")),
        (["backtest", SMALL, "--data", "DIR", "--spans", "one"], ("whole numbers separated by commas", "'one'")),
        (["bless", "small-1", "--reason", "x"], ("no run 'small-1'",)),
        (["rebaseline", SMALL, "--version", "1", "--reason", "x"], ("version 1 of small was not pushed",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_that_cannot_be_meant_is_refused(
    arguments: list[str], words: tuple[str, ...], tmp_path: Path
) -> None:
    for number in (0, 1):
        spans.write(tmp_path / "DIR", number, spans.table(seed=number + 1, rows=20))
    (tmp_path / "mine.yaml").write_text("training:\n  batchsize: 64\n")
    places = {"DIR": str(tmp_path / "DIR"), "FILE": str(tmp_path / "mine.yaml")}
    home = Home(tmp_path / "home")
    _refused(command.run([places.get(one, one) for one in arguments], home.path), *words)
    assert not (home.path / "artifacts").exists()
    assert not (home.path / "models").exists()


def test_a_home_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    # Below a file: what permissions forbid, they do not forbid to root.
    (tmp_path / "file").write_text("")
    spans.write(tmp_path / "records", 0, spans.table(seed=1))
    ended = command.run(["run", SMALL, "--data", str(tmp_path / "records")], tmp_path / "file" / "home")
    _refused(ended, f"cannot write to {tmp_path / 'file' / 'home'}", "PRESSLINE_HOME")


def _refused(ended: Finished, *words: str) -> None:
    assert ended.code == 2, ended.said
    assert "Traceback" not in ended.err
    for word in words:
        assert word in ended.err, ended.said
