"""The gateways' shared secret."""

import stat
import threading
from pathlib import Path

import pytest

from serving.errors import InputError
from serving.gateway.secret import secret


def test_it_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "gateway.secret"
    first = secret(path)
    assert len(first) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret(path) == first
    assert [one.name for one in path.parent.iterdir()] == ["gateway.secret"]


def test_two_of_them_are_different(tmp_path: Path) -> None:
    assert secret(tmp_path / "one") != secret(tmp_path / "two")


def test_gateways_that_start_at_the_same_time_have_the_same_one(tmp_path: Path) -> None:
    path, found, start = tmp_path / "gateway.secret", [], threading.Barrier(8)

    def ask() -> None:
        start.wait()
        found.append(secret(path))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_one_that_was_put_there_is_taken_without_the_white_space_around_it(tmp_path: Path) -> None:
    path = tmp_path / "given"
    path.write_bytes(b" 0123456789abcdef \r\n")
    assert secret(path) == b"0123456789abcdef"


@pytest.mark.parametrize("content", [b"", b"\n\n", b"short"])
def test_one_that_protects_nothing_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "given"
    path.write_bytes(content)
    with pytest.raises(InputError, match="--secret-file"):
        secret(path)


def test_a_place_where_it_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "gateway.secret", tmp_path):
        with pytest.raises(InputError, match="--secret-file"):
            secret(path)
