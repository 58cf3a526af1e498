"""A disk that can be full."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.impressions.full_disk import tiny_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 256 KiB; the test is skipped for users who may not mount one."""
    with tiny_disk(tmp_path / "disk") as folder:
        if folder is None:
            pytest.skip("mounting a tmpfs needs root; the tests with an injected OSError say the same of the code")
        yield folder
