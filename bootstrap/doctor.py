"""`make doctor`: what this host has and lacks, each lack with its remedy. Needs nothing installed."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Optional

from bootstrap import cruntime
from bootstrap.errors import SetupError
from bootstrap.install import SPACE_NEEDED_GIB, space_gib
from bootstrap.place import Place
from bootstrap.python import REMEDY, on_the_path, version_of

MEMORY_NEEDED_GIB = 4.0
SPACE_TO_RUN_GIB = 1.0
DRIVER_NEEDED = 525  # of the CUDA 12 libraries in gpu.lock
NVIDIA_VENDOR, DISPLAY_CLASS = "0x10de", "0x03"


@dataclass(frozen=True)
class Finding:
    """One line of the report; `remedy` is empty where nothing is lacking."""

    subject: str
    found: str
    remedy: str = ""


def report(place: Place) -> int:
    """Prints a line for each check; returns 0 when nothing is lacking, else 1."""
    findings = [check(place) for check in CHECKS]
    for finding in findings:
        state = "lacking" if finding.remedy else "ok"
        print(f"{state:8}{finding.subject:12}{finding.found}")
        if finding.remedy:
            print(f"{'':20}-> {finding.remedy}")
    lacking = sum(bool(finding.remedy) for finding in findings)
    print(f"{lacking} of {len(findings)} lacking" if lacking else "all is well")
    return 1 if lacking else 0


def python(place: Place) -> Finding:
    """A Python 3.11, on the PATH or in the venv already."""
    found = on_the_path()
    if found:
        return Finding("Python", f"3.11, {found}")
    here = ".".join(map(str, sys.version_info[:2]))
    if version_of(str(place.python)) == (3, 11):
        return Finding("Python", f"3.11 in .venv; `python3` is {here}")
    return Finding("Python", f"`python3` is {here}, no `python3.11` on the PATH; uv is asked for one", REMEDY)


def processor(place: Place) -> Finding:
    """TensorFlow's wheels are compiled for AVX and end with an illegal instruction elsewhere."""
    count = f"{os.cpu_count()} cores"
    flags = _read("/proc/cpuinfo")
    if flags and " avx " not in flags.replace("\n", " \n"):
        return Finding("Processor", f"{count}, without AVX", "TensorFlow's wheels need AVX: use another machine")
    return Finding("Processor", count)


def c_runtime(place: Place) -> Finding:
    """The host's own where it is new enough, else the private one of the venv or a way to get it."""
    version = ".".join(map(str, cruntime.glibc_version() or ("none",)))
    try:
        if not cruntime.needed("pipeline"):
            return Finding("C runtime", f"glibc {version}, new enough for TFX")
        if place.stamp().get("private_runtime") and place.stamp().get("finished"):
            return Finding("C runtime", f"glibc {version} is too old for TFX; .venv has a newer one of its own")
        _codename, newer, _ = cruntime.source()
    except SetupError as error:
        return Finding("C runtime", f"glibc {version}", str(error))
    return Finding("C runtime", f"glibc {version} is too old for TFX; `make setup` puts {newer}'s into .venv")


def disk(place: Place) -> Finding:
    """Room for the venv, or for what runs leave behind once there is one."""
    need = SPACE_TO_RUN_GIB if place.stamp().get("finished") else SPACE_NEEDED_GIB["dev"]
    free = space_gib(place) if need != SPACE_TO_RUN_GIB else shutil.disk_usage(str(place.root)).free / 2**30
    found = f"{free:.1f} GiB free at {place.root}, {need:.0f} needed"
    return Finding("Disk", found, "" if free >= need else "free some, or move the checkout to a larger disk")


def memory(place: Place) -> Finding:
    """What a run may use: the machine's memory, or the container's limit where that is smaller."""
    fields = dict(line.split(":", 1) for line in _read("/proc/meminfo").splitlines() if ":" in line)
    if "MemTotal" not in fields:
        return Finding("Memory", "unknown on this system")
    total = int(fields["MemTotal"].split()[0]) / 2**20
    for limit_file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        limit = _read(limit_file).strip()
        if limit.isdigit():
            total = min(total, int(limit) / 2**30)
    found = f"{total:.1f} GiB, {MEMORY_NEEDED_GIB:.0f} needed"
    short = "give the machine or its container more memory, or the line a smaller --window"
    return Finding("Memory", found, "" if total >= MEMORY_NEEDED_GIB else short)


def gpu(place: Place) -> Finding:
    """The NVIDIA driver, what it sees, and whether the venv has the libraries to use it."""
    seen = _nvidia_smi()
    if seen is None:
        driver = _read("/proc/driver/nvidia/version")
        if driver:
            return Finding("GPU", driver.splitlines()[0], "the driver is loaded and nvidia-smi does not answer: in a "
                           "container, start it with `--gpus all`; else reinstall the driver")  # fmt: skip
        if _has_nvidia_device():
            remedy = f"install NVIDIA's driver, {DRIVER_NEEDED} or newer (Debian: `apt-get install nvidia-driver`)"
            return Finding("GPU", "an NVIDIA device without a driver", remedy)
        return Finding("GPU", "none; training uses the processor")
    name, driver, memory_mib = seen
    found = f"{name}, {memory_mib} MiB, driver {driver}"
    major = driver.split(".")[0]
    if major.isdigit() and int(major) < DRIVER_NEEDED:
        return Finding("GPU", found, f"the CUDA libraries need driver {DRIVER_NEEDED} or newer: upgrade it")
    if not place.stamp().get("gpu"):
        return Finding("GPU", f"{found}; .venv cannot use it", "`make setup GPU=1` adds the CUDA libraries")
    return Finding("GPU", found)


def venv(place: Place) -> Finding:
    """The venv, finished and made from the present locks."""
    stamp = place.stamp()
    if not stamp:
        return Finding("Packages", "no .venv yet", "`make setup`")
    group = f"group {stamp['group']}{' and CUDA' if stamp.get('gpu') else ''}"
    if not stamp.get("finished"):
        return Finding("Packages", "the set-up of .venv was interrupted or failed", "`make setup` continues it")
    if version_of(str(place.python)) is None:
        return Finding("Packages", f"{group}: .venv/bin/python does not start", "`make clean`, then `make setup`")
    try:
        in_step = place.in_step(str(stamp["group"]), bool(stamp.get("gpu")))
    except SetupError as error:
        return Finding("Packages", group, str(error))
    if not in_step:
        return Finding("Packages", f"{group}: .venv is not what the present locks ask for", "`make setup`")
    return Finding("Packages", f"{group}, in step with the locks")


def program(name: str) -> Callable[[Place], Finding]:
    """A check that a program is on the PATH."""

    def check(place: Place) -> Finding:
        path = shutil.which(name)
        return (
            Finding(name, path) if path else Finding(name, "not on the PATH", f"install it: `apt-get install {name}`")
        )

    return check


CHECKS: List[Callable[[Place], Finding]] = [
    python, processor, c_runtime, disk, memory, gpu, venv, program("git"), program("make"),
]  # fmt: skip


def _nvidia_smi() -> Optional[List[str]]:
    """(name, driver version, memory in MiB) of the first GPU; None where nvidia-smi is missing or finds none."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(
            query,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            universal_newlines=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = said.stdout.strip().splitlines()
    fields = [field.strip() for field in lines[0].split(",")] if said.returncode == 0 and lines else []
    return fields if len(fields) == 3 else None


def _has_nvidia_device() -> bool:
    return any(
        _read(str(device / "vendor")).strip() == NVIDIA_VENDOR
        and _read(str(device / "class")).startswith(DISPLAY_CLASS)
        for device in Path("/sys/bus/pci/devices").glob("*")
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
