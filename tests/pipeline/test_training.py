import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.environment import TrainingOptions
from pipeline.task import Hyperparameters
from pipeline.training import TrainingJob
from tests.pipeline.conftest import SmallLine

PARAMETERS = Hyperparameters(batch_size=200, epochs=3, learning_rate=0.01, patience=2, seed=7)
TWO_CPUS = """
import sys, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
"""
TRAIN = """
import sys
from pathlib import Path
from pipeline import training
job = training.TrainingJob.from_json(Path(sys.argv[1]).read_text())
training.run_fn(type("FnArgs", (), {
    "custom_config": {"training_job": job.to_json()},
    "train_files": job.train_files, "eval_files": job.eval_files, "transform_output": job.transform_output,
    "schema_path": job.schema_path, "serving_model_dir": job.serving_model_dir, "model_run_dir": job.model_run_dir,
}))
"""


def job_of(line: SmallLine, folder: Path, options: TrainingOptions | None = None) -> TrainingJob:
    return TrainingJob(
        task="small",
        build_model="tests.pipeline.small_task.build_model",
        label="liked",
        hyperparameters=PARAMETERS,
        options=options or TrainingOptions(),
        train_files=(str(line.train),),
        eval_files=(str(line.held_out),),
        transform_output=str(line.transform_output),
        schema_path=str(line.schema_path),
        serving_model_dir=str(folder / "model"),
        model_run_dir=str(folder / "run"),
        fingerprint="test",
    )


def train(job: TrainingJob, folder: Path, before: str = "") -> dict[str, object]:
    """Trains in a fresh process, as devices can only be configured there; returns what it wrote of itself."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text(job.to_json())
    environment = {**os.environ, "PRESSLINE_HOME": str(folder / "home"), "TF_CPP_MIN_LOG_LEVEL": "2"}
    subprocess.run([sys.executable, "-c", before + TRAIN, str(folder / "job.json")], env=environment, check=True)
    content: dict[str, object] = json.loads((folder / "run" / "training.json").read_text())
    return content


@pytest.fixture(scope="module")
def one_device(small_line: SmallLine, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    folder = tmp_path_factory.mktemp("one_device")
    return folder, train(job_of(small_line, folder), folder)


def losses(result: dict[str, object], name: str = "val_loss") -> np.ndarray:
    return np.array([row[name] for row in result["history"]])  # type: ignore[attr-defined]


def weights(model: Path) -> dict[str, np.ndarray]:
    """Every weight of a SavedModel; its files list them a second time in an order that Keras draws anew each time."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(model / "variables" / "variables"))
    return {
        name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if name.startswith("variables/")
    }


def test_it_learns(one_device: tuple[Path, dict[str, object]]) -> None:
    _, result = one_device
    assert result["examples"] == 4000
    assert losses(result)[-1] < losses(result)[0]
    assert losses(result, "val_auc")[-1] > 0.8


def test_the_same_seed_gives_the_same_weights(
    small_line: SmallLine, one_device: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    folder, result = one_device
    again = train(job_of(small_line, tmp_path), tmp_path)
    np.testing.assert_array_equal(losses(again), losses(result))
    first, second = weights(folder / "model"), weights(tmp_path / "model")
    assert first.keys() == second.keys()
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


@pytest.mark.parametrize("kind", ["two virtual devices", "two workers"])
def test_two_devices_learn_what_one_learns(
    small_line: SmallLine, one_device: tuple[Path, dict[str, object]], tmp_path: Path, kind: str
) -> None:
    if kind == "two workers":
        result = train(
            job_of(small_line, tmp_path, TrainingOptions(strategy="multi_worker", local_workers=2)), tmp_path
        )
    else:
        result = train(job_of(small_line, tmp_path, TrainingOptions(strategy="mirrored")), tmp_path, TWO_CPUS)
    # The same global batches in the same order; sums over halves round differently.
    np.testing.assert_allclose(losses(result), losses(one_device[1]), rtol=1e-4)
    assert (tmp_path / "model" / "saved_model.pb").exists()


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_and_xla_learn_the_same_within_their_rounding(
    small_line: SmallLine, one_device: tuple[Path, dict[str, object]], tmp_path: Path, precision: str
) -> None:
    result = train(job_of(small_line, tmp_path, TrainingOptions(precision=precision, xla=True)), tmp_path)
    np.testing.assert_allclose(losses(result), losses(one_device[1]), rtol=0.02)


def test_a_killed_training_continues_where_it_was(
    small_line: SmallLine, one_device: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    job = job_of(small_line, tmp_path)
    tmp_path.joinpath("job.json").write_text(job.to_json())
    killer = """
import os, signal
from pipeline import training
original = training._Board.report
def report(self, model, row, epoch):
    original(self, model, row, epoch)
    if epoch == 2: os.kill(os.getpid(), signal.SIGKILL)
training._Board.report = report
"""
    environment = {**os.environ, "PRESSLINE_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", killer + TRAIN, str(tmp_path / "job.json")]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "model").exists()
    result = train(job, tmp_path)
    assert result["epoch"] == 3
    np.testing.assert_allclose(losses(result)[:2], losses(one_device[1])[:2], rtol=1e-6)
    assert losses(result)[2] == pytest.approx(losses(one_device[1])[2], rel=0.05)  # its order of examples is new
    assert not list((tmp_path / "home" / "checkpoints" / "small").iterdir())


def test_the_exported_model_answers_alike_by_columns_and_by_examples(
    small_line: SmallLine, one_device: tuple[Path, dict[str, object]]
) -> None:
    import tensorflow as tf

    from tests.pipeline import small_task

    model = tf.saved_model.load(str(one_device[0] / "model"))
    assert set(model.signatures) == {"serving_default", "serving_examples", "transform_features"}
    assert "liked" not in model.signatures["serving_default"].structured_input_signature[1]
    examples = list(tf.data.TFRecordDataset(str(small_line.held_out), "GZIP").as_numpy_iterator())
    by_examples = model.signatures["serving_examples"](examples=tf.constant(examples))["score"].numpy()
    columns = small_task.rows(1000, 2)
    price = [one or [float("nan")] for one in columns["price"]]
    tags = [one + [b""] * (4 - len(one)) for one in columns["tags"]]
    by_columns = model.signatures["serving_default"](
        user=tf.constant([one[0] for one in columns["user"]]),
        age=tf.constant([one[0] for one in columns["age"]], tf.int64),
        price=tf.constant(price, tf.float32),
        tags=tf.constant(tags),
    )["score"].numpy()
    np.testing.assert_allclose(by_columns, by_examples, atol=1e-6)
    assert by_examples.std() > 0.01


def test_a_job_survives_json() -> None:
    line = SmallLine(Path("/f"), Path("/s"), Path("/t"), Path("/e"), Path("/o"))
    job = job_of(line, Path("/x"), TrainingOptions(batch_size=3))
    assert TrainingJob.from_json(job.to_json()) == job
    assert dataclasses.replace(job, model_run_dir="/elsewhere").checkpoints == job.checkpoints
    assert dataclasses.replace(job, fingerprint="other").checkpoints != job.checkpoints
