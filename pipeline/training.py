"""The Trainer's `run_fn`: a training job from TFX's arguments, run here or in a process a worker, and exported."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.environment import Environment, TrainingOptions
from pipeline.fingerprint import Fingerprint
from pipeline.task import Hyperparameters, Task, load
from serving.home import home

if TYPE_CHECKING:
    import keras
    from tfx.components.trainer.fn_args_utils import FnArgs


@dataclass(frozen=True)
class TrainingJob:
    """One training, complete: what a worker process is handed as JSON.

    Attributes:
        task: the task's name.
        build_model: dotted path, see Task.
        label: name of the raw and of the transformed label.
        hyperparameters: of the task, with the environment's overrides put in.
        options: how the hardware is used.
        train_files, eval_files: patterns of gzip TFRecords.
        transform_output: folder of the transform graph.
        schema_path: the raw records' schema, a pbtxt file.
        serving_model_dir: where the SavedModel goes.
        model_run_dir: where TensorBoard's events go.
        fingerprint: of the code and the libraries.
    """

    task: str
    build_model: str
    label: str
    hyperparameters: Hyperparameters
    options: TrainingOptions
    train_files: tuple[str, ...]
    eval_files: tuple[str, ...]
    transform_output: str
    schema_path: str
    serving_model_dir: str
    model_run_dir: str
    fingerprint: str

    def to_json(self) -> str:
        """The inverse of `from_json`."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "TrainingJob":
        """The job that `to_json` wrote."""
        content = json.loads(text)
        content["hyperparameters"] = Hyperparameters(**content["hyperparameters"])
        content["options"] = TrainingOptions(**content["options"])
        content["train_files"], content["eval_files"] = tuple(content["train_files"]), tuple(content["eval_files"])
        return TrainingJob(**content)

    @property
    def checkpoints(self) -> Path:
        """Where this training continues from after a kill: the same for the same inputs, whatever run it is in."""
        inputs = replace(self, serving_model_dir="", model_run_dir="")
        return home() / "checkpoints" / self.task / hashlib.sha256(inputs.to_json().encode()).hexdigest()[:16]


def run_fn(fn_args: "FnArgs") -> None:
    """Trains and exports; TFX's Trainer calls it with the files of this run."""
    config = json.loads(fn_args.custom_config["training_job"])
    job = TrainingJob(
        task=config["task"],
        build_model=config["build_model"],
        label=config["label"],
        hyperparameters=Hyperparameters(**config["hyperparameters"]),
        options=TrainingOptions(**config["options"]),
        train_files=tuple(fn_args.train_files),
        eval_files=tuple(fn_args.eval_files),
        transform_output=fn_args.transform_output,
        schema_path=fn_args.schema_path,
        serving_model_dir=fn_args.serving_model_dir,
        model_run_dir=fn_args.model_run_dir,
        fingerprint=config["fingerprint"],
    )
    if job.options.strategy == "multi_worker" and job.options.local_workers > 1 and not os.environ.get("TF_CONFIG"):
        _train_in_local_workers(job)
    else:
        train(job)


def train(job: TrainingJob) -> None:
    """Runs one job in this process, which may be one of several workers; only the chief exports."""
    import keras
    import tensorflow_transform as tft

    from pipeline import signatures, strategy, training_input
    from pipeline.training_loop import Loop

    keras.utils.set_random_seed(job.hyperparameters.seed)
    distribution = strategy.create(job.options)
    chief = strategy.is_chief(distribution)
    transform = tft.TFTransformOutput(job.transform_output)
    examples = training_input.find(list(job.train_files))
    held_out = training_input.find(list(job.eval_files))
    parameters = job.hyperparameters
    batch_size = min(parameters.batch_size, examples.count)
    cache = examples.size_bytes <= job.options.cache_mib * 2**20
    seed = parameters.seed
    build = load(job.build_model)
    loop = Loop(
        distribution,
        lambda: build(transform, parameters),
        parameters,
        steps_per_epoch=max(1, examples.count // batch_size),
        checkpoints=job.checkpoints,
        chief=chief,
        xla=job.options.xla,
    )
    wanted = [tensor.name for tensor in loop.model.inputs]
    board = _Board(job.model_run_dir if chief else None)
    progress = loop.fit(
        training_input.batches(examples, transform, wanted, job.label, batch_size, seed, cache),
        training_input.batches(held_out, transform, wanted, job.label, max(batch_size, 1024), None, cache),
        board.report,
    )
    if chief:
        # The exported model is float32 whatever the training's precision was, so that every host can serve it.
        model = loop.model if job.options.precision == "float32" else _in_float32(loop.model, job)
        signatures.export(model, transform, job.schema_path, job.label, job.serving_model_dir)
        summary = {"task": job.task, "fingerprint": job.fingerprint, "examples": examples.count, **asdict(progress)}
        Path(job.model_run_dir).mkdir(parents=True, exist_ok=True)
        (Path(job.model_run_dir) / "training.json").write_text(json.dumps(summary, indent=1))
        shutil.rmtree(job.checkpoints, ignore_errors=True)


def _in_float32(model: "keras.Model", job: TrainingJob) -> "keras.Model":
    import keras
    import tensorflow_transform as tft

    keras.config.set_dtype_policy("float32")
    copy: keras.Model = load(job.build_model)(tft.TFTransformOutput(job.transform_output), job.hyperparameters)
    copy.set_weights(model.get_weights())
    return copy


class _Board:
    """TensorBoard events: loss, metrics, learning rate and the histogram of every weight, once a pass."""

    def __init__(self, folder: str | None) -> None:
        import tensorflow as tf

        self._writer = tf.summary.create_file_writer(folder) if folder else tf.summary.create_noop_writer()

    def report(self, model: "keras.Model", row: dict[str, float], epoch: int) -> None:
        import tensorflow as tf

        shown = ", ".join(f"{name} {value:.4f}" for name, value in row.items() if name != "learning_rate")
        print(f"    epoch {epoch}: {shown}", flush=True)
        with self._writer.as_default(step=epoch):
            for name, value in row.items():
                tf.summary.scalar(name, value)
            for weight in model.trainable_weights:
                tf.summary.histogram(weight.path, weight.value)
        self._writer.flush()


def _train_in_local_workers(job: TrainingJob) -> None:
    """One fresh process a worker on this machine: collective operations must be set up at a program's start.

    Raises:
        RuntimeError: a worker failed; the others are ended.
    """
    from pipeline.strategy import cluster_of

    count = job.options.local_workers
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "job.json")
        path.write_text(job.to_json())
        command = [sys.executable, "-m", "pipeline.training_worker", str(path)]
        workers = [
            subprocess.Popen(command, env={**os.environ, "TF_CONFIG": config})
            for config in cluster_of(count, _free_ports(count))
        ]
        try:
            # The chief ends last: it exports. A worker that dies takes the others down, or they would wait for it.
            waiting = dict(enumerate(workers))
            while waiting:
                for index, worker in list(waiting.items()):
                    try:
                        code = worker.wait(timeout=0.2)
                    except subprocess.TimeoutExpired:
                        continue
                    if code:
                        raise RuntimeError(
                            f"training worker {index} of {count} ended with {code}; the run's log has its words"
                        )
                    del waiting[index]
        finally:
            for worker in workers:
                if worker.poll() is None:
                    worker.kill()


def _free_ports(count: int) -> list[int]:
    """Loopback ports that were free just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def custom_config(task: Task, environment: Environment, fingerprint: Fingerprint) -> dict[str, str]:
    """What the graph tells `run_fn`: one JSON text, which TFX can keep as an execution property.

    The environment may override the batch size, the epochs and the seed of the task.
    """
    options = environment.training
    chosen = {name: getattr(options, name) for name in ("batch_size", "epochs", "seed")}
    overrides = {name: value for name, value in chosen.items() if value is not None}
    content = {
        "task": task.name,
        "build_model": task.build_model,
        "label": task.label,
        "hyperparameters": asdict(replace(task.hyperparameters, **overrides)),
        "options": asdict(options),
        "fingerprint": fingerprint.training,
    }
    return {"training_job": json.dumps(content, sort_keys=True)}
