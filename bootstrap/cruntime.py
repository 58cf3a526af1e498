"""A private, newer C runtime for the venv's Python, on hosts whose own is too old for the TFX wheels.

The wheels of tensorflow-data-validation and ml-metadata 1.21 need glibc 2.39 and a libstdc++ with GLIBCXX_3.4.32 and
CXXABI_1.3.15. Debian 12 and Ubuntu 22.04 have older ones. Their next release's libc6, libstdc++6 and libgcc-s1 are
unpacked inside the venv, and the venv's own copies of the interpreter are told to use them: nothing on the system
changes and no root is needed. Packages come from the host's own mirrors, checked by apt against the host's keys.
Remove this module when the oldest supported systems have glibc 2.39.
"""

import os
import platform
import re
import shutil
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from bootstrap.errors import SetupError
from bootstrap.process import ask

GLIBC_NEEDED = (2, 39)
GLIBC_NEEDED_BY_TENSORFLOW = (2, 27)
LIBSTDCXX_NEEDED = (b"GLIBCXX_3.4.32", b"CXXABI_1.3.15")
PACKAGES = ("libc6", "libstdc++6", "libgcc-s1")
# Old release: (a newer one whose C runtime is new enough, whose archive it is).
NEWER_RELEASE = {"bookworm": ("trixie", "debian"), "jammy": ("noble", "ubuntu")}
LIBRARY_FOLDERS = ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64", "/usr/lib")
CONTAINER_ROUTE = (
    'Use a container: `docker run --rm -it --platform linux/amd64 -v "$PWD":/pressline -w /pressline '
    "python:3.11-trixie make run` (docs/setup.md, Container)."
)


def glibc_version() -> Optional[Tuple[int, int]]:
    """The host's glibc as (major, minor); None where the C library is not glibc."""
    try:
        name = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError, AttributeError):
        return None
    match = re.match(r"glibc (\d+)\.(\d+)", name)
    return (int(match.group(1)), int(match.group(2))) if match else None


def libstdcxx_lacks() -> List[str]:
    """The symbol versions that the TFX wheels need and the host's libstdc++ does not have."""
    found = b""
    for folder in LIBRARY_FOLDERS:
        library = Path(folder, "libstdc++.so.6")
        if library.exists():
            found = library.read_bytes()
            break
    return [version.decode() for version in LIBSTDCXX_NEEDED if version + b"\0" not in found]


def needed(group: str) -> bool:
    """Whether this group of packages needs a newer C runtime than the host's.

    Raises:
        SetupError: the host can have no such packages at all (not Linux x86-64, not glibc, or older than TensorFlow's).
    """
    system, machine, version = platform.system(), platform.machine(), glibc_version()
    if system != "Linux" or machine != "x86_64":
        raise SetupError(f"the locked wheels are for Linux on x86-64; this is {system} on {machine}. {CONTAINER_ROUTE}")
    if version is None:
        raise SetupError(f"the locked wheels need glibc; this system's C library is another, musl? {CONTAINER_ROUTE}")
    if version < GLIBC_NEEDED_BY_TENSORFLOW:
        raise SetupError(f"TensorFlow needs glibc 2.27 or newer; this host has {_dotted(version)}. {CONTAINER_ROUTE}")
    return group != "serving" and (version < GLIBC_NEEDED or bool(libstdcxx_lacks()))


def source() -> Tuple[str, str, str]:
    """Where a newer C runtime can come from: (this host's release, the newer one, whose archive).

    Raises:
        SetupError: from nowhere: no apt, or a release that is not known here.
    """
    have = f"the TFX wheels need glibc 2.39 and a libstdc++ of GCC 13; this host has glibc {_dotted(glibc_version())}"
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise SetupError(f"{have}, and no apt-get to fetch newer ones with. {CONTAINER_ROUTE}")
    release = _os_release()
    codename = release.get("UBUNTU_CODENAME") or release.get("VERSION_CODENAME", "")
    if codename not in NEWER_RELEASE:
        known = " and ".join(NEWER_RELEASE)
        name = release.get("PRETTY_NAME", "this system")
        raise SetupError(f"{have}, and newer ones are known only for {known}, not for {name}. {CONTAINER_ROUTE}")
    return (codename, *NEWER_RELEASE[codename])


def unpack(folder: Path) -> None:
    """Puts the newer release's C runtime into `folder`, which appears complete or not at all.

    Raises:
        SetupError: no source for it, or a failed download.
    """
    scratch = folder.with_suffix(".new")
    shutil.rmtree(str(scratch), ignore_errors=True)
    apt = _private_apt(scratch / "apt")
    debs = scratch / "apt" / "debs"
    debs.mkdir()
    ask([*apt, "update"], "could not read the newer release's package lists", remedy=CONTAINER_ROUTE)
    ask([*apt, "download", *PACKAGES], "could not download the C runtime", debs, CONTAINER_ROUTE)
    for deb in sorted(debs.glob("*.deb")):
        ask(["dpkg-deb", "-x", str(deb), str(scratch)], f"could not unpack {deb.name}")
    shutil.rmtree(str(scratch / "apt"))
    _parts(scratch)
    shutil.rmtree(str(folder), ignore_errors=True)
    scratch.rename(folder)


def patch(pythons: List[Path], folder: Path, patchelf: Path) -> None:
    """Makes each interpreter load the C runtime in `folder` instead of the host's.

    `--add-needed` puts the C++ runtime into the process first: extensions that carry a RUNPATH of their own would
    otherwise find the host's.
    """
    loader, libraries = _parts(folder)
    for python in pythons:
        old = ask([str(patchelf), "--print-rpath", str(python)], "could not read the interpreter").strip()
        rpath = ":".join(part for part in [*map(str, libraries), old] if part)
        options = ["--set-interpreter", str(loader), "--force-rpath", "--set-rpath", rpath]
        for library in ("libstdc++.so.6", "libgcc_s.so.1"):
            options += ["--add-needed", library]
        ask([str(patchelf), *options, str(python)], "could not patch the interpreter")


def _parts(folder: Path) -> Tuple[Path, List[Path]]:
    """The loader and the library folders of an unpacked runtime (before the merge of /usr there could be two)."""
    loaders = sorted(folder.rglob("ld-linux-x86-64.so.2"))
    found = [sorted(folder.rglob(name)) for name in ("libc.so.6", "libstdc++.so.6", "libgcc_s.so.1")]
    if not loaders or not all(found):
        raise SetupError(f"the C runtime in {folder} is not complete: run `make clean`, then the same command again")
    return loaders[0], sorted({paths[0].parent for paths in found})


def _private_apt(folder: Path) -> List[str]:
    """An apt-get command with its own state and the newer release as its only source; proxies stay the host's."""
    codename, newer, family = source()
    # `apt-get indextargets` prints what the host itself is configured to use, whatever the format of its files.
    form = ["--format", "$(SITE)|$(RELEASE)|$(CODENAME)|$(COMPONENT)", "Created-By: Packages"]
    listing = ask(["apt-get", "indextargets", *form], "could not read the host's apt sources", remedy=CONTAINER_ROUTE)
    targets = [target.split("|") for target in sorted(set(listing.splitlines()))]
    keyring = Path(f"/usr/share/keyrings/{family}-archive-keyring.gpg")
    signed_by = f" signed-by={keyring}" if keyring.exists() else ""  # otherwise apt's own trusted keys
    # A source may name its release by an alias ("stable"): then only the downloaded list knows the code name.
    sites = {site for site, release, name, part in targets if codename in (release, name) and part == "main"}
    if not sites:
        raise SetupError(
            f"no apt source of this host offers {codename}/main, so there is no mirror to ask for {newer}: "
            f"add the distribution's main archive to the sources, or `apt-get update` first. {CONTAINER_ROUTE}"
        )
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    lines = [f"deb [arch=amd64{signed_by}] {site} {newer} main\n" for site in sorted(sites)]
    (folder / "sources.list").write_text("".join(lines))
    (folder / "status").write_text("")
    settings: Dict[str, object] = {
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State": folder,
        "Dir::State::Lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "",
        "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none",
        "Acquire::Retries": 3,
        "Quiet": 1,
    }
    return ["apt-get", *(f"-o{key}={value}" for key, value in settings.items())]


def _os_release() -> Dict[str, str]:
    try:
        text = Path("/etc/os-release").read_text()
    except OSError:
        return {}
    return {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in text.splitlines()) if key}


def _dotted(version: Optional[Tuple[int, int]]) -> str:
    return ".".join(map(str, version)) if version else "none"
