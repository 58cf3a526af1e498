"""The plan's file: written whole, read back, and refused where it is not what the controller wrote."""

import json
import os
import stat
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import InputError
from serving.traffic_plan import ModelPlan, Target, TrafficPlan, decode, encode, read, write

CLICKS = ModelPlan("clicks", Target(3), Target(4, "version"), 0.05, 0.5, "clicks/7", 7, 2)
PLAN = TrafficPlan(12, {"clicks": CLICKS, "solo": ModelPlan("solo", Target(0))})
WHOLE_NUMBERS = st.integers(0, (1 << 63) - 1)
NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/:"), min_size=1, max_size=20)
TARGETS = st.builds(Target, WHOLE_NUMBERS, st.sampled_from(["label", "version"]))
SHARES = st.floats(0, 1)


@st.composite
def plans(draw: st.DrawFn) -> TrafficPlan:
    models = {}
    for name in draw(st.sets(NAMES, max_size=4)):
        canary = draw(st.none() | TARGETS)
        share, shadow = (draw(SHARES), draw(SHARES)) if canary else (0.0, 0.0)
        salt, rollout = draw(st.text(max_size=10)), draw(st.none() | WHOLE_NUMBERS)
        models[name] = ModelPlan(name, draw(TARGETS), canary, share, shadow, salt, rollout, draw(WHOLE_NUMBERS))
    return TrafficPlan(draw(WHOLE_NUMBERS), models)


def said() -> dict[str, Any]:
    """PLAN as it stands in the file."""
    found: dict[str, Any] = json.loads(encode(PLAN))
    return found


def decoded(content: Any) -> TrafficPlan:
    return decode(json.dumps(content).encode(), "the plan")


@given(plans())
def test_what_was_written_is_read(plan: TrafficPlan) -> None:
    assert decode(encode(plan).encode(), "") == plan


def test_a_plan_is_replaced_and_leaves_nothing_else_behind(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "plan.json"
    for generation in (1, 2):
        write(path, replace(PLAN, generation=generation))
        assert read(path) == replace(PLAN, generation=generation)
    assert [one.name for one in path.parent.iterdir()] == ["plan.json"]


def test_gateways_of_other_users_can_read_it(tmp_path: Path) -> None:
    write(tmp_path / "plan.json", PLAN)
    (tmp_path / "any file").touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plan.json", "any file")]
    assert modes[0] == modes[1]


def test_a_write_that_fails_leaves_the_old_plan_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "plan.json"
    write(path, PLAN)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(path, TrafficPlan(13))
    assert read(path) == PLAN
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_where_the_folder_should_be_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        write(tmp_path / "file" / "plan.json", PLAN)


def test_two_controllers_that_write_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    failed = []

    def publish(number: int) -> None:
        try:
            for generation in range(50):
                write(path, replace(PLAN, generation=number * 100 + generation))
        except OSError as error:
            failed.append(error)

    writers = [threading.Thread(target=publish, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            assert read(path).models == PLAN.models
    assert failed == []
    assert list(tmp_path.iterdir()) == [path]


def test_no_file_is_told_from_a_bad_one(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with pytest.raises(FileNotFoundError):
        read(path)
    path.write_text("{}")
    with pytest.raises(InputError, match=f"{path} is not a traffic plan: 'format' is missing"):
        read(path)


def test_a_plan_that_is_cut_off_anywhere_is_refused() -> None:
    content = encode(PLAN).rstrip().encode()
    for size in range(len(content)):
        with pytest.raises(InputError):
            decode(content[:size], "")


@given(st.binary())
def test_garbage_is_refused(content: bytes) -> None:
    with pytest.raises(InputError):
        decode(content, "")


@pytest.mark.parametrize("content", [b"[" * 100_000, b"null", b"1", b'"a"', b"[]", b"\xff\xfe\x00", b"\0" * 4096])
def test_so_is_what_is_json_at_most(content: bytes) -> None:
    with pytest.raises(InputError, match="do not edit it by hand"):
        decode(content, "")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("share", value) for value in (-0.1, 1.1, float("nan"), float("inf"), 10**400, True, "0.5", None, [0.5])),
        *(("shadow", value) for value in (-1, 2, None)),
        *(("step", value) for value in (-1, 1.0, None, True, 1 << 63, "1")),
        *(("rollout", value) for value in (-1, 0.5, True, 1 << 63)),
        *(("salt", value) for value in (None, 1, ["a"], "\ud800")),
        *(("model", value) for value in ("other", None, 1)),
        *(("stable", value) for value in (None, {}, 3, {"version": 3}, {"version": 3, "by": "name"})),
        *(("stable", {"version": value, "by": "label"}) for value in (-1, None, "3", 1 << 63, 3.0)),
        *(("canary", {}), ("canary", 4), ("canary", [4, "label"])),
    ],
)
def test_a_wrong_value_is_refused(field: str, value: object) -> None:
    content = said()
    content["models"]["clicks"][field] = value
    with pytest.raises(InputError):
        decoded(content)


@pytest.mark.parametrize("field", list(said()["models"]["clicks"]))
def test_a_missing_value_is_refused(field: str) -> None:
    content = said()
    del content["models"]["clicks"][field]
    with pytest.raises(InputError, match=f"'{field}' is missing"):
        decoded(content)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("format", 2), ("format", None), ("generation", -1), ("generation", 1.5), ("generation", None)),
        *(("models", None), ("models", []), ("models", {"clicks": None}), ("models", {"clicks": []})),
    ],
)
def test_a_wrong_frame_is_refused(field: str, value: object) -> None:
    with pytest.raises(InputError):
        decoded(said() | {field: value})


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "a\nb", "\0", "\ud800"])
def test_a_name_that_no_model_can_have_is_refused(name: str) -> None:
    content = said()
    content["models"] = {name: content["models"]["clicks"] | {"model": name}}
    with pytest.raises(InputError):
        decoded(content)


@pytest.mark.parametrize("field", ["share", "shadow"])
def test_a_share_without_a_canary_is_refused(field: str) -> None:
    content = said()
    content["models"]["solo"][field] = 0.5
    with pytest.raises(InputError, match="without a canary"):
        decoded(content)


def test_another_format_is_told_from_a_torn_file() -> None:
    with pytest.raises(InputError, match="its format is 2; this gateway reads 1"):
        decoded(said() | {"format": 2})


def test_shares_of_whole_numbers_are_shares() -> None:
    content = said()
    content["models"]["clicks"] |= {"share": 1, "shadow": 0}
    assert decoded(content).models["clicks"] == replace(CLICKS, share=1.0, shadow=0.0)
