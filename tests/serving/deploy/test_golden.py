"""What is rendered is what it was."""

import pytest

from tests.serving.deploy import golden


@pytest.mark.parametrize(("name", "state"), golden.CASES)
def test_the_files_are_the_golden_ones(name: str, state: str) -> None:
    there = {path.name: path.read_text() for path in golden.folder(name, state).iterdir()}
    assert dict(golden.rendered(name, state)) == there, f"where the change is meant: python -m {golden.__name__}"
