"""Which devices train: strategy, precision and memory, from the environment's options."""

import json
import os
from typing import TYPE_CHECKING

from pipeline.environment import TrainingOptions

if TYPE_CHECKING:
    import tensorflow as tf


def create(options: TrainingOptions) -> "tf.distribute.Strategy":
    """Applies precision, determinism and memory growth to this process and returns its distribution strategy.

    To be called once, before any other TensorFlow work where the strategy is `multi_worker`: collective operations
    can only be set up at a program's start.

    Raises:
        ValueError: `multi_worker` without TF_CONFIG.
    """
    import keras
    import tensorflow as tf

    if options.strategy == "multi_worker" and not os.environ.get("TF_CONFIG"):
        raise ValueError("strategy multi_worker needs TF_CONFIG in the environment, or local_workers of 2 or more")
    gpus = tf.config.list_physical_devices("GPU")
    if options.memory_growth:
        for gpu in gpus:
            _grow(gpu)
    keras.config.set_dtype_policy(options.precision)
    if options.strategy == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    if options.strategy == "mirrored" or (options.strategy == "auto" and len(gpus) > 1):
        kind = "GPU" if gpus else "CPU"
        return tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices(kind)])
    return tf.distribute.get_strategy()


def _grow(gpu: "tf.config.PhysicalDevice") -> None:
    import tensorflow as tf

    try:
        tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:
        # TensorFlow has used this device already (Transform ran in this process): growth cannot change any more.
        if not tf.config.experimental.get_memory_growth(gpu):
            raise


def is_chief(strategy: "tf.distribute.Strategy") -> bool:
    """Whether this process writes what all workers share: the only one, or worker 0."""
    resolver = strategy.cluster_resolver
    return (
        resolver is None
        or resolver.task_type is None
        or (resolver.task_type, resolver.task_id)
        in {
            ("worker", 0),
            ("chief", 0),
        }
    )


def cluster_of(workers: int, ports: list[int]) -> list[str]:
    """One TF_CONFIG a worker, for `workers` processes of this machine that listen on loopback `ports`."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports[:workers]]}
    return [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}) for index in range(workers)]
