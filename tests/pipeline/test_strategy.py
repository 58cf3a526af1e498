import json

import pytest

from pipeline.environment import TrainingOptions
from pipeline.strategy import cluster_of, create, is_chief


def test_a_cluster_names_every_worker_to_every_worker_and_each_its_place() -> None:
    configs = [json.loads(text) for text in cluster_of(2, [7001, 7002])]
    assert [config["cluster"] for config in configs] == [{"worker": ["127.0.0.1:7001", "127.0.0.1:7002"]}] * 2
    assert [config["task"] for config in configs] == [{"type": "worker", "index": 0}, {"type": "worker", "index": 1}]


def test_ports_beyond_the_workers_are_not_used() -> None:
    (config,) = cluster_of(1, [7001, 7002])
    assert json.loads(config)["cluster"] == {"worker": ["127.0.0.1:7001"]}


def test_several_workers_without_a_cluster_are_refused_with_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="needs TF_CONFIG in the environment, or local_workers of 2 or more"):
        create(TrainingOptions(strategy="multi_worker"))


@pytest.mark.parametrize("name", ["auto", "one_device"])
def test_one_device_trains_under_the_default_strategy_whose_process_is_the_chief(name: str) -> None:
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("with several GPUs `auto` mirrors over them")
    strategy = create(TrainingOptions(strategy=name))
    assert strategy.num_replicas_in_sync == 1
    assert strategy is tf.distribute.get_strategy()
    assert is_chief(strategy)


def test_mirrored_takes_every_device_and_its_process_is_the_chief() -> None:
    import tensorflow as tf

    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    strategy = create(TrainingOptions(strategy="mirrored"))
    assert strategy.num_replicas_in_sync == len(tf.config.list_logical_devices(kind))
    assert is_chief(strategy)


@pytest.mark.parametrize(
    ("kind", "index", "chief"),
    [("worker", 0, True), ("worker", 1, False), ("chief", 0, True), ("evaluator", 0, False), (None, None, True)],
)
def test_of_several_workers_only_the_first_is_the_chief(kind: str | None, index: int | None, chief: bool) -> None:
    class Resolver:
        task_type, task_id = kind, index

    class Strategy:
        cluster_resolver = Resolver()

    assert is_chief(Strategy()) is chief


def test_the_precision_becomes_the_policy_of_new_layers() -> None:
    import keras

    before = keras.config.dtype_policy()
    try:
        create(TrainingOptions(precision="mixed_bfloat16"))
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        create(TrainingOptions())
        assert keras.config.dtype_policy().name == "float32"
    finally:
        keras.config.set_dtype_policy(before)
