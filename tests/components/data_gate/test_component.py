import pytest
from tfx.types import Channel, standard_artifacts

from components.data_gate.component import DataGate


def _gate(spans: range, factor: float = 2.0) -> DataGate:
    return DataGate(
        {span: Channel(type=standard_artifacts.ExampleStatistics) for span in spans},
        schema=Channel(type=standard_artifacts.Schema),
        newest_examples=Channel(type=standard_artifacts.Examples),
        task="clicks",
        label="liked",
        drift_error_factor=factor,
    )


def test_each_span_has_an_input_of_its_own_and_gates_do_not_share_them() -> None:
    three, two = _gate(range(1, 4)), _gate(range(9, 11))
    assert set(three.inputs) == {"schema", "newest_examples", "statistics_1", "statistics_2", "statistics_3"}
    assert set(two.inputs) == {"schema", "newest_examples", "statistics_9", "statistics_10"}
    assert three.id == "DataGate"


def test_a_gate_of_no_span_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one span"):
        _gate(range(0))


def test_a_factor_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 1; got 0\.5"):
        _gate(range(1, 3), factor=0.5)
