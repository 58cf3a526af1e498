from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions, StandardOptions, TypeOptions
from apache_beam.testing.util import BeamAssertException, assert_that, equal_to
from apache_beam.transforms import core
from apache_beam.transforms.userstate import BagStateSpec

from components.beam_fixed_cost import CHECKED_VERSIONS, cheaper_pipelines

PLAIN = (core.get_function_args_defaults, PipelineOptions.view_as)


@pytest.fixture(autouse=True)
def nothing_stays_changed() -> Iterator[None]:
    yield
    assert (core.get_function_args_defaults, PipelineOptions.view_as) == PLAIN


class Counted(beam.DoFn):
    """Uses what Beam finds by looking at signatures: a timestamp, a side input, a default."""

    def process(
        self, element: dict[str, int], offset: int, at: Any = beam.DoFn.TimestampParam, factor: int = 3
    ) -> Iterator[int]:
        yield element["n"] * factor + offset + int(at)


class Running(beam.DoFn):
    """Keeps state: Beam must notice it in the signature."""

    SEEN = beam.DoFn.StateParam(BagStateSpec("seen", beam.coders.VarIntCoder()))

    def process(self, pair: tuple[str, int], seen: Any = SEEN) -> Iterator[int]:
        seen.add(pair[1])
        yield sum(seen.read())


class Other(beam.DoFn):
    def process(self, element: str, *, word: str = "b") -> Iterator[str]:
        yield word + element


def run_one() -> None:
    """A pipeline of many kinds of steps, which fails where a step gives anything but what is right."""
    n = range(40)
    with beam.Pipeline(argv=["--runner=FnApiRunner"]) as pipeline:
        numbers = pipeline | beam.Create([{"n": one} for one in n])
        offset = pipeline | "offset" >> beam.Create([5])
        stamped = numbers | beam.Map(lambda row: beam.window.TimestampedValue(row, row["n"]))
        counted = stamped | beam.ParDo(Counted(), beam.pvalue.AsSingleton(offset), factor=2)
        assert_that(counted, equal_to([3 * one + 5 for one in n]), "counted is right")
        key = beam.Map(lambda number, by=2: (number % by, number), by=3).with_output_types(tuple[int, int])
        summed = counted | "key" >> key | beam.CombinePerKey(sum)
        assert_that(summed, equal_to([(2, sum(3 * one + 5 for one in n))]), "sums are right")
        words = numbers | "text" >> beam.Map(lambda row: str(row["n"])) | beam.ParDo(Other(), word="c")
        assert_that(words, equal_to([f"c{one}" for one in n]), "words are right")
        steps = pipeline | "steps" >> beam.Create([("a", 1)] * 3) | beam.ParDo(Running())
        assert_that(steps, equal_to([1, 2, 3]), "state is right")


def test_pipelines_give_the_same_results_with_and_without() -> None:
    run_one()
    with cheaper_pipelines() as changed:
        assert changed
        run_one()
        run_one()


def test_a_wrong_step_still_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with cheaper_pipelines():
        run_one()
        monkeypatch.setattr(Counted, "process", lambda self, element, offset, factor=3: iter([0]))
        with pytest.raises(BeamAssertException):
            run_one()


def test_every_function_is_described_as_beam_describes_it() -> None:
    def free(one: int, two: int = 2, *rest: int, three: int = 3, **more: int) -> Any:
        return one, two, rest, three, more

    functions = [free, Counted().process, Counted.process, Running().process, Other().process, Counted, len, str.strip]
    functions += [dict.fromkeys, lambda: None, Counted().default_label, print]
    plain = [core.get_function_args_defaults(function) for function in functions]
    with cheaper_pipelines():
        for _ in range(2):
            assert [core.get_function_args_defaults(function) for function in functions] == plain


def test_a_caller_may_change_the_lists_it_was_given() -> None:
    method = Counted().process
    with cheaper_pipelines():
        names, defaults = core.get_function_args_defaults(method)
        names.clear()
        defaults.clear()
        assert core.get_function_args_defaults(method) == PLAIN[0](method)


def test_views_share_what_is_set_and_nothing_with_other_options() -> None:
    with cheaper_pipelines():
        first, second = (PipelineOptions(["--runner=FnApiRunner", "--streaming"]) for _ in range(2))
        assert first.view_as(StandardOptions).runner == "FnApiRunner"
        first.view_as(StandardOptions).runner = "Other"
        assert first.view_as(StandardOptions).runner == "Other"
        assert first.view_as(StandardOptions).streaming
        assert second.view_as(StandardOptions).runner == "FnApiRunner"
        assert first.get_all_options()["runner"] == "Other"
        assert not PipelineOptions([]).view_as(StandardOptions).streaming
        assert type(first.view_as(TypeOptions)) is TypeOptions


def test_lists_among_the_options_stay_each_ones_own() -> None:
    with cheaper_pipelines():
        for _ in range(2):
            options = PipelineOptions(["--experiments=one"])
            options.view_as(DebugOptions).add_experiment("two")
            assert options.view_as(DebugOptions).experiments == ["one", "two"]


def test_it_is_undone_after_an_error_too() -> None:
    with pytest.raises(KeyError), cheaper_pipelines():
        raise KeyError
    assert (core.get_function_args_defaults, PipelineOptions.view_as) == PLAIN


def test_nested_use_changes_nothing_more_and_the_outer_one_goes_on() -> None:
    with cheaper_pipelines() as outer:
        ours = core.get_function_args_defaults
        with cheaper_pipelines() as inner:
            assert core.get_function_args_defaults is ours
        assert core.get_function_args_defaults is ours
    assert (outer, inner) == (True, False)


def test_another_version_of_beam_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beam, "__version__", "99.0.0")
    with cheaper_pipelines() as changed:
        assert (core.get_function_args_defaults, PipelineOptions.view_as) == PLAIN
    assert not changed


def test_the_installed_version_is_a_checked_one() -> None:
    assert beam.__version__ in CHECKED_VERSIONS
