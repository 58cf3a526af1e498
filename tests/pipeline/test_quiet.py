import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.quiet import native_words_to


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_native_words_go_to_the_log_and_pythons_to_the_screen(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "logs" / "run.log"
    with native_words_to(log):
        os.write(2, b"a native word\n")
        subprocess.run([sys.executable, "-c", "import sys; print('a child', file=sys.stderr)"], check=True)
        print("python's word", file=sys.stderr)
    os.write(2, b"afterwards\n")
    assert log.read_text() == "a native word\na child\n"
    assert capfd.readouterr().err == "python's word\nafterwards\n"


def test_a_second_time_is_appended(tmp_path: Path) -> None:
    for word in (b"1", b"2"):
        with native_words_to(tmp_path / "log"):
            os.write(2, word)
    assert (tmp_path / "log").read_text() == "12"


def test_an_error_gives_the_screen_back_and_leaves_no_descriptor_open(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before, screen = open_files(), sys.stderr
    with pytest.raises(RuntimeError), native_words_to(tmp_path / "log"):
        raise RuntimeError
    assert sys.stderr is screen
    os.write(2, b"seen\n")
    assert capfd.readouterr().err == "seen\n"
    assert open_files() == before
