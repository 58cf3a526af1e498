"""Where things are put."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.impressions import schema


@given(st.lists(st.text(max_size=400), unique=True, min_size=2, max_size=2))
def test_any_name_of_a_model_is_one_folder_of_its_own(names: list[str]) -> None:
    folders = [schema.model_folder(name) for name in names]
    assert folders[0] != folders[1]
    for folder in folders:
        above, _, name = folder.partition("/")
        assert above == "impressions"
        assert name.startswith("model=")
        assert "/" not in name
        assert len(name.encode("ascii")) <= 255


@given(st.integers(0, 1_000_000))
def test_the_hour_can_be_read_from_its_folder(hour: int) -> None:
    assert schema.hour_of(*schema.hour_folder(hour).split("/")) == hour


@pytest.mark.parametrize("parts", [("date=2026-13-01", "hour=00"), ("date=", "hour=1"), (".journal", "x"), ("", "")])
def test_a_folder_that_is_no_hour_is_told_apart(parts: tuple[str, str]) -> None:
    assert schema.hour_of(*parts) is None
