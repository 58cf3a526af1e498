import subprocess
import sys
from pathlib import Path

import pytest

from bootstrap import cruntime, doctor
from bootstrap.doctor import Finding
from bootstrap.place import PROJECT, Place
from tests.bootstrap.fake_host import behave, set_up


def nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    script = folder / "nvidia-smi"
    script.write_text(f"#!/bin/sh\n{answer}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def files(monkeypatch: pytest.MonkeyPatch, **contents: str) -> None:
    """Makes the doctor read these instead of the host's; every other file is missing."""
    paths = {"cpuinfo": "/proc/cpuinfo", "meminfo": "/proc/meminfo", "limit": "/sys/fs/cgroup/memory.max",
             "driver": "/proc/driver/nvidia/version"}  # fmt: skip
    known = {paths[name]: content for name, content in contents.items()}
    monkeypatch.setattr(doctor, "_read", lambda path: known.get(path, ""))


def test_every_lack_is_printed_with_its_remedy_and_fails(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        doctor, "CHECKS", [lambda place: Finding("Sun", "up"), lambda place: Finding("Tea", "no", "boil")]
    )
    assert doctor.report(place) == 1
    assert capsys.readouterr().out.splitlines() == [
        "ok      Sun         up",
        "lacking Tea         no",
        "                    -> boil",
        "1 of 2 lacking",
    ]


def test_a_host_that_lacks_nothing_succeeds(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", [lambda place: Finding("Sun", "up")])
    assert doctor.report(place) == 0


def test_it_runs_with_nothing_installed() -> None:
    # -I -S: neither site-packages nor the environment, so only the standard library is there.
    code = f"import sys; sys.path.insert(0, {str(PROJECT)!r}); from bootstrap.__main__ import main; main(['doctor'])"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    subjects = [line[8:20].strip() for line in done.stdout.splitlines() if line.startswith(("ok", "lacking"))]
    assert subjects == ["Python", "Processor", "C runtime", "Disk", "Memory", "GPU", "Packages", "git", "make"]


def test_the_venv_goes_from_missing_over_interrupted_to_in_step_to_out_of_step(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cruntime, "needed", lambda group: False)
    assert doctor.venv(place) == Finding("Packages", "no .venv yet", "`make setup`")
    behave(place, "fail")
    with pytest.raises(Exception, match="could not install"):
        set_up(place)
    assert "interrupted or failed" in doctor.venv(place).found
    behave(place, "work")
    set_up(place)
    assert doctor.venv(place) == Finding("Packages", "group dev, in step with the locks")
    (place.requirements / "dev.lock").write_text("# newer\n")
    assert doctor.venv(place).remedy == "`make setup`"
    place.python.unlink()
    assert "does not start" in doctor.venv(place).found


def test_a_container_with_little_memory_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    files(monkeypatch, meminfo="MemTotal:  16777216 kB\n", limit="max\n")
    assert doctor.memory(place) == Finding("Memory", "16.0 GiB, 4 needed")
    files(monkeypatch, meminfo="MemTotal:  16777216 kB\n", limit=f"{2 * 2**30}\n")
    assert doctor.memory(place).found == "2.0 GiB, 4 needed"
    assert doctor.memory(place).remedy


def test_a_processor_without_avx_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    files(monkeypatch, cpuinfo="flags\t\t: fpu sse avx\nbugs\t\t: none\n")
    assert not doctor.processor(place).remedy
    files(monkeypatch, cpuinfo="flags\t\t: fpu sse avxtra\n")
    assert "AVX" in doctor.processor(place).remedy


def test_no_gpu_is_no_lack(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files(monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor, "_has_nvidia_device", lambda: False)
    assert doctor.gpu(place) == Finding("GPU", "none; training uses the processor")


@pytest.mark.parametrize(
    ("answer", "found", "remedy"),
    [
        (
            "echo NVIDIA H100, 550.54.15, 81559",
            "NVIDIA H100, 81559 MiB, driver 550.54.15; .venv cannot",
            "make setup GPU=1",
        ),
        ("echo NVIDIA K80, 470.82.01, 11441", "driver 470.82.01", "525 or newer: upgrade"),
    ],
)
def test_a_gpu_is_named_with_what_it_still_needs(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, found: str, remedy: str
) -> None:
    nvidia_smi(tmp_path, monkeypatch, answer)
    finding = doctor.gpu(place)
    assert found in finding.found
    assert remedy in finding.remedy


def test_a_gpu_with_driver_and_libraries_is_fine(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_up(place, gpu=True)
    nvidia_smi(tmp_path, monkeypatch, "echo NVIDIA H100, 550.54.15, 81559")
    assert not doctor.gpu(place).remedy


def test_a_loaded_driver_that_nvidia_smi_cannot_reach_is_told(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(tmp_path, monkeypatch, "exit 9")
    files(monkeypatch, driver="NVRM version: NVIDIA 550.54.15\n")
    assert "--gpus all" in doctor.gpu(place).remedy


def test_a_device_without_a_driver_is_told(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files(monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor, "_has_nvidia_device", lambda: True)
    assert "install NVIDIA's driver" in doctor.gpu(place).remedy


def test_a_missing_program_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert doctor.program("git")(place) == Finding("git", "not on the PATH", "install it: `apt-get install git`")
