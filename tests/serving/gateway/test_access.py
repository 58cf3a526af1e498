"""Who is let in."""

from pathlib import Path

import pytest

from serving.errors import InputError
from serving.gateway.access import VARIABLE, Access, read_token


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def test_without_a_token_everybody_is_let_in() -> None:
    access = Access(read_token())
    assert access.is_open
    assert access.allows(None)
    assert access.allows(b"Bearer anything")


@pytest.mark.parametrize("header", [b"Bearer s3cret", b"bearer s3cret", b"BEARER  s3cret "])
def test_the_token_is_let_in(header: bytes) -> None:
    assert Access(b"s3cret").allows(header)


@pytest.mark.parametrize(
    "header",
    [None, b"", b"Bearer", b"Bearer ", b"s3cret", b"Basic s3cret", b"Bearer s3cre", b"Bearer s3crets", b"Bearer \xff"],
)
def test_anything_else_is_not(header: bytes | None) -> None:
    assert not Access(b"s3cret").allows(header)


def test_a_file_goes_before_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "other")
    (tmp_path / "token").write_text("  s3cret\n")
    assert read_token(tmp_path / "token") == b"s3cret"
    assert read_token() == b"other"


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"two\nlines", b"\xc3\xbcmlaut", b"nul\0"])
def test_what_is_no_token_is_told_and_opens_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(InputError, match="token"):
        read_token(tmp_path / "token")


def test_an_empty_variable_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    with pytest.raises(InputError, match=VARIABLE):
        read_token()


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_token(tmp_path / "token")
