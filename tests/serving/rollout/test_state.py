"""The words that users know for where a rollout stands."""

import pytest

from serving.rollout.state import LEAVING, LIVE, Phase, words
from tests.serving.rollout.machines import rollout


@pytest.mark.parametrize(
    ("phase", "changes", "said"),
    [
        (Phase.STAGED, {}, "staged"),
        (Phase.WARMING, {}, "warming"),
        (Phase.LABELLING, {}, "warming"),
        (Phase.CANARY, {"step": 2}, "canary 2/3"),
        (Phase.CANARY, {"step": 2, "paused": True}, "canary 2/3, paused"),
        (Phase.PROMOTING, {"step": 3}, "canary 3/3, promoting"),
        (Phase.STABLE, {}, "stable"),
        (Phase.STABLE, {"bad": True}, "rolling back"),
        (Phase.RETIRING, {}, "stable"),
        (Phase.WITHDRAWING, {}, "rolling back"),
        (Phase.UNLABELLING, {}, "rolling back"),
        (Phase.UNLOADING, {}, "rolling back"),
        (Phase.DONE, {}, "stable"),
        (Phase.DONE, {"promoted": False}, "superseded"),
        (Phase.ROLLED_BACK, {}, "rolled_back"),
    ],
)
def test_every_phase_has_its_words(phase: Phase, changes: dict[str, bool | int], said: str) -> None:
    assert words(rollout(phase, **changes), 3) == said


def test_a_rollout_is_live_until_it_has_ended() -> None:
    assert {phase for phase in Phase if not rollout(phase).live} == {Phase.DONE, Phase.ROLLED_BACK}
    assert LEAVING < LIVE
