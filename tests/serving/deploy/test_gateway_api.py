"""What is rendered for Kubernetes, checked against the schemas of Kubernetes and of the Gateway API."""

import json
from dataclasses import replace
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # kubernetes-validate brings it
import kubernetes_validate
import pytest

from data.errors import InputError as NotFetched
from serving.deploy import gateway_api
from serving.deploy.options import Options
from serving.errors import InputError
from serving.traffic_plan import ModelPlan, Target, TrafficPlan
from tests.serving.deploy import gateway_schemas
from tests.serving.deploy.proxies import alone, clicks

KUBERNETES = "1.31"
PROMOTING = ModelPlan("clicks", Target(3, "version"), Target(7, "version"), 0.5, 0.0, "s", 4, 3)
STATES = {
    "none": [alone()],
    "zero": [clicks(0.0)],
    "some": [clicks(0.05)],
    "all": [clicks(1.0)],
    "promoting": [PROMOTING],
    "several": [clicks(0.5), alone("product_image"), clicks(0.1, model="Topic.2")],
}
Json = dict[str, Any]


def objects(state: str, options: Options | None = None) -> dict[tuple[str, str], Json]:
    """Kind and name -> object."""
    plan = TrafficPlan(5, {one.model: one for one in STATES[state]})
    files = gateway_api.files(plan, options or Options(domain="models.example"))
    lists = [json.loads(files[name]) for name in ("services.json", "deployments.json", "routes.json")]
    assert all((one["apiVersion"], one["kind"]) == ("v1", "List") for one in lists)
    return {(one["kind"], one["metadata"]["name"]): one for them in lists for one in them["items"]}


def weights(refs: list[Json]) -> dict[str, int]:
    return {ref["name"]: ref["weight"] for ref in refs}


@pytest.fixture(scope="module")
def schemas() -> dict[str, Json]:
    try:
        return gateway_schemas.schemas()
    except NotFetched as error:
        pytest.skip(f"the published schemas cannot be had: {error}")


@pytest.mark.parametrize("state", STATES)
def test_servers_are_what_kubernetes_takes(state: str) -> None:
    kinds = set()
    for (kind, _), one in objects(state).items():
        core = (
            one
            if not kind.endswith("Route")
            else {"apiVersion": "v1", "kind": "ConfigMap", "metadata": one["metadata"]}
        )
        kubernetes_validate.validate(core, KUBERNETES, strict=True)
        kinds.add(kind)
    assert kinds == {"ConfigMap", "Deployment", "Service", "HTTPRoute", "GRPCRoute"}


@pytest.mark.parametrize("state", STATES)
def test_routes_are_what_the_gateway_api_takes(state: str, schemas: dict[str, Json]) -> None:
    routes = [one for (kind, _), one in objects(state).items() if kind.endswith("Route")]
    assert len(routes) == 2 * len(STATES[state])
    for route in routes:
        jsonschema.Draft202012Validator(schemas[route["kind"]]).validate(route)
        assert list(gateway_schemas.broken_rules(route)) == []


def test_a_wrong_route_is_refused_by_those_schemas(schemas: dict[str, Json]) -> None:
    check = jsonschema.Draft202012Validator(schemas["HTTPRoute"])
    for change in ({"weight": -1}, {"weigth": 5}, {"port": 70000}, {"name": ""}):
        route = objects("some")["HTTPRoute", "clicks"]
        route["spec"]["rules"][2]["backendRefs"][0] |= change
        assert not check.is_valid(route), change


@pytest.mark.parametrize(
    ("state", "split"),
    [
        ("none", {"clicks-stable": 10000}),
        ("zero", {"clicks-stable": 10000}),
        ("some", {"clicks-canary": 500, "clicks-stable": 9500}),
        ("all", {"clicks-canary": 10000}),
        ("promoting", {"clicks-canary": 5000, "clicks-stable": 5000}),
    ],
)
def test_weights_are_whole_parts_of_ten_thousand_and_nobody_has_none(state: str, split: dict[str, int]) -> None:
    made = objects(state)
    for kind in ("HTTPRoute", "GRPCRoute"):
        found = [
            rule["backendRefs"] for rule in made[kind, "clicks"]["spec"]["rules"] if "weight" in rule["backendRefs"][0]
        ]
        assert [weights(refs) for refs in found] == [split]


def test_testers_named_versions_and_named_labels_reach_who_holds_them() -> None:
    rules = objects("some")["HTTPRoute", "clicks"]["spec"]["rules"]
    to = {
        (match["path"]["value"], *(header["value"] for header in match.get("headers", ()))): rule["backendRefs"][0][
            "name"
        ]
        for rule in rules
        for match in rule["matches"]
        if "weight" not in rule["backendRefs"][0]
    }
    here = "/v1/models/clicks"
    assert to[f"{here}:predict", "canary"] == to[f"{here}:classify", "canary"] == "clicks-canary"
    assert to[f"{here}:predict", "stable"] == "clicks-stable"
    assert to[f"{here}/versions/7:predict",] == to[f"{here}/labels/canary:regress",] == "clicks-canary"
    assert to[f"{here}/versions/7",] == to[f"{here}/labels/canary",] == "clicks-canary"
    assert to[here,] == to[f"{here}/labels/stable:predict",] == to[f"{here}/versions/3:predict",] == "clicks-stable"


def test_no_route_lets_anyone_reload_a_server() -> None:
    for rule in objects("some")["GRPCRoute", "clicks"]["spec"]["rules"]:
        for match in rule["matches"]:
            service, method = match["method"]["service"], match["method"].get("method")
            assert service != "tensorflow.serving.ModelService" or method == "GetModelStatus"


def test_each_variant_is_a_deployment_of_one_version_with_its_own_config() -> None:
    made = objects("some")
    for variant, version in (("stable", 3), ("canary", 7)):
        config = made["ConfigMap", f"clicks-{variant}-v{version}"]
        assert config["immutable"] is True
        assert f"versions: {version} " in config["data"]["models.config"]
        spec = made["Deployment", f"clicks-{variant}"]["spec"]["template"]["spec"]
        assert spec["volumes"][0]["configMap"]["name"] == config["metadata"]["name"]
        ready = spec["containers"][0]["readinessProbe"]["httpGet"]
        assert ready == {"path": f"/v1/models/clicks/versions/{version}/metadata", "port": "rest"}
        selected = made["Service", f"clicks-{variant}"]["spec"]["selector"]
        labels = made["Deployment", f"clicks-{variant}"]["spec"]["template"]["metadata"]["labels"]
        assert labels.items() >= selected.items()
        assert selected["pressline/variant"] == variant


def test_pods_may_do_little_and_leave_when_nobody_asks_them_any_more() -> None:
    pod = objects("some")["Deployment", "clicks-canary"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"].keys() == {"memory"}
    sleep_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert 0 < sleep_s < pod["terminationGracePeriodSeconds"]


def test_while_a_promotion_is_under_way_stables_pods_get_the_new_version_and_the_split_stays() -> None:
    made = objects("promoting")
    assert ("ConfigMap", "clicks-stable-v7") in made
    assert ("ConfigMap", "clicks-stable-v3") not in made
    assert ("Deployment", "clicks-canary") in made


@pytest.mark.parametrize(
    ("models", "options", "said"),
    [
        (["clicks", "topic"], Options(), "--domain"),
        (["a_b", "a-b"], Options(domain="d"), "would be called a-b"),
        (["7"], Options(), "a letter first"),
        (["x" * 51], Options(), "1 to 50 letters"),
        (["a b"], Options(), "may not hold"),
    ],
)
def test_names_that_a_cluster_cannot_have_are_errors(models: list[str], options: Options, said: str) -> None:
    with pytest.raises(InputError, match=said):
        gateway_api.files(TrafficPlan(1, {name: clicks(0.1, model=name) for name in models}), options)


def test_operators_choices_are_in_it() -> None:
    options = Options(
        namespace="ml", gateway="edge", rest_listener="web", domain="models.example", image="registry/tfs:1"
    )
    made = objects("some", replace(options, stable_pods=5, memory="8Gi", cpu="500m", claim="disk", timeout_s=1.25))
    assert {one["metadata"]["namespace"] for one in made.values()} == {"ml"}
    route = made["HTTPRoute", "clicks"]["spec"]
    assert route["parentRefs"] == [{"name": "edge", "sectionName": "web"}]
    assert route["hostnames"] == ["models.example"]
    assert route["rules"][0]["timeouts"] == {"request": "1s250ms"}
    assert made["GRPCRoute", "clicks"]["spec"]["hostnames"] == ["clicks.models.example"]
    spec = made["Deployment", "clicks-stable"]["spec"]
    assert spec["replicas"] == 5
    assert spec["template"]["spec"]["containers"][0]["image"] == "registry/tfs:1"
    assert spec["template"]["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "500m", "memory": "8Gi"}
    assert spec["template"]["spec"]["volumes"][1]["persistentVolumeClaim"]["claimName"] == "disk"
