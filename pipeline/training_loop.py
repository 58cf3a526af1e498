"""The training loop: one for a single device, several devices and several workers.

Written here because Keras 3's `fit` does not run under MultiWorkerMirroredStrategy (it hands PerReplica values to
`tf.convert_to_tensor`), and two loops would be two sets of numbers. To be removed when `fit` does.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.task import Hyperparameters

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


@dataclass(frozen=True)
class Progress:
    """How far a training has come; written after every epoch, so that a killed one continues.

    Attributes:
        epoch: finished passes over the training examples.
        best_epoch: the pass after which the validation loss was least.
        best_loss: validation log loss after that pass (nats an example).
        history: one row a pass: loss, val_loss, val_auc, learning_rate, seconds.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    history: tuple[dict[str, float], ...] = ()

    def stalled(self, hyperparameters: Hyperparameters) -> bool:
        """Whether the validation loss has not improved for as many passes as there is patience for."""
        return self.epoch > 0 and self.epoch - self.best_epoch >= hyperparameters.patience

    def stopped(self, hyperparameters: Hyperparameters) -> bool:
        """Whether no further pass is due."""
        return self.epoch >= hyperparameters.epochs or self.stalled(hyperparameters)


class Loop:
    """Trains one model. All state that must survive a kill is in `checkpoints`."""

    def __init__(
        self,
        strategy: "tf.distribute.Strategy",
        build: Callable[[], "keras.Model"],
        hyperparameters: Hyperparameters,
        steps_per_epoch: int,
        checkpoints: Path,
        chief: bool,
        xla: bool,
    ) -> None:
        import keras
        import tensorflow as tf

        self.strategy, self.hyperparameters, self.chief = strategy, hyperparameters, chief
        self.folder = checkpoints if chief else checkpoints / "other_worker"  # saving is collective: every worker does
        with strategy.scope():
            self.model = build()
            schedule = keras.optimizers.schedules.CosineDecay(
                hyperparameters.learning_rate, hyperparameters.epochs * steps_per_epoch, alpha=0.1
            )
            optimizer = keras.optimizers.Adam(schedule)
            scaled = keras.config.dtype_policy().name == "mixed_float16"
            self.optimizer = keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer
            self.optimizer.build(self.model.trainable_variables)
        self._train_step = tf.function(self._distributed_train, autograph=False)
        self._predict_step = tf.function(self._distributed_predict, autograph=False, reduce_retracing=True)
        self._xla = xla
        self.state = tf.train.Checkpoint(model=self.model, optimizer=self.optimizer)

    def fit(
        self,
        train: "tf.data.Dataset",
        validate: "tf.data.Dataset",
        report: Callable[["keras.Model", dict[str, float], int], None],
    ) -> Progress:
        """Trains until early stopping or the last epoch.

        Stopped early, the model gets its best weights back. At the end of the schedule it keeps its last ones: the
        learning rate has come to rest there, and the best of several noisy looks at few held-out records is luck.

        Args:
            train: shuffled batches of (features, label [batch, 1]); a new order each pass.
            validate: all validation batches, the last may be smaller.
            report: called by the chief after every pass with (model, that pass's row, its number).
        """
        progress = self._restore()
        distributed = self.strategy.experimental_distribute_dataset(train)
        validation = self.strategy.experimental_distribute_dataset(validate)
        while not progress.stopped(self.hyperparameters):
            began = time.monotonic()
            losses = [self._train_step(features, label) for features, label in distributed]
            row = {"loss": float(np.mean([float(loss) for loss in losses])), **self._validate(validation)}
            row["learning_rate"] = float(np.asarray(self.optimizer.learning_rate))
            row["seconds"] = time.monotonic() - began
            if not math.isfinite(row["loss"]) or not math.isfinite(row["val_loss"]):
                raise FloatingPointError(
                    f"training diverged: loss {row['loss']}, validation loss {row['val_loss']} after epoch "
                    f"{progress.epoch + 1}; lower the learning rate or look for infinite inputs"
                )
            progress = self._advance(progress, row)
            if self.chief:
                report(self.model, row, progress.epoch)
        if progress.stalled(self.hyperparameters):
            self._set_weights(self.folder / "best.npz")
        return progress

    def _distributed_train(self, features: Any, label: Any) -> "tf.Tensor":
        import tensorflow as tf

        def replica(features: Any, label: "tf.Tensor") -> "tf.Tensor":
            with tf.GradientTape() as tape:
                answer = self.model(features, training=True)
                per_example = _log_loss(label, answer)
                loss = tf.nn.compute_average_loss(
                    per_example, global_batch_size=tf.shape(label)[0] * self.strategy.num_replicas_in_sync
                )
                penalty = tf.add_n(self.model.losses) if self.model.losses else tf.constant(0.0)
                total = loss + tf.nn.scale_regularization_loss(penalty)
                scaled = self.optimizer.scale_loss(total)
            variables = self.model.trainable_variables
            self.optimizer.apply(tape.gradient(scaled, variables), variables)
            return loss

        step = tf.function(replica, autograph=False, jit_compile=True) if self._xla else replica
        return self.strategy.reduce("SUM", self.strategy.run(step, args=(features, label)), axis=None)

    def _distributed_predict(self, features: Any, label: Any) -> "tuple[tf.Tensor, tf.Tensor]":
        answers = self.strategy.run(lambda x: self.model(x, training=False), args=(features,))
        return self.strategy.gather(answers, axis=0), self.strategy.gather(label, axis=0)

    def _validate(self, validation: Any) -> dict[str, float]:
        pairs = [self._predict_step(features, label) for features, label in validation]
        answers = np.concatenate([answer.numpy() for answer, _ in pairs]).ravel().astype(np.float64)
        labels = np.concatenate([label.numpy() for _, label in pairs]).ravel()
        clipped = np.clip(answers, 1e-7, 1 - 1e-7)
        loss = -np.mean(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped))
        return {"val_loss": float(loss), "val_auc": area_under_roc(labels, answers)}

    def _advance(self, progress: Progress, row: dict[str, float]) -> Progress:
        """Saves this pass's state; `progress.json`, renamed into place last, is what makes it count."""
        after = replace(progress, epoch=progress.epoch + 1, history=(*progress.history, row))
        if row["val_loss"] < progress.best_loss:
            after = replace(after, best_epoch=after.epoch, best_loss=row["val_loss"])
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state.write(str(self.folder / f"epoch-{after.epoch}"))
        if after.best_epoch == after.epoch:
            temporary = self.folder / "best.new.npz"
            np.savez(temporary, *[np.asarray(weight) for weight in self.model.get_weights()])
            temporary.replace(self.folder / "best.npz")
        temporary = self.folder / "progress.new"
        temporary.write_text(json.dumps(asdict(after)))
        temporary.replace(self.folder / "progress.json")
        for stale in self.folder.glob(f"epoch-{after.epoch - 2}.*"):
            stale.unlink()
        return after

    def _restore(self) -> Progress:
        try:
            saved = json.loads((self.folder / "progress.json").read_text())
        except FileNotFoundError:
            return Progress()
        progress = Progress(**{**saved, "history": tuple(saved["history"])})
        self.state.read(str(self.folder / f"epoch-{progress.epoch}")).assert_consumed()
        return progress

    def _set_weights(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as arrays:
            self.model.set_weights([arrays[name] for name in arrays.files])


def _log_loss(label: "tf.Tensor", answer: "tf.Tensor") -> "tf.Tensor":
    """Log loss [batch] in nats of probabilities [batch, 1]."""
    import keras

    return keras.losses.binary_crossentropy(label, answer)


def area_under_roc(labels: "np.ndarray[Any, Any]", scores: "np.ndarray[Any, Any]") -> float:
    """The probability that a positive scores above a negative, ties counting half (Mann-Whitney U over n1 n0).

    Args:
        labels: [n] of 0 and 1.
        scores: [n] of finite numbers.

    Returns:
        A number in [0, 1]; NaN where one of the classes is absent.
    """
    positives = int(np.sum(labels > 0.5))
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        return math.nan
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[labels > 0.5].sum() - positives * (positives + 1) / 2) / (positives * negatives))
