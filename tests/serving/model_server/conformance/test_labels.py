"""Labels over versions: when they may move, and what they answer (contract 0.3, 4)."""

import pytest

from tests.serving.model_server.conformance.clients import predict_text
from tests.serving.model_server.conformance.nursery import Nursery
from tests.serving.model_server.conformance.shelf import Models, entry, specific
from tests.serving.model_server.models import push

BOTH = {1: "AVAILABLE", 2: "AVAILABLE"}


def label(name: str) -> str:
    """A model_spec's fields that ask for a label."""
    return f'version_label: "{name}"'


def two_versions(nursery: Nursery, models: Models, name: str) -> None:
    """Half plus two as version 1 and half plus three as version 2, on disk alone."""
    push(models("half_plus_two"), nursery.base(name), 1)
    push(models("half_plus_three"), nursery.base(name), 2)


def test_a_rollout_takes_one_reload_to_load_and_one_to_label(nursery: Nursery, models: Models) -> None:
    name = "rollout"
    two_versions(nursery, models, name)
    base = nursery.base(name)
    nursery.reload(entry(name, base, specific(1)))
    nursery.reload(entry(name, base, specific(1), {"stable": 1}))
    assert nursery.refusal(entry(name, base, specific(1, 2), {"stable": 1, "canary": 2})).code == "FAILED_PRECONDITION"
    nursery.reload(entry(name, base, specific(1, 2), {"stable": 1}))
    nursery.reaches(name, BOTH)
    nursery.reload(entry(name, base, specific(1, 2), {"stable": 1, "canary": 2}))
    assert (nursery.y(name, label("stable")), nursery.y(name, label("canary"))) == (3.0, 4.0)
    nursery.reload(entry(name, base, specific(1, 2), {"stable": 2, "canary": 2}))
    assert (nursery.y(name, label("stable")), nursery.y(name, label("canary"))) == (4.0, 4.0)
    nursery.reload(entry(name, base, specific(2), {"stable": 2}))
    nursery.reaches(name, {1: "END", 2: "AVAILABLE"})
    assert nursery.y(name, label("stable")) == 4.0
    came = nursery.grpc.refusal("Predict", predict_text(name, spec=label("canary")))
    assert (came.code, came.message) == ("INVALID_ARGUMENT", "Unrecognized servable version label: canary")


def test_a_rollback_is_a_reload_without_the_label(nursery: Nursery, models: Models) -> None:
    name = "rollback"
    two_versions(nursery, models, name)
    base = nursery.base(name)
    nursery.reload(entry(name, base, specific(1, 2)))
    nursery.reaches(name, BOTH)
    nursery.reload(entry(name, base, specific(1, 2), {"stable": 1, "canary": 2}))
    nursery.reload(entry(name, base, specific(1, 2), {"stable": 1}))
    nursery.reload(entry(name, base, specific(1), {"stable": 1}))
    nursery.reaches(name, {1: "AVAILABLE", 2: "END"})
    assert nursery.y(name) == 3.0


def test_labels_swap_in_one_reload(nursery: Nursery, models: Models) -> None:
    name = "swap"
    two_versions(nursery, models, name)
    nursery.reload(entry(name, nursery.base(name), "all {}"))
    nursery.reaches(name, BOTH)
    for one, two in ((1, 2), (2, 1), (1, 2)):
        nursery.reload(entry(name, nursery.base(name), "all {}", {"blue": one, "green": two}))
        assert (nursery.y(name, label("blue")), nursery.y(name, label("green"))) == (2.0 + one, 2.0 + two)


def test_a_label_whose_version_goes_is_not_found(nursery: Nursery, models: Models) -> None:
    name = "dropped"
    two_versions(nursery, models, name)
    nursery.reload(entry(name, nursery.base(name), "all {}"))
    nursery.reaches(name, BOTH)
    nursery.reload(entry(name, nursery.base(name), "all {}", {"old": 1}))
    nursery.reload(entry(name, nursery.base(name), specific(2), {"old": 1}))
    nursery.reaches(name, {1: "END", 2: "AVAILABLE"})
    came = nursery.grpc.refusal("Predict", predict_text(name, spec=label("old")))
    assert (came.code, came.message) == ("NOT_FOUND", f"Servable not found for request: Specific({name}, 1)")
    assert nursery.rest.predict(f"{name}/labels/old", '{"instances": [2]}').status == 404


@pytest.mark.parametrize("wanted", [3, 0])
def test_a_label_for_a_version_that_is_not_loaded_is_refused(nursery: Nursery, models: Models, wanted: int) -> None:
    name = f"absent_{wanted}"
    push(models("half_plus_two"), nursery.base(name), 1)
    came = nursery.refusal(entry(name, nursery.base(name), "", {"early": wanted}))
    assert came.code == "FAILED_PRECONDITION"
    assert f"Request to assign label to version {wanted} of model {name}, which is not currently available" in (
        came.message
    )
    nursery.reload()
