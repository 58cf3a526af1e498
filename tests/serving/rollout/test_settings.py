"""Settings in TOML: what they say, for all models and for one, and what is wrong with them."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import InputError
from serving.rollout.settings import Guardrails, OutcomeMetric, Settings, Step, check, load


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rollout.toml"


def said(path: Path, text: str, model: str = "clicks") -> Settings:
    path.write_text(text)
    return load(path, model)


def test_without_a_file_the_defaults_hold_and_are_in_range() -> None:
    check(load(None, "clicks"))
    assert load(None, "clicks") == Settings()


def test_a_file_says_what_differs_from_the_defaults(path: Path) -> None:
    found = said(
        path,
        """
        on_newer = "queue"
        warm_limit_s = 60
        [guardrails]
        error_rate = 0.2
        js_divergence = "none"
        [outcome]
        label = "bought"
        [[steps]]
        share = 0.0
        shadow = 1.0
        [[steps]]
        share = 0.5
        least_s = 10
        """,
    )
    assert found == Settings(
        steps=(Step(0.0, shadow=1.0), Step(0.5, least_s=10.0)),
        guardrails=Guardrails(error_rate=0.2, js_divergence=None),
        outcome=OutcomeMetric(label="bought"),
        on_newer="queue",
        warm_limit_s=60.0,
    )


def test_what_is_said_of_a_model_goes_before_what_is_said_of_all(path: Path) -> None:
    text = """
        drain_s = 7
        [outcome]
        alpha = 0.01
        [models.clicks]
        settle_s = 2
        [models.clicks.outcome]
        label = "bought"
        [models.ranks]
        outcome = "none"
        """
    assert said(path, text) == Settings(drain_s=7, settle_s=2, outcome=OutcomeMetric(label="bought", alpha=0.01))
    assert said(path, text, "ranks") == Settings(drain_s=7)
    assert said(path, text, "births") == Settings(drain_s=7, outcome=OutcomeMetric(alpha=0.01))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("warm_limit = 3", "did you mean 'warm_limit_s'"),
        ("[models.clicks]\ndrains_s = 3", "models.clicks.drains_s"),
        ("[guardrails]\nerror_rat = 0.1", "did you mean 'error_rate'"),
        ("warm_limit_s = '3'", "warm_limit_s is a number"),
        ("warm_limit_s = nan", "warm_limit_s"),
        ("warm_limit_s = -1", "from 0 to inf"),
        ("settle_s = true", "settle_s is a number"),
        ("[guardrails]\njs_divergence = 'off'", 'js_divergence is a number or "none"'),
        ("[[steps]]\nshare = 0.1\nevidence = 1", "steps[1].evidence is true or false"),
        ("on_newer = 'both'", "supersede, queue"),
        ("steps = []", "steps is empty"),
        ("steps = 3", "list of tables"),
        ("[[steps]]\nleast_s = 3", "steps[1].share is missing"),
        ("[[steps]]\nshare = 1.5", "steps[1].share"),
        ("[[steps]]\nshare = 0.5\n[[steps]]\nshare = 0.1", "ascend"),
        ("[[steps]]\nshare = 0.5\nleast_s = 9\nmost_s = 8", "least_s 9"),
        ("[[steps]]\nshare = 0", "never come"),
        ("[[steps]]\nshare = 0.1\nleast_samples = -1", "least_samples"),
        ("guardrails = 3", "guardrails is a table"),
        ("[guardrails]\nrestarts = 1.5", "guardrails.restarts is a whole number"),
        ("[guardrails]\nsrm_p = 2", "guardrails.srm_p"),
        ("[outcome]\nalpha = 1", "alpha"),
        ("[outcome]\nwindow_s = 0", "window_s"),
        ("models = 3", "models is a table"),
        ("[models]\nclicks = 3", "models.clicks is a table"),
        ("this is no TOML", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(path: Path, text: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        said(path, text)
    assert hint in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_or_is_no_text_is_named(path: Path) -> None:
    with pytest.raises(InputError, match=r"rollout\.toml"):
        load(path, "clicks")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"rollout\.toml"):
        load(path, "clicks")


@settings(deadline=None)
@given(st.text())
def test_any_text_is_settings_or_an_input_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(text.encode("utf-8", "replace"))
    with contextlib.suppress(InputError):
        check(load(path, "clicks"))
