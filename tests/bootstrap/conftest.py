"""What the set-up's tests share: a checkout on a host that downloads nothing."""

from pathlib import Path

import pytest

from bootstrap.place import Place
from tests.bootstrap import fake_host


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A fresh checkout, nothing set up."""
    return fake_host.build(tmp_path)
