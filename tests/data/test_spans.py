import os
import subprocess
import sys
from pathlib import Path

import pytest

from data.errors import InputError
from data.spans import fingerprint, list_spans


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "records.csv").write_text(f"a\n{name}\n")
    return root


def test_spans_are_listed_by_number_with_their_files(tmp_path: Path) -> None:
    spans = list_spans(make(tmp_path, "span-10", "span-9", "span-8"))
    assert [span.number for span in spans] == [8, 9, 10]
    assert spans[0].files == (tmp_path / "span-8" / "records.csv",)


def test_names_that_start_with_a_dot_or_an_underscore_are_ignored(tmp_path: Path) -> None:
    make(tmp_path, "span-1", ".span-2.partial", "_old")
    (tmp_path / "span-1" / "_SUCCESS").touch()
    (tmp_path / "span-1" / ".records.csv.crc").touch()
    (tmp_path / "README").touch()
    (span,) = list_spans(tmp_path)
    assert [file.name for file in span.files] == ["records.csv"]


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (("span-3", "span-03"), "holds span 3 more than once: span-03, span-3"),
        (("span-1", "span-2", "span-4"), "from span 1 to span 4 and lacks 3"),
        (("span-03",), "rename it to span-3"),
        (("span-1", "span_2"), "'span_2', which is not span-<N>"),
        ((), "holds no span"),
    ],
)
def test_span_directories_that_make_no_sense_are_refused(
    tmp_path: Path, names: tuple[str, ...], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        list_spans(make(tmp_path, *names))


def test_a_missing_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is none"):
        list_spans(tmp_path / "nowhere")


def test_an_empty_span_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "span-1")
    (tmp_path / "span-2").mkdir()
    (tmp_path / "span-2" / "_SUCCESS").touch()
    with pytest.raises(InputError, match=r"span-2 is empty"):
        list_spans(tmp_path)


def test_a_directory_inside_a_span_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "span-1", "span-1/v1")
    with pytest.raises(InputError, match="record files lie directly in their span"):
        list_spans(tmp_path)


def test_the_fingerprint_changes_with_content_name_and_number_and_with_nothing_else(
    tmp_path: Path, data_home: Path
) -> None:
    root = make(tmp_path / "spans", "span-1", "span-2")
    file = root / "span-2" / "records.csv"
    before = fingerprint(root)
    os.utime(file, (1, 1))
    (root / "_manifest.json").write_text("{}")
    assert fingerprint(root) == before
    seen = {before}
    file.write_text("a\nspan-3\n")
    seen.add(fingerprint(root))
    file.rename(file.with_name("other.csv"))
    seen.add(fingerprint(root))
    (root / "span-1").rename(root / "span-3")
    seen.add(fingerprint(root))
    assert len(seen) == 4


def test_a_large_file_is_remembered_until_it_changes(
    tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make(tmp_path / "spans", "span-1")
    file = root / "span-1" / "records.csv"
    file.write_bytes(bytes(2 << 20))
    # The file's time stamps lie in the past, as they would when it is not being written right now.
    monkeypatch.setattr("data.spans.time.time", lambda: file.stat().st_ctime + 60)
    before = fingerprint(root)
    assert str(file) in (data_home / "cache" / "digests.json").read_text()
    assert fingerprint(root) == before
    file.write_bytes(b"\1" + bytes((2 << 20) - 1))
    os.utime(file, ns=(1, file.stat().st_mtime_ns + 10**9))
    assert fingerprint(root) != before


def test_a_large_file_that_may_still_be_written_is_not_remembered(tmp_path: Path, data_home: Path) -> None:
    root = make(tmp_path / "spans", "span-1")
    (root / "span-1" / "records.csv").write_bytes(bytes(2 << 20))
    fingerprint(root)
    assert not (data_home / "cache" / "digests.json").exists()


def test_a_spoilt_memory_of_digests_does_no_harm(tmp_path: Path, data_home: Path) -> None:
    root = make(tmp_path / "spans", "span-1")
    before = fingerprint(root)
    (data_home / "cache").mkdir(parents=True)
    (data_home / "cache" / "digests.json").write_text("[1, 2")
    assert fingerprint(root) == before


def test_the_fingerprint_needs_only_the_standard_library() -> None:
    heavy = "sorted({'pyarrow', 'numpy', 'tensorflow'} & set(sys.modules))"
    code = f"import sys, data.spans, data.ensure, data.show; print({heavy})"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
