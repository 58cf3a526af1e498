import json
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple

import pytest

from bootstrap import install
from bootstrap.errors import SetupError
from bootstrap.place import PROJECT, Place
from tests.bootstrap.fake_host import behave, set_up, site, syncs


def test_a_set_up_venv_runs_and_finds_the_checkout(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    set_up(place, "pipeline")
    code = "import sys; print(sys.version_info[:2], sys.path)"
    said = subprocess.run([str(place.python), "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("(3, 11)")
    assert str(place.root) in said
    assert place.stamp()["finished"]
    screen = capfd.readouterr().out
    assert "Installed 1 package" in screen
    assert "something==1.0" not in screen  # one line for each of 230 packages is no news


def test_a_second_set_up_starts_no_program(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    set_up(place)

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError(f"started {arguments}")

    monkeypatch.setattr(subprocess, "run", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    set_up(place)


def test_a_changed_lock_is_synchronised_into_the_same_venv(place: Place) -> None:
    set_up(place)
    made = place.python.stat().st_mtime_ns
    (place.requirements / "dev.lock").write_text("# another\n")
    set_up(place)
    assert "# another" in (site(place) / "whole.py").read_text()
    assert place.python.stat().st_mtime_ns == made
    assert len(syncs(place)) == 2


def test_a_smaller_group_keeps_the_larger_one_and_its_gpu_packages(place: Place) -> None:
    set_up(place, "dev", gpu=True)
    set_up(place, "serving")
    assert len(syncs(place)) == 1
    (place.requirements / "gpu.lock").write_text("# another\n")
    set_up(place, "serving")
    assert syncs(place)[-1].endswith("dev.lock " + str(place.requirements / "gpu.lock"))


def test_a_larger_group_that_failed_leaves_the_smaller_one_to_be_had(place: Place) -> None:
    behave(place, "fail")
    with pytest.raises(SetupError, match="could not install the packages: `uv` ended with 1.*run it again"):
        set_up(place, "dev")
    behave(place, "work")
    set_up(place, "serving")
    assert place.stamp()["group"] == "serving"


def test_a_killed_set_up_is_made_good_by_the_next(place: Place) -> None:
    behave(place, "hang")
    command = [sys.executable, "-m", "tests.bootstrap.fake_host", str(place.root), "dev"]
    with subprocess.Popen(command, cwd=PROJECT) as killed:
        (place.root / "fake" / "reached").read_bytes()  # returns once uv has written half a package
        killed.send_signal(signal.SIGKILL)
    assert (site(place) / "half.py").exists()
    assert not place.stamp()["finished"]
    behave(place, "work")
    set_up(place)  # it also waits for the lock, which a program left behind would hold
    assert not (site(place) / "half.py").exists()
    assert (site(place) / "whole.py").exists()


def test_an_interrupt_ends_with_a_hint_and_code_130(place: Place) -> None:
    behave(place, "hang")
    command = [sys.executable, "-m", "tests.bootstrap.fake_host", str(place.root), "dev"]
    with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        (place.root / "fake" / "reached").read_bytes()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, errors = process.communicate()
    assert process.returncode == 130
    assert "interrupted; run it again to continue" in errors
    assert "Traceback" not in errors


def test_a_venv_of_another_folder_is_made_anew(place: Place) -> None:
    set_up(place)
    content = json.loads(place.stamp_file.read_text())
    place.stamp_file.write_text(json.dumps(dict(content, root="/elsewhere")))
    (site(place) / "stale.py").write_text("")
    set_up(place)
    assert not (site(place) / "stale.py").exists()


def test_a_venv_whose_python_is_gone_is_made_anew(place: Place) -> None:
    set_up(place)
    shutil.rmtree(place.venv / "bin")
    set_up(place)
    assert place.python.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"group": "unheard"}'])
def test_an_unreadable_stamp_counts_as_none(place: Place, content: str) -> None:
    set_up(place)
    place.stamp_file.write_text(content)
    assert place.stamp() == {}
    assert not place.in_step("dev", False)


def test_a_full_disk_is_said_before_anything_is_fetched(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10 * 2**30, 9 * 2**30, 2**30))
    with pytest.raises(SetupError, match=r"group dev need about 6 GiB .* 1\.0 GiB are to be had"):
        set_up(place)
    assert syncs(place) == []


def test_a_folder_that_cannot_be_written_is_a_clear_error(place: Place) -> None:
    place.venv.write_text("a file where the venv should be")
    with pytest.raises(SetupError, match="could not write what the set-up makes.*permissions"):
        set_up(place)


def test_a_missing_lock_says_how_to_restore_it(place: Place) -> None:
    (place.requirements / "dev.lock").unlink()
    with pytest.raises(SetupError, match=r"lock is missing.*git checkout bootstrap"):
        set_up(place)


def test_the_lock_of_two_set_ups_is_one(place: Place) -> None:
    place.venv.mkdir()
    code = "import fcntl, sys; fcntl.flock(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    command = [sys.executable, "-W", "ignore", "-c", code, str(place.root / ".venv.lock")]
    with install.locked(place):
        assert subprocess.run(command, capture_output=True, check=False).returncode == 1
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
