"""Which labels a configuration may carry, and what a label stands for."""

import pytest

from serving.model_server.labels import checked, version_of
from serving.status import Code, StatusError

LOADED = {("m", 1), ("m", 2), ("n", 5)}


def available(name: str, version: int) -> bool:
    return (name, version) in LOADED


def test_labels_are_replaced_as_a_whole() -> None:
    before = {"m": {"stable": 1, "canary": 2}, "n": {"stable": 5}}
    assert checked({"m": {"stable": 2}, "n": {}}, before, available, False) == {"m": {"stable": 2}}


def test_many_labels_may_share_a_version() -> None:
    wanted = {"m": {"stable": 1, "canary": 1}}
    assert checked(wanted, {}, available, False) == wanted


def test_a_label_of_a_version_that_is_not_available_is_refused() -> None:
    with pytest.raises(StatusError) as caught:
        checked({"n": {"stable": 5}, "m": {"canary": 3}}, {}, available, False)
    assert str(caught.value) == (
        "FAILED_PRECONDITION: Request to assign label to version 3 of model m, "
        "which is not currently available for inference"
    )


@pytest.mark.parametrize("version", [3, 9])
def test_with_the_flag_a_new_label_may_name_any_version(version: int) -> None:
    assert checked({"m": {"canary": version}}, {}, available, True) == {"m": {"canary": version}}


def test_with_the_flag_a_label_may_stay_on_a_version_that_went_away() -> None:
    before = {"m": {"canary": 3}}
    assert checked(before, before, available, True) == before
    with pytest.raises(StatusError):
        checked(before, before, available, False)


def test_with_the_flag_a_label_is_still_not_moved_to_an_unavailable_version() -> None:
    before = {"m": {"canary": 1}}
    assert checked({"m": {"canary": 2}}, before, available, True) == {"m": {"canary": 2}}
    with pytest.raises(StatusError):
        checked({"m": {"canary": 3}}, before, available, True)


def test_the_same_label_of_another_model_is_another_label() -> None:
    wanted = {"n": {"canary": 7}}
    assert checked(wanted, {"m": {"canary": 1}}, available, True) == wanted


@pytest.mark.parametrize(
    ("labels", "name", "label", "code", "text"),
    [
        (None, "m", "L", Code.UNAVAILABLE, "Model labels does not init yet.L"),
        ({}, "m", "L", Code.INVALID_ARGUMENT, "Unrecognized servable version label: L"),
        ({"m": {"K": 1}}, "m", "L", Code.INVALID_ARGUMENT, "Unrecognized servable version label: L"),
        ({"m": {"L": 1}}, "n", "L", Code.INVALID_ARGUMENT, "Unrecognized servable version label: L"),
    ],
)
def test_a_label_that_is_unknown(
    labels: dict[str, dict[str, int]] | None, name: str, label: str, code: Code, text: str
) -> None:
    with pytest.raises(StatusError) as caught:
        version_of(labels, name, label)
    assert (caught.value.code, caught.value.message) == (code, text)


def test_a_label_stands_for_its_version() -> None:
    assert version_of({"m": {"L": 4}}, "m", "L") == 4
