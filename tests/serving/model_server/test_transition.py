"""The version policy: examples of the contract, and its promises under anything that may happen."""

from collections.abc import Iterable

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from serving.model_server.transition import Action, Kind, State, Version, aspire, choose, flush, next_action

NUMBERS = st.integers(1, 5)


def available(versions: Iterable[Version]) -> list[int]:
    return sorted(each.number for each in versions if each.state is State.AVAILABLE)


@pytest.mark.parametrize(
    ("versions", "action"),
    [
        ([], None),
        ([Version(1), Version(3), Version(2)], Action(Kind.LOAD, 3)),
        ([Version(1, State.LOADING)], None),
        ([Version(1, State.AVAILABLE)], None),
        ([Version(1, State.AVAILABLE, aspired=False)], Action(Kind.UNLOAD, 1)),
        ([Version(1, State.AVAILABLE, aspired=False), Version(2)], Action(Kind.LOAD, 2)),
        ([Version(1, State.AVAILABLE, aspired=False), Version(2, State.LOADING)], None),
        ([Version(1, State.AVAILABLE, aspired=False), Version(2, State.END)], None),
        ([Version(1, State.AVAILABLE, aspired=False), Version(2, State.AVAILABLE)], Action(Kind.UNLOAD, 1)),
        (
            [Version(n, State.AVAILABLE, aspired=False) for n in (2, 1)] + [Version(3, State.LOADING)],
            Action(Kind.UNLOAD, 1),
        ),
        ([Version(1, State.LOADING, aspired=False)], None),
        ([Version(-2), Version(-1)], Action(Kind.LOAD, -1)),
    ],
    ids=[
        "nothing to look after",
        "the highest wanted version loads first",
        "a load under way is waited for",
        "all is as it should be",
        "nothing wanted: unload",
        "the old one serves until the new one is loaded",
        "and while it loads",
        "and when it has failed",
        "the old one goes when the new one is available",
        "of two old ones the lower goes at once",
        "a load that nobody wants is not waited for with anything",
        "negative numbers are numbers",
    ],
)
def test_one_model_needs(versions: list[Version], action: Action | None) -> None:
    assert next_action(versions) == action


def test_an_unload_goes_before_a_load_and_else_the_name_decides() -> None:
    load, unload = Action(Kind.LOAD, 1), Action(Kind.UNLOAD, 1)
    assert choose({"a": load, "b": unload, "c": unload}) == "b"
    assert choose({"b": load, "a": load}) == "a"
    assert choose({}) is None


def test_a_version_that_is_leaving_postpones_the_set_that_wants_it_back() -> None:
    for state in (State.LOADING, State.UNLOADING):
        versions = {1: Version(1, state, aspired=False), 2: Version(2, State.AVAILABLE)}
        assert not aspire(versions, {1}, Version)
        assert versions[2].aspired


def test_a_version_that_still_serves_is_wanted_back_at_once() -> None:
    versions = {1: Version(1, State.AVAILABLE, aspired=False), 2: Version(2, State.END)}
    assert aspire(versions, {1}, Version)
    assert versions == {1: Version(1, State.AVAILABLE), 2: Version(2, State.END, aspired=False)}


def test_a_failed_version_is_tried_again_only_after_nobody_wanted_it() -> None:
    versions = {1: Version(1, State.END)}
    assert aspire(versions, {1}, Version)
    assert next_action(versions.values()) is None
    assert aspire(versions, set(), Version)
    assert flush(versions) == [Version(1, State.END, aspired=False)]
    assert aspire(versions, {1}, Version)
    assert next_action(versions.values()) == Action(Kind.LOAD, 1)


class OneModel(RuleBasedStateMachine):
    """Directories come and go, loads succeed and fail, unloads end: in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: dict[int, Version] = {}
        self.wanted: set[int] = set()

    @rule(wanted=st.sets(NUMBERS))
    def directories_change(self, wanted: set[int]) -> None:
        self.wanted = wanted

    @rule()
    def tick(self) -> None:
        self.act()

    def act(self) -> Action | None:
        flush(self.versions)
        aspire(self.versions, self.wanted, Version)
        before = available(self.versions.values())
        action = next_action(self.versions.values())
        if action is None:
            return None
        version = self.versions[action.number]
        if action.kind is Kind.LOAD:
            assert version.aspired
            assert version.state is State.START
            version.state = State.LOADING
        else:
            assert not version.aspired
            assert version.state is State.AVAILABLE
            version.state = State.UNLOADING
            if any(each.aspired for each in self.versions.values()):
                assert len(before) > 1, "the only version was unloaded"
        return action

    @rule(number=NUMBERS, succeeds=st.booleans())
    def load_ends(self, number: int, succeeds: bool) -> None:
        version = self.versions.get(number)
        if version is not None and version.state is State.LOADING:
            # A load that nobody wants is closed at once, as the lifecycle does.
            version.state = State.AVAILABLE if succeeds and version.aspired else State.END

    @rule(number=NUMBERS)
    def unload_ends(self, number: int) -> None:
        version = self.versions.get(number)
        if version is not None and version.state is State.UNLOADING:
            version.state = State.END

    @invariant()
    def each_version_is_looked_after_under_its_number(self) -> None:
        assert all(number == version.number for number, version in self.versions.items())

    def teardown(self) -> None:
        """Left alone, it comes to rest with what is wanted, but for what has failed."""
        for _ in range(100):
            for number in range(1, 6):
                self.load_ends(number, succeeds=True)
                self.unload_ends(number)
            acted = self.act() is not None
            if not acted and not any(each.state in (State.LOADING, State.UNLOADING) for each in self.versions.values()):
                break
        else:
            pytest.fail("it did not come to rest")
        failed = {each.number for each in self.versions.values() if each.state is State.END}
        served = set(available(self.versions.values()))
        assert self.wanted <= served | failed
        if self.wanted - failed or not self.wanted:
            assert served == self.wanted - failed
        else:
            assert len(served) <= 1, "one old version serves on where all that is wanted has failed"


TestAnyOrderOfEvents = OneModel.TestCase
TestAnyOrderOfEvents.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)
