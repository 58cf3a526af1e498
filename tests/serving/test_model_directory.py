"""The model directory: versions appear and disappear whole, whatever happens to whoever writes them."""

import hashlib
import os
import re
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import model_directory
from serving.errors import InputError

PUBLISHER = Path(__file__).with_name("killed_publisher.py")
EXTRAS = {"pressline.json": b'{"run": "r"}'}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_model(tmp_path / "model", b"weights" * 1000)


def make_model(path: Path, weights: bytes) -> Path:
    (path / "variables").mkdir(parents=True)
    (path / "assets").mkdir()
    (path / "saved_model.pb").write_bytes(b"graph")
    (path / "variables" / "variables.data").write_bytes(weights)
    (path / "assets" / "words").write_bytes(b"")
    return path


def digest(directory: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of each file below a directory, and '' for each directory."""
    paths = sorted(directory.rglob("*"))
    return {
        str(p.relative_to(directory)): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "" for p in paths
    }


def complete(source: Path) -> dict[str, str]:
    extra = hashlib.sha256(EXTRAS["pressline.json"]).hexdigest()
    return {**digest(source), "assets.extra": "", "assets.extra/pressline.json": extra}


def run_publisher(source: Path, base: Path, at: int, how: str, keep: int = 9) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(PUBLISHER), str(source), str(base), str(keep), str(at), how]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def strays(base: Path) -> list[str]:
    return sorted(path.name for path in base.iterdir() if not re.fullmatch(r"[0-9]+|\.pressline", path.name))


def test_versions_count_up_from_one_and_hold_the_model_with_its_extras(source: Path, tmp_path: Path) -> None:
    base = tmp_path / "models" / "clicks"
    assert model_directory.next_version(base) == 1
    assert [model_directory.publish(source, base, EXTRAS) for _ in range(3)] == [1, 2, 3]
    assert model_directory.versions(base) == (1, 2, 3)
    assert all(digest(base / str(version)) == complete(source) for version in (1, 2, 3))
    assert model_directory.lineage(base, 2) == {"run": "r"}
    assert strays(base) == []


def test_another_user_can_read_a_version_as_the_umask_says(source: Path, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        model_directory.publish(source, tmp_path / "base", EXTRAS)
    finally:
        os.umask(before)
    version = tmp_path / "base" / "1"
    assert version.stat().st_mode & 0o777 == 0o755
    assert (version / "saved_model.pb").stat().st_mode & 0o777 == 0o644


def test_a_number_is_never_given_twice_even_when_the_newest_version_was_removed(source: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    for _ in range(3):
        model_directory.publish(source, base, {})
    for gone in ("3", "2"):
        (base / gone).rename(tmp_path / f"gone-{gone}")
    assert model_directory.next_version(base) == 4
    assert model_directory.publish(source, base, {}) == 4
    assert model_directory.retention(base, keep=1) == (1,)
    assert model_directory.publish(source, base, {}) == 5


def test_versions_of_another_pusher_count_and_other_names_do_not(source: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    for name in ("1700000000", "007", "tmp", "-3", "12a", "9999999999x"):
        (base / name).mkdir(parents=True)
    (base / "1700000005").write_text("a file with a number for a name is no version, but a server stumbles over it")
    assert model_directory.versions(base) == (7, 1700000000)
    assert model_directory.version_path(base, 7).name == "007"
    assert model_directory.publish(source, base, {}) == 1700000006


def test_a_source_that_has_extras_gets_the_new_ones_and_keeps_the_others(source: Path, tmp_path: Path) -> None:
    (source / "assets.extra").mkdir()
    (source / "assets.extra" / "pressline.json").write_text("old")
    (source / "assets.extra" / "other").write_text("kept")
    model_directory.publish(source, tmp_path / "base", EXTRAS)
    extras = tmp_path / "base" / "1" / "assets.extra"
    assert {path.name: path.read_bytes() for path in extras.iterdir()} == {**EXTRAS, "other": b"kept"}


def test_links_in_a_source_are_followed(source: Path, tmp_path: Path) -> None:
    (source / "variables" / "variables.data").rename(tmp_path / "elsewhere")
    (source / "variables" / "variables.data").symlink_to(tmp_path / "elsewhere")
    model_directory.publish(source, tmp_path / "base", {})
    copied = tmp_path / "base" / "1" / "variables" / "variables.data"
    assert not copied.is_symlink()
    assert copied.read_bytes() == b"weights" * 1000


def test_concurrent_publishers_get_different_versions(source: Path, tmp_path: Path) -> None:
    base, given = tmp_path / "base", []
    command = [sys.executable, str(PUBLISHER), str(source), str(base), "99", "0", "none"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    threads = [
        threading.Thread(target=lambda: given.append(model_directory.publish(source, base, EXTRAS))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    given += [int(process.communicate()[0]) for process in processes]
    assert sorted(given) == list(range(1, 9))
    assert all(digest(base / str(version)) == complete(source) for version in given)


def test_a_killed_publisher_never_shows_a_broken_version_and_the_next_one_succeeds(tmp_path: Path) -> None:
    old, new = make_model(tmp_path / "old", b"o" * 100), make_model(tmp_path / "new", b"n" * 100)
    whole = [complete(old), complete(new)]
    total = len(run_publisher(new, _two_versions(old, tmp_path / "counted"), 0, "count", keep=1).stdout.split("\n")) - 2
    assert total > 40
    ends = set()
    for at in range(1, total + 2):
        how = "kill" if at % 2 else "tear"
        base = _two_versions(old, tmp_path / f"at-{at}")
        done = run_publisher(new, base, at, how, keep=1)
        assert done.returncode == (-9 if at <= total else 0), done.stderr
        seen = model_directory.versions(base)
        ends.add(seen)
        assert all(digest(base / str(version)) in whole for version in seen), (at, seen)
        highest = max(seen)
        after = model_directory.publish(new, base, EXTRAS)
        assert after > highest
        assert digest(base / str(after)) == complete(new)
        assert strays(base) == []
    assert ends == {(1, 2), (1, 2, 3), (2, 3), (3,)}


def test_a_torn_write_of_every_file_is_never_seen(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", b"n" * 100)
    calls = run_publisher(model, tmp_path / "counted", 0, "count").stdout.split("\n")[1:-1]
    writes = [number for number, call in enumerate(calls, start=1) if call == "write"]
    assert len(writes) >= 4
    for at in writes:
        base = tmp_path / f"at-{at}"
        assert run_publisher(model, base, at, "tear").returncode == -9
        assert model_directory.versions(base) == ()
        assert digest(base / str(model_directory.publish(model, base, EXTRAS))) == complete(model)


def _two_versions(model: Path, base: Path) -> Path:
    for _ in range(2):
        model_directory.publish(model, base, EXTRAS)
    (base / ".incoming-9-left").mkdir()
    (base / ".incoming-9-left" / "half").write_text("of a file")
    return base


def test_a_refusal_at_any_call_is_bad_input_and_leaves_the_versions_as_before(source: Path, tmp_path: Path) -> None:
    counted = run_publisher(source, _two_versions(source, tmp_path / "counted"), 0, "count").stdout.split("\n")
    for at in range(1, len(counted) - 1):
        base = _two_versions(source, tmp_path / f"at-{at}")
        before = {name: digest(base / name) for name in ("1", "2")}
        done = run_publisher(source, base, at, "refuse")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("refused: "), at
        assert "No space left on device" in done.stdout, at
        assert {str(number): digest(base / str(number)) for number in model_directory.versions(base)} == before
        assert [name for name in strays(base) if not name.endswith("-left")] == []
        assert model_directory.publish(source, base, EXTRAS) >= 3


def test_everything_is_flushed_before_the_version_appears_and_the_appearance_after_it(
    source: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    calls = run_publisher(source, base, 0, "count").stdout.split("\n")[1:-1]
    appears = next(n for n, call in enumerate(calls) if call.startswith("rename") and ".incoming-1-" in call)
    pairs = list(pairwise(calls))
    made = [call.removeprefix("open ") for call in calls[:appears] if call.startswith("open ") and ".incoming-" in call]
    files = {re.sub(r".*\.incoming-[^/]*", "", path) for path in made}
    assert files == {"", *(f"/{path}" for path in complete(source))}
    for path in made:  # each was opened to be written or flushed, and closed only after a flush
        rest = calls[calls.index(f"open {path}") + 1 : appears]
        assert next(call for call in rest if call != "write").startswith("fsync")
    newest = next(n for n, call in enumerate(calls) if call.startswith("replace") and "newest_version" in call)
    assert newest < appears
    assert any(first == f"open {base}" and second.startswith("fsync") for first, second in pairs[appears:])


def test_a_file_system_that_refuses_large_files_leaves_nothing(source: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from serving import model_directory, errors\n"
        "try: model_directory.publish(sys.argv[1], sys.argv[2], {})\n"
        "except errors.InputError as error: print(error)"
    )
    command = [sys.executable, "-c", program, str(source), str(base)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "File too large" in done.stdout
    assert str(base) in done.stdout
    assert [path.name for path in base.iterdir()] == [".pressline"]


@pytest.mark.parametrize("place", ["file/models", "/proc/pressline/models"])
def test_a_place_where_nothing_can_be_made_is_bad_input(source: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="was not published"):
        model_directory.publish(source, tmp_path / place, {})


@pytest.mark.parametrize("base", ["gs://bucket/models", "s3://bucket/models"])
def test_an_object_store_is_refused_because_it_cannot_rename_a_directory(source: Path, base: str) -> None:
    with pytest.raises(InputError, match="mounted file system"):
        model_directory.publish(source, base, {})


def test_what_is_no_saved_model_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in ("empty", "missing"):
        with pytest.raises(InputError, match="not a SavedModel"):
            model_directory.publish(tmp_path / source, tmp_path / "base", {})
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize("name", ["../escape", "a/b", "", "..", "a\0b"])
def test_an_extra_that_would_leave_its_folder_is_refused(source: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="plain file name"):
        model_directory.publish(source, tmp_path / "base", {name: b""})


def test_a_spoilt_record_of_the_newest_version_is_not_taken_for_zero(source: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    model_directory.publish(source, base, {})
    (base / ".pressline" / "newest_version").write_text("many")
    with pytest.raises(InputError, match="newest_version should hold"):
        model_directory.publish(source, base, {})
    assert model_directory.versions(base) == (1,)


def test_retention_keeps_the_newest_and_what_a_label_points_to(source: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    for _ in range(6):
        model_directory.publish(source, base, EXTRAS)
    assert model_directory.retention(base, keep=2, protected={1, 3}) == (2, 4)
    assert model_directory.versions(base) == (1, 3, 5, 6)
    assert model_directory.retention(base, keep=2, protected={1, 3}) == ()
    assert strays(base) == []
    with pytest.raises(ValueError, match="at least 1"):
        model_directory.retention(base, keep=0)


@settings(max_examples=25, deadline=None)
@given(
    present=st.sets(st.integers(1, 30), max_size=8),
    keep=st.integers(1, 9),
    protected=st.sets(st.integers(1, 30), max_size=4),
)
def test_retention_removes_exactly_what_it_may(
    tmp_path_factory: pytest.TempPathFactory, present: set[int], keep: int, protected: set[int]
) -> None:
    base = tmp_path_factory.mktemp("base")
    for version in present:
        (base / str(version)).mkdir()
    removed = model_directory.retention(base, keep, protected)
    left = set(model_directory.versions(base))
    newest = set(sorted(present)[-keep:])
    assert left == newest | (present & protected)
    assert set(removed) == present - left
    assert model_directory.next_version(base) == max(present, default=0) + 1


def test_a_version_that_is_already_the_newest_is_not_published_again(source: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    assert model_directory.publish_unless(source, base, EXTRAS, lambda _: True) == (1, True)
    assert model_directory.publish_unless(source, base, EXTRAS, lambda newest: newest.name == "1") == (1, False)
    assert model_directory.publish_unless(source, base, EXTRAS, lambda newest: newest.name != "1") == (2, True)
