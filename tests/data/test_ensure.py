import hashlib
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data.catalogue import CATALOGUE, Source
from data.ensure import ensure
from data.errors import InputError
from data.fetch import fetch
from data.spans import fingerprint, list_spans


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*.parquet")
    }


def test_a_source_becomes_spans_in_the_data_folder(data_home: Path, source: Source) -> None:
    root = ensure("clicks")
    assert root == data_home / "spans" / "clicks"
    assert [span.number for span in list_spans(root)] == [0, 1, 2]
    assert [pq.read_table(span.files[0]).num_rows for span in list_spans(root)] == [6, 4, 2]


def test_a_second_time_nothing_is_written_or_said(
    data_home: Path, source: Source, capfd: pytest.CaptureFixture[str]
) -> None:
    root = ensure("clicks")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    capfd.readouterr()
    ensure("clicks")
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert capfd.readouterr().err == ""


def test_complete_spans_do_not_need_the_package(data_home: Path, source: Source) -> None:
    root = ensure("clicks")
    shutil.rmtree(data_home / "cache")
    assert ensure("clicks") == root
    assert not (data_home / "cache").exists()


def test_complete_spans_are_found_so_without_a_heavy_import() -> None:
    ensure("clicks")
    code = (
        "import sys; from data.ensure import ensure; ensure('clicks'); "
        "print(sorted({'pyarrow', 'numpy', 'tensorflow'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_two_writings_give_equal_bytes(data_home: Path, source: Source) -> None:
    root = ensure("clicks")
    before = digests(root)
    shutil.rmtree(root)
    assert digests(ensure("clicks")) == before
    assert len(before) == 3


@pytest.mark.parametrize("damage", ["truncated", "altered", "emptied", "removed"])
def test_a_span_that_is_not_whole_is_written_again_and_others_are_left(
    data_home: Path, source: Source, damage: str
) -> None:
    root = ensure("clicks")
    before, print_before = digests(root), fingerprint(root)
    untouched = (root / "span-0" / "records.parquet").stat().st_ino
    file = root / "span-1" / "records.parquet"
    match damage:
        case "truncated":
            file.write_bytes(file.read_bytes()[:-10])
        case "altered":
            file.write_bytes(file.read_bytes()[:-1] + b"?")
        case "emptied":
            file.unlink()
        case "removed":
            shutil.rmtree(root / "span-1")
    assert digests(ensure("clicks")) == before
    assert fingerprint(root) == print_before
    assert (root / "span-0" / "records.parquet").stat().st_ino == untouched


@pytest.mark.parametrize("at", range(1, 9))
def test_a_crash_at_any_rename_or_sync_leaves_whole_spans_and_is_repaired(
    data_home: Path, source: Source, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    whole = digests(ensure("clicks"))
    shutil.rmtree(data_home / "spans")
    calls = 0

    def crash(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == at:
            raise KeyboardInterrupt
        return real(*arguments)

    name = "os.replace" if at <= 4 else "os.fsync"
    real = getattr(sys.modules["os"], name.removeprefix("os."))
    with monkeypatch.context() as patched:
        patched.setattr(name, crash)
        with pytest.raises(KeyboardInterrupt):
            ensure("clicks")
    root = data_home / "spans" / "clicks"
    visible = {name: digest for name, digest in digests(root).items() if not name.startswith(".")}
    assert visible.items() <= whole.items()
    assert digests(ensure("clicks")) == whole
    assert [path.name for path in root.iterdir() if "partial" in path.name] == []


def test_an_unreadable_manifest_means_writing_anew(data_home: Path, source: Source) -> None:
    root = ensure("clicks")
    before = digests(root)
    for text in ("", "[]", '{"spans": 3}', (root / "_manifest.json").read_text().replace('"file"', '"fill"')):
        (root / "_manifest.json").write_text(text)
        assert digests(ensure("clicks")) == before


def test_a_new_recipe_writes_anew_and_drops_the_spans_it_no_longer_makes(
    data_home: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = ensure("clicks")
    monkeypatch.setitem(CATALOGUE, "clicks", replace(source, recipe=2, tables="tests.data.test_ensure.first_only"))
    assert [span.number for span in list_spans(ensure("clicks"))] == [0]
    assert list((root / "span-0").iterdir()) == [root / "span-0" / "records.parquet"]


def first_only(archive: Path) -> dict[int, object]:
    from data.clicks import tables

    return {0: tables(archive)[0]}


def test_spans_that_others_added_are_left_alone(data_home: Path, source: Source) -> None:
    root = ensure("clicks")
    shutil.copytree(root / "span-2", root / "span-3")
    shutil.rmtree(root / "span-1")
    ensure("clicks")
    assert [span.number for span in list_spans(root)] == [0, 1, 2, 3]


def test_a_wrong_package_leaves_no_spans(data_home: Path, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(source, package=replace(source.package, sha256="0" * 64))
    monkeypatch.setitem(CATALOGUE, "clicks", wrong)
    with pytest.raises(InputError, match="SHA-256"):
        ensure("clicks")
    with pytest.raises(InputError, match="holds no span"):
        list_spans(data_home / "spans" / "clicks")


def test_a_folder_that_cannot_be_written_is_an_error(data_home: Path, source: Source) -> None:
    fetch(source.package)
    (data_home / "spans").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="PRESSLINE_DATA"):
        ensure("clicks")
