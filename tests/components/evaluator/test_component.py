from tfx.components.evaluator.component import Evaluator
from tfx.types import Channel, standard_artifacts
from tfx.types.standard_component_specs import EvaluatorSpec

from components.evaluator.component import ColumnarEvaluator
from tests.components.evaluator.conftest import config


def _node(in_memory_examples: int = 200_000) -> ColumnarEvaluator:
    return ColumnarEvaluator(
        examples=Channel(type=standard_artifacts.Examples),
        model=Channel(type=standard_artifacts.Model),
        baseline_model=Channel(type=standard_artifacts.Model),
        eval_config=config(),
        example_splits=["eval"],
        in_memory_examples=in_memory_examples,
    )


def test_the_node_reads_like_the_stock_evaluator() -> None:
    stock = Evaluator(
        examples=Channel(type=standard_artifacts.Examples),
        model=Channel(type=standard_artifacts.Model),
        baseline_model=Channel(type=standard_artifacts.Model),
        eval_config=config(),
        example_splits=["eval"],
    )
    node = _node()
    assert node.id == stock.id == "Evaluator"
    assert {name: channel.type for name, channel in node.outputs.items()} == {
        name: channel.type for name, channel in stock.outputs.items()
    }
    assert sorted(node.inputs) == sorted(stock.inputs)
    assert node.exec_properties == {**stock.exec_properties, "in_memory_examples": 200_000}


def test_the_limit_is_an_execution_property_of_its_own() -> None:
    assert _node(in_memory_examples=7).exec_properties["in_memory_examples"] == 7
    assert "in_memory_examples" not in EvaluatorSpec.PARAMETERS  # the stock spec is as it was
