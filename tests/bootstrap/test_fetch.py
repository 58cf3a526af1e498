import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bootstrap import fetch
from bootstrap.errors import SetupError
from bootstrap.place import Place


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python without pip, as Debian's is."""
    run = subprocess.run

    def without_pip(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if command[1:] == ["-m", "pip", "--version"]:
            return subprocess.CompletedProcess(command, 1)
        done: subprocess.CompletedProcess[str] = run(command, **options)
        return done

    monkeypatch.setattr(subprocess, "run", without_pip)
    monkeypatch.setattr(fetch, "_bundled_pip_wheels", list)


@pytest.mark.usefixtures("no_pip")
@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="builds a small Debian package")
def test_pip_comes_out_of_the_distributions_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    wheel = tree / "usr/share/python-wheels/pip-1.0-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    wheel.write_text("")
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text("Package: x\nVersion: 1\nArchitecture: all\nMaintainer: n\nDescription: n\n")
    deb = tmp_path / "python3-pip-whl_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", tree, deb], check=True, capture_output=True)
    script = tmp_path / "apt-get"
    script.write_text(f'#!/bin/sh\ncase "$*" in *"download python3-pip-whl") cp {deb} . ;; esac\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    command = fetch.pip_command(tmp_path / "scratch")
    assert command == [sys.executable, f"{tmp_path}/scratch/usr/share/python-wheels/{wheel.name}/pip"]


@pytest.mark.usefixtures("no_pip")
def test_no_pip_to_be_had_is_said_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="no pip to fetch packages with.*apt-get install python3-pip"):
        fetch.pip_command(tmp_path / "scratch")


def test_tools_are_fetched_again_only_when_their_lock_changes(place: Place) -> None:
    pip = [str(place.root / "fake" / "pip")]
    place.venv.mkdir()
    folder = fetch.tools(place, pip)
    (folder / "mark").write_text("")
    assert fetch.tools(place, pip) == folder
    assert (folder / "mark").exists()
    (place.requirements / "tools.lock").write_text("# newer\n")
    fetch.tools(place, pip)
    assert not (folder / "mark").exists()


def test_uv_gets_the_index_and_certificate_of_the_hosts_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_DEFAULT_INDEX", "SSL_CERT_FILE", "PIP_CERT", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    pip = tmp_path / "pip"
    pip.write_text('#!/bin/sh\ncase "$3" in global.index-url) echo https://index.invalid ;; *) exit 1 ;; esac\n')
    pip.chmod(0o755)
    monkeypatch.setenv("PIP_CERT", "/etc/own.pem")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    environment = fetch.uv_environment([str(pip)])
    assert environment["UV_DEFAULT_INDEX"] == "https://index.invalid"
    assert environment["SSL_CERT_FILE"] == "/etc/own.pem"
    assert "PYTHONDONTWRITEBYTECODE" not in environment


def test_uv_trusts_the_systems_certificates_where_nothing_else_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SSL_CERT_FILE", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(fetch, "_configured", lambda pip, setting: "")
    monkeypatch.setattr(fetch, "SYSTEM_CERTIFICATES", tmp_path / "ca.crt")
    assert "SSL_CERT_FILE" not in fetch.uv_environment([])
    (tmp_path / "ca.crt").write_text("")
    assert fetch.uv_environment([])["SSL_CERT_FILE"] == str(tmp_path / "ca.crt")
