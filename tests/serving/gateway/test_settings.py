"""What a gateway can be told, and what it says to what cannot be."""

import dataclasses
import socket
from pathlib import Path
from typing import Any

import pytest

from serving.errors import InputError
from serving.gateway.settings import GRPC_PORT, REST_PORT, Settings, check


def refused(**fields: Any) -> str:
    with pytest.raises(InputError) as caught:
        check(Settings(**fields))
    return str(caught.value)


def test_the_defaults_can_stand_and_reach_nobody_but_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PRESSLINE_HOME", str(tmp_path))
    settings = Settings()
    check(settings)
    assert (settings.rest_host, settings.grpc_host) == ("127.0.0.1", "127.0.0.1")
    assert (settings.rest_port, settings.grpc_port) == (REST_PORT, GRPC_PORT) == (8600, 8610)
    assert settings.plan == tmp_path / "serving" / "plan.json"
    assert settings.secret_file == tmp_path / "serving" / "gateway.secret"
    assert settings.impressions == str(tmp_path / "serving" / "impressions")


def test_a_long_or_odd_host_name_does_not_keep_a_gateway_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "a-pod.with.a.long.domain." * 10)
    check(Settings())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rest_port", -1),
        ("grpc_port", 65536),
        ("sampling_rate", 1.01),
        ("sampling_rate", float("nan")),
        ("flush_s", 0.0),
        ("timeout_s", float("inf")),
        ("timeout_s", 0.0),
        ("canary_time_share", 0.0),
        ("canary_time_share", 1.5),
        ("max_in_flight", 0),
        ("max_body_bytes", 2**31),
        ("shadow_in_flight", -1),
        ("shadow_timeout_s", -1.0),
        ("rest_host", ""),
        ("grpc_host", ""),
        ("name", "a/b"),
        ("name", ""),
        ("rest_upstream", ()),
        ("grpc_upstream", ()),
    ],
)
def test_a_value_out_of_its_range_is_refused_by_the_name_of_its_flag(name: str, value: Any) -> None:
    assert f"--{name.replace('_', '-')}" in refused(**{name: value})


@pytest.mark.parametrize(
    "url",
    ["models:8501", "https://models:8501", "http://", "http://a:b", "http://a:99999", "http://u@a:1", "http://a/v1"],
)
def test_a_rest_upstream_that_is_no_url_of_a_port_is_refused(url: str) -> None:
    assert repr(url) in refused(rest_upstream=("http://fine:8501", url))


@pytest.mark.parametrize(
    "target", ["models", "models:", ":8500", "http://models:8500", "models:0", "models:70000", "a:²"]
)
def test_a_grpc_upstream_that_is_no_host_and_port_is_refused(target: str) -> None:
    assert repr(target) in refused(grpc_upstream=(target,))


@pytest.mark.parametrize("target", ["models:8500", "10.0.0.1:8500", "[::1]:8500", "unix:/run/models.sock"])
def test_every_usual_form_of_an_address_is_taken(target: str) -> None:
    check(Settings(grpc_upstream=(target,), rest_upstream=("http://[::1]:8501", "http://models:8501/")))


def test_both_doors_cannot_have_one_port_but_can_both_have_any_free_one() -> None:
    assert "--grpc-port" in refused(rest_port=9000, grpc_port=9000)
    check(Settings(rest_port=0, grpc_port=0))


def test_files_that_need_each_other_come_together(tmp_path: Path) -> None:
    file = tmp_path / "some.pem"
    file.write_text("content")
    assert "--tls-key" in refused(tls_cert=file)
    assert "--tls-cert" in refused(tls_key=file)
    assert "--tls-cert" in refused(tls_client_ca=file)
    assert "--upstream-key" in refused(upstream_ca=file, upstream_cert=file)
    assert "--upstream-ca" in refused(upstream_cert=file, upstream_key=file)
    assert "--upstream-ca" in refused(upstream_server_name="models.test")
    check(Settings(tls_cert=file, tls_key=file, tls_client_ca=file))


def test_a_file_that_cannot_be_read_is_named_with_its_flag(tmp_path: Path) -> None:
    said = refused(token_file=tmp_path / "missing")
    assert "--token-file" in said
    assert str(tmp_path / "missing") in said
    assert "--tls-cert" in refused(tls_cert=tmp_path, tls_key=tmp_path)


def test_settings_do_not_change_once_they_are_made() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().rest_port = 1  # type: ignore[misc]
