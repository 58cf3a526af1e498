"""Which versions are served, and how one follows another (contract 4 and 5)."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving.model_server.conformance.clients import predict_text
from tests.serving.model_server.conformance.nursery import Nursery
from tests.serving.model_server.conformance.process import until
from tests.serving.model_server.conformance.shelf import Models, entry, specific
from tests.serving.model_server.models import push

HERE = "AVAILABLE"
HUGE_BYTES = 200 << 20


class Asking(threading.Thread):
    """Asks over and over until it is told to stop; remembers what went wrong."""

    def __init__(self, ask: Callable[[], float]) -> None:
        super().__init__(daemon=True)
        self.ask = ask
        self.answers = 0
        self.errors: list[str] = []
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.wait(0.002):
            try:
                assert self.ask() in (3.0, 4.0)
                self.answers += 1
            except Exception as error:
                self.errors.append(str(error))

    def stop(self) -> None:
        self._end.set()
        self.join()
        assert self.errors == []
        assert self.answers > 0


@pytest.mark.parametrize(
    ("policy", "states"),
    [
        ("", {3: HERE}),
        ("latest {}", {3: HERE}),
        ("latest { num_versions: 0 }", {3: HERE}),
        ("latest { num_versions: 2 }", {2: HERE, 3: HERE}),
        ("latest { num_versions: 9 }", {1: HERE, 2: HERE, 3: HERE}),
        ("all {}", {1: HERE, 2: HERE, 3: HERE}),
        (specific(1), {1: HERE}),
        (specific(1, 3), {1: HERE, 3: HERE}),
        (specific(2, 8), {2: HERE}),
    ],
)
def test_the_policy_says_which_versions_are_served(
    nursery: Nursery, models: Models, policy: str, states: dict[int, str]
) -> None:
    name = "policy_" + "".join(filter(str.isalnum, policy))
    for version in (1, 2, 3):
        push(models("half_plus_two"), nursery.base(name), version)
    nursery.reload(entry(name, nursery.base(name), policy))
    nursery.reaches(name, states)


def test_a_policy_can_change(nursery: Nursery, models: Models) -> None:
    base = nursery.base("moods")
    for version in (1, 2, 3):
        push(models("half_plus_two"), base, version)
    nursery.reload(entry("moods", base))
    for policy, states in (
        (specific(1), {1: HERE, 3: "END"}),
        ("all {}", {1: HERE, 2: HERE, 3: HERE}),
        (specific(2), {1: "END", 2: HERE, 3: "END"}),
        ("specific {}", {1: "END", 2: "END", 3: "END"}),
        ("latest { num_versions: 1 }", {1: "END", 2: "END", 3: HERE}),
    ):
        nursery.reload(entry("moods", base, policy))
        nursery.reaches("moods", states)


def test_directory_names_that_are_numbers_are_versions(nursery: Nursery, models: Models) -> None:
    base = nursery.base("names")
    for version in ("007", "-3", "v9", "1.5", "tmp", "0x8", "99999999999999999999"):
        push(models("half_plus_two"), base, version)
    nursery.reload(entry("names", base, "all {}"))
    (base / "11").write_text("a file")
    nursery.reaches("names", {-3: HERE, 7: HERE, 11: "END"})
    assert nursery.y("names", "version { value: 7 }") == 3.0


def test_of_two_names_with_one_number_the_later_in_order_counts(nursery: Nursery, models: Models) -> None:
    base = nursery.base("doubles")
    push(models("half_plus_two"), base, "04")
    push(models("half_plus_three"), base, "4")
    nursery.reload(entry("doubles", base, "all {}"))
    assert nursery.grpc.statuses("doubles") == {4: HERE}
    assert nursery.y("doubles") == 4.0


def test_a_new_version_takes_over_without_a_gap(nursery: Nursery, models: Models) -> None:
    base = nursery.base("gapless")
    push(models("half_plus_two"), base, 1)
    nursery.reload(entry("gapless", base))
    asking = Asking(lambda: nursery.y("gapless"))
    asking.start()
    push(models("half_plus_three"), base, 2)
    nursery.reaches("gapless", {1: "END", 2: HERE})
    asking.stop()
    assert nursery.y("gapless") == 4.0
    assert nursery.grpc.refusal("Predict", predict_text("gapless", spec="version { value: 1 }")).code == "NOT_FOUND"


def test_a_version_that_goes_is_replaced_by_the_one_before(nursery: Nursery, models: Models) -> None:
    base = nursery.base("back")
    push(models("half_plus_two"), base, 1)
    push(models("half_plus_three"), base, 2)
    nursery.reload(entry("back", base))
    shutil.rmtree(base / "2")
    nursery.reaches("back", {1: HERE, 2: "END"})
    assert nursery.y("back") == 3.0


@pytest.mark.parametrize(
    ("kind", "code", "text"),
    [
        ("empty", "NOT_FOUND", "Could not find SavedModel .pb or .pbtxt at supplied export directory path: "),
        ("wrong_tags", "NOT_FOUND", "Could not find meta graph def matching supplied tags: { serve }"),
        ("garbage", "", ""),
        ("no_variables", "", ""),
    ],
)
def test_a_broken_version_leaves_the_good_one_serving(
    nursery: Nursery, models: Models, kind: str, code: str, text: str
) -> None:
    name = f"beside_{kind}"
    base = nursery.base(name)
    push(models("half_plus_two"), base, 1)
    nursery.reload(entry(name, base))
    asking = Asking(lambda: nursery.y(name))
    asking.start()
    push(models(kind), base, 2)
    nursery.reaches(name, {1: HERE, 2: "END"})
    asking.stop()
    came = nursery.error(name, 2)
    assert came[0] == code if code else came[0] != "OK"
    assert text in came[1]
    assert str(base / "2") in came[1] or not text.endswith(": ")
    push(models("half_plus_three"), base, 3)
    nursery.reaches(name, {1: "END", 2: "END", 3: HERE})
    assert nursery.y(name) == 4.0


def test_a_load_is_tried_again_while_it_is_said_to_be_loading(nursery: Nursery, models: Models) -> None:
    base = nursery.base("halves")
    push(models("half_plus_two"), base, 1)
    nursery.reload(entry("halves", base))
    half = push(models("half_plus_three"), base.parent / "halves-to-be", 2)
    (half / "variables").rename(base.parent / "halves-variables")
    half.rename(base / "2")
    nursery.reaches("halves", {1: HERE, 2: "LOADING"})
    (base.parent / "halves-variables").rename(base / "2" / "variables")
    nursery.reaches("halves", {1: "END", 2: HERE})
    assert nursery.y("halves") == 4.0


def test_a_version_that_failed_is_tried_again_once_it_has_been_away(nursery: Nursery, models: Models) -> None:
    base = nursery.base("second_chance")
    push(models("half_plus_two"), base, 1)
    nursery.reload(entry("second_chance", base, "all {}"))
    push(models("garbage"), base, 2)
    nursery.reaches("second_chance", {1: HERE, 2: "END"})
    aside = base.parent / "second_chance-aside"
    (base / "2").rename(aside)
    push(models("half_plus_two"), base, 3)  # once this is served, a poll has seen that 2 is away
    nursery.reaches("second_chance", {1: HERE, 2: "END", 3: HERE})
    shutil.rmtree(aside)
    push(models("half_plus_three"), base, 2)
    nursery.reaches("second_chance", {1: HERE, 2: HERE, 3: HERE})


def test_a_base_path_without_versions_unloads_them(nursery: Nursery, models: Models) -> None:
    base = nursery.base("hollow")
    push(models("half_plus_two"), base, 1)
    nursery.reload(entry("hollow", base))
    (base / "1").rename(base / ".1.away")
    nursery.reaches("hollow", {1: "END"})
    (base / ".1.away").rename(base / "1")
    nursery.reaches("hollow", {1: HERE})
    assert nursery.y("hollow") == 3.0


def test_a_missing_base_path_changes_nothing_and_holds_up_the_others(nursery: Nursery, models: Models) -> None:
    gone, other = nursery.base("gone"), nursery.base("other")
    for base in (gone, other):
        push(models("half_plus_two"), base, 1)
    nursery.reload(entry("gone", gone), entry("other", other))
    printed = len(nursery.server.printed)
    gone.rename(away := gone.parent / "gone-away")
    asking = Asking(lambda: nursery.y("gone"))
    asking.start()
    until(lambda: str(gone) in nursery.server.printed[printed:], "the log names the missing path")
    push(models("half_plus_three"), other, 2)
    until(lambda: asking.answers > 500, "a few polls have passed", every_s=0.1)
    asking.stop()
    assert nursery.grpc.statuses("other") == {1: HERE}
    away.rename(gone)
    nursery.reaches("other", {1: "END", 2: HERE})
    assert nursery.grpc.statuses("gone") == {1: HERE}


@pytest.fixture(scope="module")
def huge(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base path of a model of 200 MB."""
    from tests.serving.model_server import models as kinds

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinds, "BIG_MB", HUGE_BYTES >> 20)
        directory = kinds.build("big", tmp_path_factory.mktemp("huge") / "model")
    nursery.base("huge").joinpath("1").symlink_to(directory)
    return nursery.base("huge")


def test_a_huge_model_comes_and_goes_beside_the_others(nursery: Nursery, huge: Path) -> None:
    asking = Asking(lambda: nursery.y("anchor"))
    asking.start()
    nursery.reload(entry("huge", huge))
    assert nursery.y("huge") == 2.0
    nursery.reload()
    nursery.reaches("huge", {1: "END"})
    asking.stop()


@pytest.mark.ours_only
def test_the_memory_of_an_unloaded_model_is_given_back(nursery: Nursery, huge: Path) -> None:
    nursery.reload(entry("huge", huge))
    loaded = nursery.server.rss_bytes
    nursery.reload()
    nursery.reaches("huge", {1: "END"})
    until(lambda: nursery.server.rss_bytes < loaded - HUGE_BYTES // 2, "its memory is given back")
