"""What a ModelServerConfig says, and which ones are refused."""

from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.model_server.aspired import All, Latest, Policy, Source, Specific
from serving.model_server.model_configs import ModelConfig, check, read
from serving.status import Code, StatusError


def parse(*models: str) -> Any:
    inner = " ".join(f"config {{ {model} }}" for model in models)
    return text_format.Parse(f"model_config_list {{ {inner} }}", ModelServerConfig())


M = 'name: "m" base_path: "/m" model_platform: "tensorflow"'
N = 'name: "n" base_path: "/n" model_platform: "tensorflow"'


def refusal(config: Any, before: tuple[ModelConfig, ...] = ()) -> str:
    with pytest.raises(StatusError) as caught:
        check(read(config), before)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


def test_a_model_is_read_with_all_it_says() -> None:
    text = f'{M} version_labels {{ key: "stable" value: 3 }} logging_config {{}}'
    assert read(parse(text, N)) == (
        ModelConfig(Source("m", "/m", Latest(0)), "tensorflow", {"stable": 3}, True),
        ModelConfig(Source("n", "/n", Latest(0)), "tensorflow", {}, False),
    )


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", Latest(0)),
        ("model_version_policy { latest { num_versions: 2 } }", Latest(2)),
        ("model_version_policy { all {} }", All()),
        ("model_version_policy { specific { versions: 2 versions: 1 } }", Specific(frozenset({1, 2}))),
        ("model_version_policy { specific {} }", Specific(frozenset())),
    ],
)
def test_a_version_policy(text: str, policy: Policy) -> None:
    assert read(parse(f"{M} {text}"))[0].source.policy == policy


def test_an_empty_list_is_a_configuration() -> None:
    assert read(parse()) == ()


def test_what_is_no_list_is_refused() -> None:
    text = (
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported"
    )
    assert refusal(ModelServerConfig()) == text
    assert refusal(ModelServerConfig(custom_model_config={})) == text


def test_a_name_given_twice_is_refused() -> None:
    assert refusal(parse(M, N, M)) == "Illegal to list model m multiple times in config list"


@pytest.mark.parametrize("path", ["m", "./m", "", "~/m"])
def test_a_relative_base_path_is_refused(path: str) -> None:
    config = parse(f'name: "m" base_path: "{path}" model_platform: "tensorflow"')
    assert refusal(config) == f"Expected model m to have an absolute path or URI; got base_path()={path}"


@pytest.mark.parametrize("path", ["/m", "gs://bucket/m", "file:///m"])
def test_an_absolute_path_or_a_uri_is_taken(path: str) -> None:
    check(read(parse(f'name: "m" base_path: "{path}" model_platform: "tensorflow"')), ())


def test_platforms() -> None:
    base = 'name: "m" base_path: "/m"'
    assert refusal(parse(base)).startswith("Illegal setting neither ")
    assert refusal(parse(f'{base} model_platform: "p"')) == "Model m requests unsupported platform p"
    assert refusal(parse(f"{base} model_type: OTHER")).endswith("not supported.")
    assert refusal(parse(f"{M} model_type: TENSORFLOW")).startswith("Illegal setting both ")
    assert read(parse(f"{base} model_type: TENSORFLOW"))[0].platform == "tensorflow"


def test_a_platform_does_not_change() -> None:
    before = read(parse(M))
    check(read(parse(M, N)), before)
    assert refusal(parse('name: "m" base_path: "/m" model_platform: "p"'), before) == (
        "Illegal to change a model's platform. For model m platform was tensorflow and new platform requested is p"
    )
