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
import subprocess
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from bootstrap.errors import SetupError

GLIBC_NEEDED = (2, 39)
LIBSTDCXX_NEEDED = (b"GLIBCXX_3.4.32", b"CXXABI_1.3.15")
PACKAGES = ("libc6", "libstdc++6", "libgcc-s1")
NEXT_RELEASE = {"bookworm": "trixie", "jammy": "noble"}
CONTAINER_ROUTE = (
    "Use a container instead: `docker run -it -v \"$PWD\":/pressline -w /pressline debian:13 bash`, then "
    "`apt-get update && apt-get install -y python3 python3-venv git make` and `make run` in it."
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
    for folder in ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64"):
        library = Path(folder, "libstdc++.so.6")
        if library.exists():
            found = library.read_bytes()
            break
    return [version.decode() for version in LIBSTDCXX_NEEDED if version + b"\0" not in found]


def needed() -> bool:
    """Whether this host's C runtime is too old for the TFX wheels.

    Raises:
        SetupError: the host can have no such runtime at all (not Linux x86-64, or not glibc).
    """
    system, machine, version = platform.system(), platform.machine(), glibc_version()
    if system != "Linux" or machine != "x86_64":
        raise SetupError(f"the TFX wheels exist for Linux on x86-64; this is {system} on {machine}. {CONTAINER_ROUTE}")
    if version is None:
        raise SetupError(f"the TFX wheels need glibc; this system's C library is another (musl?). {CONTAINER_ROUTE}")
    return version < GLIBC_NEEDED or bool(libstdcxx_lacks())


def unpack(folder: Path) -> Dict[str, str]:
    """Downloads and unpacks the next release's C runtime into `folder`; returns {package: file name}.

    Raises:
        SetupError: no apt, a distribution without a known next release, or a failed download.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise SetupError(f"the C runtime is too old and there is no apt to get a newer one with. {CONTAINER_ROUTE}")
    shutil.rmtree(folder, ignore_errors=True)
    apt = _private_apt(folder / "apt")
    debs = folder / "apt" / "debs"
    debs.mkdir()
    _run(apt + ["update"], "could not read the next release's package lists")
    _run(apt + ["download", *PACKAGES], "could not download the C runtime", cwd=debs)
    files = sorted(debs.glob("*.deb"))
    for deb in files:
        _run(["dpkg-deb", "-x", str(deb), str(folder / "root")], f"could not unpack {deb.name}")
    shutil.rmtree(folder / "apt")
    return {deb.name.split("_")[0]: deb.name for deb in files}


def patch(pythons: List[Path], folder: Path, patchelf: Path) -> None:
    """Makes each interpreter load the C runtime in `folder` instead of the host's.

    `--add-needed` puts the C++ runtime into the process first: extensions that carry a RUNPATH of their own would
    otherwise find the host's.
    """
    libraries = folder / "root" / "usr" / "lib" / "x86_64-linux-gnu"
    loader = next((folder / "root").rglob("ld-linux-x86-64.so.2"), None)
    if loader is None or not (libraries / "libstdc++.so.6").exists():
        raise SetupError(f"the unpacked C runtime in {folder} is not complete; remove .venv and run again")
    for python in pythons:
        old = _run([str(patchelf), "--print-rpath", str(python)], "could not read the interpreter").strip()
        rpath = ":".join(part for part in (str(libraries), old) if part)
        _run([str(patchelf), "--set-interpreter", str(loader), "--force-rpath", "--set-rpath", rpath,
              "--add-needed", "libstdc++.so.6", "--add-needed", "libgcc_s.so.1", str(python)],
             "could not patch the interpreter")  # fmt: skip


def _private_apt(folder: Path) -> List[str]:
    """An apt-get command with its own state and the next release as its only source; proxies stay the host's."""
    release_file = _os_release()
    codename = release_file.get("VERSION_CODENAME", "")
    following = NEXT_RELEASE.get(codename)
    if following is None:
        raise SetupError(f"the C runtime is too old and {codename or 'this system'} has no known newer release; "
                         f"known: {', '.join(NEXT_RELEASE)}. {CONTAINER_ROUTE}")  # fmt: skip
    # `apt-get indextargets` prints what the host itself is configured to use, whatever the format of its files.
    listing = _run(["apt-get", "indextargets", "--format", "$(SITE)|$(RELEASE)|$(COMPONENT)", "Created-By: Packages"], "could not read the host's apt sources")  # fmt: skip
    keyring = Path(f"/usr/share/keyrings/{release_file.get('ID', '')}-archive-keyring.gpg")
    signed_by = f" signed-by={keyring}" if keyring.exists() else ""  # otherwise apt's own trusted keys
    targets = (target.split("|") for target in sorted(set(listing.splitlines())))
    lines = [f"deb [arch=amd64{signed_by}] {site} {following} main\n"
             for site, release, component in targets if (release, component) == (codename, "main")]  # fmt: skip
    if not lines:
        raise SetupError(f"no apt source of this host offers {codename}/main, so there is no mirror to ask for "
                         f"{following}; add the distribution's main archive to its sources. {CONTAINER_ROUTE}")  # fmt: skip
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "sources.list").write_text("".join(lines))
    (folder / "status").write_text("")
    settings = {
        "Dir::Etc::SourceList": folder / "sources.list", "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null", "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State": folder, "Dir::State::Lists": folder / "lists", "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache", "APT::Sandbox::User": "", "Acquire::Languages": "none",
        "Acquire::Retries": 3, "APT::Update::Error-Mode": "any", "Quiet": 1,
    }  # fmt: skip
    return ["apt-get", *(f"-o{key}={value}" for key, value in settings.items())]


def _os_release() -> Dict[str, str]:
    try:
        text = Path("/etc/os-release").read_text()
    except OSError:
        return {}
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in text.splitlines()) if key}


def _run(command: List[str], failure: str, cwd: Optional[Path] = None) -> str:
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise SetupError(f"{failure}: `{' '.join(command[:1])}` ended with {done.returncode}:\n{last}")
    return done.stdout
