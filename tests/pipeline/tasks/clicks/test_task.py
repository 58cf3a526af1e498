"""The declaration of the clicks task, and how it is found."""

import subprocess
import sys
from typing import Any

from pipeline.task import load
from pipeline.tasks import find
from pipeline.tasks.clicks.task import TASK
from serving.home import PROJECT

RAW = {"user_id", "item_id", "age", "gender", "occupation", "zip_area", "release_year", "genres"}


def test_it_is_found_by_its_name() -> None:
    assert find("clicks") is TASK


def test_finding_it_imports_nothing_heavy() -> None:
    heavy = "{'tensorflow', 'keras', 'apache_beam', 'tfx', 'tensorflow_transform', 'numpy', 'pyarrow'}"
    program = f"import sys; from pipeline.tasks import find; find('clicks'); print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_its_functions_and_its_schema_are_where_it_says() -> None:
    assert load(TASK.preprocessing_fn).__name__ == "preprocessing_fn"
    assert load(TASK.build_model).__name__ == "build_model"
    assert TASK.schema_file.is_file()


def test_its_label_and_split_are_features_of_its_schema(schema: Any) -> None:
    assert {TASK.label, TASK.split_by} <= {feature.name for feature in schema.feature}


def test_every_slice_is_a_raw_or_a_transformed_feature(transform_output: Any) -> None:
    known = RAW | set(transform_output.transformed_feature_spec())
    slices = {*TASK.slice_by, *(keys for gate in TASK.gates for keys in gate.slices)}
    assert {feature for keys in slices for feature in keys} <= known


def test_a_model_that_says_nothing_does_not_pass_its_gates() -> None:
    auc = max(gate.at_least for gate in TASK.gates if gate.metric == "auc" and gate.at_least is not None)
    assert auc > 0.5


def test_every_metric_is_also_held_against_the_baseline() -> None:
    compared = {gate.metric for gate in TASK.gates if gate.not_below_baseline_by is not None}
    assert compared == {"auc", "log_loss"}
