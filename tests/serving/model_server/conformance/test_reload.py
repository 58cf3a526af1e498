"""HandleReloadConfigRequest: its steps and its refusals (contract 3.2)."""

import pytest

from tests.serving.model_server.conformance.clients import Text, fits, holding, predict_text
from tests.serving.model_server.conformance.nursery import Nursery
from tests.serving.model_server.conformance.process import until
from tests.serving.model_server.conformance.shelf import Models, config, entry, specific
from tests.serving.model_server.models import push

RELOAD = "HandleReloadConfigRequest"
ONLY_LISTS = (
    "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported"
)


@pytest.mark.parametrize(
    "request_text",
    [
        pytest.param("", id="no config"),
        pytest.param("config {}", id="empty config"),
        pytest.param("config { custom_model_config {} }", id="custom config"),
    ],
)
def test_only_a_list_of_models_is_taken(nursery: Nursery, request_text: str) -> None:
    came = nursery.grpc.refusal(RELOAD, request_text)
    assert came.code == "INVALID_ARGUMENT"
    assert came.message.rstrip(".") == ONLY_LISTS
    assert nursery.y("anchor") == 3.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        pytest.param(
            entry("twice", "/tmp/a") + entry("twice", "/tmp/b"),
            holding("Illegal to list model twice multiple times in config list"),
            id="twice",
        ),
        pytest.param(
            entry("near", "some/path"),
            holding("Expected model near to have an absolute path or URI; got base_path()=some/path"),
            id="relative path",
        ),
        pytest.param(
            entry("nowhere", ""), holding("Expected model nowhere to have an absolute path or URI;"), id="no base path"
        ),
        pytest.param(
            'config { name: "plain" base_path: "/tmp/a" }', holding("Illegal setting neither"), id="no platform"
        ),
        pytest.param(
            'config { name: "other" base_path: "/tmp/a" model_platform: "torch" }',
            holding("Model other requests unsupported platform torch"),
            id="unknown platform",
        ),
    ],
)
def test_a_config_that_makes_no_sense_is_refused_and_changes_nothing(
    nursery: Nursery, wrong: str, message: Text
) -> None:
    came = nursery.refusal(wrong)
    assert came.code == "INVALID_ARGUMENT", came
    assert fits(came.message, message), came
    assert nursery.y("anchor") == 3.0


def test_a_models_platform_cannot_change(nursery: Nursery) -> None:
    changed = nursery.anchor.replace('"tensorflow"', '"torch"')
    came = nursery.grpc.refusal(RELOAD, f"config {{ {config(changed)} }}")
    assert came.code == "INVALID_ARGUMENT"
    assert "Illegal to change a model's platform." in came.message
    assert nursery.y("anchor") == 3.0


def test_a_new_model_answers_when_the_reload_returns(nursery: Nursery, models: Models) -> None:
    push(models("half_plus_three"), nursery.base("newcomer"), 5)
    response = nursery.reload(entry("newcomer", nursery.base("newcomer")))
    assert (response.status.error_code, response.status.error_message) == (0, "")
    assert nursery.grpc.statuses("newcomer") == {5: "AVAILABLE"}
    assert nursery.y("newcomer") == 4.0


def test_a_model_that_is_left_out_is_unloaded_and_stays_listed(nursery: Nursery, models: Models) -> None:
    push(models("half_plus_two"), nursery.base("leaver"), 1)
    nursery.reload(entry("leaver", nursery.base("leaver")))
    nursery.reload()
    nursery.reaches("leaver", {1: "END"})
    assert nursery.error("leaver", 1) == ("OK", "")
    came = nursery.grpc.refusal("Predict", predict_text("leaver"))
    assert (came.code, came.message) == ("NOT_FOUND", "Servable not found for request: Latest(leaver)")
    came = nursery.grpc.refusal("Predict", predict_text("leaver", spec="version { value: 1 }"))
    assert (came.code, came.message) == ("NOT_FOUND", "Servable not found for request: Specific(leaver, 1)")
    nursery.reload(entry("leaver", nursery.base("leaver")))
    assert nursery.grpc.statuses("leaver") == {1: "AVAILABLE"}
    assert nursery.y("leaver") == 3.0


def test_an_empty_list_unloads_everything(nursery: Nursery) -> None:
    nursery.grpc.call(RELOAD, "config { model_config_list {} }")
    until(lambda: nursery.grpc.statuses("anchor")[1] == "END", "the anchor is unloaded")
    assert nursery.rest.get("/v1/models/anchor").json["model_version_status"][0]["state"] == "END"
    nursery.reload()
    assert nursery.y("anchor") == 3.0


def test_a_new_model_that_cannot_be_loaded_fails_the_reload_and_nothing_else(nursery: Nursery, models: Models) -> None:
    push(models("garbage"), nursery.base("broken"), 1)
    push(models("half_plus_two"), nursery.base("beside"), 1)
    both = [entry(name, nursery.base(name)) for name in ("broken", "beside")]
    came = nursery.refusal(*both)
    assert came.code == "UNKNOWN"
    text = holding("1 model(s) did not become available: {", "{name: broken version: 1} due to error: ", "}")
    assert fits(came.message, text), came
    until(lambda: nursery.grpc.statuses("beside") == {1: "AVAILABLE"}, "the good model is there")
    assert nursery.grpc.statuses("broken") == {1: "END"}
    assert nursery.y("beside") == 3.0
    nursery.reload(both[1])
    assert nursery.y("beside") == 3.0


def test_a_reload_does_not_wait_for_new_versions_of_known_models(nursery: Nursery, models: Models) -> None:
    base = nursery.base("known")
    push(models("half_plus_two"), base, 1)
    nursery.reload(entry("known", base, specific(1)))
    push(models("garbage"), base, 2)
    nursery.reload(entry("known", base, specific(1, 2)))
    assert nursery.y("known") == 3.0
    nursery.reaches("known", {1: "AVAILABLE", 2: "END"})


def test_a_refused_label_leaves_versions_and_labels_as_they_were(nursery: Nursery, models: Models) -> None:
    base = nursery.base("refused")
    push(models("half_plus_two"), base, 1)
    push(models("half_plus_three"), base, 2)
    nursery.reload(entry("refused", base, specific(1)))
    nursery.reload(entry("refused", base, specific(1), {"stable": 1}))
    came = nursery.refusal(entry("refused", base, specific(1, 2), {"stable": 1, "canary": 2}))
    assert came.code == "FAILED_PRECONDITION"
    assert came.message == (
        "Request to assign label to version 2 of model refused, which is not currently available for inference"
    )
    assert nursery.grpc.statuses("refused") == {1: "AVAILABLE"}
    assert nursery.y("refused", 'version_label: "stable"') == 3.0
    came = nursery.grpc.refusal("Predict", predict_text("refused", spec='version_label: "canary"'))
    assert came.code == "INVALID_ARGUMENT"


def test_a_request_logger_is_refused(nursery: Nursery, models: Models) -> None:
    push(models("half_plus_two"), nursery.base("logged"), 1)
    collector = 'logging_config { log_collector_config { type: "file" filename_prefix: "/tmp/x" } }'
    logged = entry("logged", nursery.base("logged")).removesuffix("}") + collector + "}"
    came = nursery.refusal(logged)
    assert (came.code, came.message) == ("INVALID_ARGUMENT", "No request-logger-creator provided.")
    nursery.reload()


def test_a_reload_that_repeats_the_config_changes_nothing(nursery: Nursery) -> None:
    for _ in range(5):
        nursery.reload()
    assert nursery.grpc.statuses("anchor") == {1: "AVAILABLE"}
