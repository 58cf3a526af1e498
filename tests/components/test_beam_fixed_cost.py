from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions, StandardOptions, TypeOptions
from apache_beam.transforms import core

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

    TOTAL = beam.transforms.userstate.CombiningValueStateSpec("total", beam.coders.VarIntCoder(), sum)

    def process(self, pair: tuple[int, int], total: Any = beam.DoFn.StateParam(TOTAL)) -> Iterator[int]:
        total.add(pair[1])
        yield total.read()


class Other(beam.DoFn):
    def process(self, element: str, *, word: str = "b") -> Iterator[str]:
        yield word + element


def answers(folder: Path, name: str) -> list[tuple[str, list[str]]]:
    """What one pipeline of many kinds of steps writes."""
    with beam.Pipeline(argv=["--runner=FnApiRunner"]) as pipeline:
        numbers = pipeline | beam.Create([{"n": n} for n in range(40)])
        offset = pipeline | "offset" >> beam.Create([5])
        stamped = numbers | beam.Map(lambda row: beam.window.TimestampedValue(row, row["n"]))
        counted = stamped | beam.ParDo(Counted(), beam.pvalue.AsSingleton(offset), factor=2)
        keyed = counted | "key" >> beam.Map(lambda number, by=2: (number % by, number), by=3).with_output_types(
            tuple[int, int]
        )
        running = keyed | beam.ParDo(Running()) | beam.combiners.Count.Globally()
        words = counted | "number text" >> beam.Map(str) | beam.ParDo(Other())
        summed = keyed | beam.CombinePerKey(sum) | "sum text" >> beam.Map(str)
        for what, step in (
            ("running", running | "running text" >> beam.Map(str)),
            ("words", words),
            ("summed", summed),
        ):
            _ = step | f"write {what}" >> beam.io.WriteToText(str(folder / f"{name}-{what}"))
    return sorted((path.name.split("-")[1], sorted(path.read_text().split())) for path in folder.glob(f"{name}-*"))


def test_a_pipeline_gives_the_same_results_with_and_without(tmp_path: Path) -> None:
    plain = answers(tmp_path, "plain")
    with cheaper_pipelines() as changed:
        assert changed
        assert answers(tmp_path, "first") == plain
        assert answers(tmp_path, "second") == plain
    assert sum(len(lines) for _, lines in plain) == 1 + 40 + 3


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
