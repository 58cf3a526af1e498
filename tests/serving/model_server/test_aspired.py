"""Base paths and version policies: which directories become versions."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model_server.aspired import All, Latest, Policy, Source, Specific, aspired_versions, poll, version_number
from serving.status import Code, StatusError
from tests.serving.model_server.lifecycle_fakes import versions


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("1", 1),
        ("001", 1),
        ("-3", -3),
        ("+4", 4),
        (" 5 ", 5),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775808", None),
        ("-9223372036854775809", None),
        ("", None),
        ("-", None),
        ("1.0", None),
        ("1_000", None),
        ("0x1", None),
        ("\u0661", None),  # an Arabic digit: a number to int(), not to TF Serving
        (".1.tmp", None),
        ("1 2", None),
        ("9" * 5000, None),
    ],
)
def test_a_name_is_a_version_if_it_is_an_int64(name: str, number: int | None) -> None:
    assert version_number(name) == number


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 20))
def test_every_int64_is_a_version_also_with_leading_zeros(number: int, zeros: int) -> None:
    sign = "-" if number < 0 else ""
    assert version_number(f"{sign}{'0' * zeros}{abs(number)}") == number


@given(st.text(max_size=6))
def test_what_is_no_number_to_python_is_no_version_either(name: str) -> None:
    number = version_number(name)
    assert number is None or number == int(name)


@pytest.mark.parametrize(
    ("policy", "numbers"),
    [
        (Latest(), [3]),
        (Latest(0), [3]),
        (Latest(2), [2, 3]),
        (Latest(9), [-1, 1, 2, 3]),
        (All(), [-1, 1, 2, 3]),
        (Specific(frozenset({1, 3})), [1, 3]),
        (Specific(frozenset()), []),
    ],
)
def test_a_policy_chooses_among_the_versions_that_are_there(tmp_path: Path, policy: Policy, numbers: list[int]) -> None:
    versions(tmp_path, 1, "02", 3, -1, "notes", ".4.tmp")
    aspired = aspired_versions(Source("m", str(tmp_path), policy))
    assert sorted(aspired.directories) == numbers
    assert all(Path(directory).is_dir() for directory in aspired.directories.values())


def test_of_two_directories_with_one_number_the_later_name_is_used_and_it_is_said(tmp_path: Path) -> None:
    versions(tmp_path, "1", "01", "001")
    aspired = aspired_versions(Source("m", str(tmp_path)))
    assert aspired.directories == {1: str(tmp_path / "1")}
    assert len(aspired.warnings) == 2
    assert "1 is used, 01 is not" in aspired.warnings[1]


def test_a_file_with_a_number_for_a_name_counts(tmp_path: Path) -> None:
    versions(tmp_path, 1)
    (tmp_path / "2").write_text("no directory")
    assert aspired_versions(Source("m", str(tmp_path))).directories == {2: str(tmp_path / "2")}


def test_a_specific_version_that_is_not_there_is_said_and_no_error(tmp_path: Path) -> None:
    versions(tmp_path, 1)
    aspired = aspired_versions(Source("m", str(tmp_path), Specific(frozenset({1, 7}))))
    assert list(aspired.directories) == [1]
    assert aspired.warnings == (f"Version 7 of servable m, which its policy names, is not in {tmp_path}.",)


def test_an_empty_base_path_wants_nothing_and_says_so(tmp_path: Path) -> None:
    aspired = aspired_versions(Source("m", str(tmp_path)))
    assert not aspired.directories
    assert aspired.warnings[0].startswith(f"No versions of servable m found under base path {tmp_path}")


def test_a_file_uri_is_its_path(tmp_path: Path) -> None:
    versions(tmp_path, 1)
    assert aspired_versions(Source("m", f"file://{tmp_path}")).directories == {1: str(tmp_path / "1")}


def test_a_missing_base_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StatusError, match="Could not find base path .*/none for servable m") as caught:
        aspired_versions(Source("m", str(tmp_path / "none")))
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_a_base_path_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StatusError, match="Cannot read base path"):
        aspired_versions(Source("m", str(tmp_path / "file")))


def test_one_missing_base_path_aborts_the_whole_poll(tmp_path: Path) -> None:
    versions(tmp_path / "good", 1)
    good, missing = Source("good", str(tmp_path / "good")), Source("missing", str(tmp_path / "none"))
    assert list(poll([good])) == ["good"]
    with pytest.raises(StatusError, match="missing"):
        poll([good, missing])
