"""Batches of several models, signatures and sizes."""

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from serving.model_server.metrics import Metrics
from serving.model_server.runner import Runner
from serving.model_server.servable import Feeds
from serving.model_server.signature import Array, read
from tests.serving.model_server.batching_fakes import (
    Model,
    RecordedMetrics,
    ask,
    go,
    run_of,
    scheduler,
    signature,
    until,
    values,
)


def test_batches_are_padded_to_an_allowed_size_and_the_padding_is_cut_off() -> None:
    async def test() -> None:
        model, metrics = Model(), RecordedMetrics()
        async with scheduler(metrics, max_batch_size=8, allowed_batch_sizes=(4, 8)) as batches:
            run = run_of(batches, model)
            assert await values([ask(run, [1, 2]), ask(run, [3])]) == [[1, 2], [3]]
            assert await values([ask(run, [1])]) == [[1]]
        assert [feeds["x:0"].tolist() for feeds in model.batches] == [[1, 2, 3, 3], [1, 1, 1, 1]]
        assert metrics.padding_size.seen == [(("4",), 1), (("4",), 3)]
        assert metrics.processed_batch_size.values == [4, 4]

    go(test())


def test_a_request_without_rows_is_answered() -> None:
    async def test() -> None:
        async with scheduler(max_batch_size=4, allowed_batch_sizes=(2, 4)) as batches:
            run = run_of(batches, Model())
            assert await values([ask(run, [])]) == [[]]
            assert await values([ask(run, []), ask(run, [1.5]), ask(run, [])]) == [[], [1.5], []]

    go(test())


def test_what_fits_no_signature_runs_by_itself_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    names: list[str] = []

    def answer(fed: Feeds) -> dict[str, Array]:
        names.append(threading.current_thread().name)
        return {"y1:0": fed["x1:0"]}

    async def test() -> None:
        model, runner, metrics = Model(answer), Runner(1, "unbatched"), RecordedMetrics()
        async with scheduler(metrics, runner) as batches:
            run = run_of(batches, model, signature("x0:0 x1:0", "y0:0 y1:0"))
            fed = {"x1:0": np.array([1]), "x0:0": np.array(2)}  # a scalar: it would not be batched
            for _ in range(2):
                assert (await run(fed, ("y1:0",), 5.0))[0].tolist() == [1]
            assert names == ["unbatched-0"] * 2
            assert not metrics.wrapped_run_count.seen
        runner.close()

    with caplog.at_level(logging.WARNING):
        go(test())
    assert caplog.messages == [
        "Request doesn't match any declared signature. Bypassing batcher. Request signature is: "
        "{input_tensors: <x0:0, x1:0>, output_tensors: <y1:0>}"
    ]


def test_requests_may_name_tensors_in_any_order_and_more_than_once() -> None:
    async def test() -> None:
        model = Model()
        async with scheduler() as batches:
            run = run_of(batches, model, signature("x0:0 x1:0", "y0:0 y1:0"))
            one, two = np.array([1]), np.array([2])
            answers = await asyncio.gather(
                run({"x0:0": one, "x1:0": two}, ("y0:0", "y1:0"), None),
                run({"x1:0": two, "x0:0": one}, ["y1:0", "y0:0", "y1:0"], None),
            )
            assert [[int(output[0]) for output in outputs] for outputs in answers] == [[1, 2], [2, 1, 2]]
        assert model.rows == [2]
        assert model.fetches == [("y0:0", "y1:0")]

    go(test())


def test_queues_take_turns() -> None:
    async def test() -> None:
        model = Model()
        async with scheduler(max_batch_size=1) as batches:
            first = run_of(batches, model, signature("xa:0", "ya:0"))
            second = run_of(batches, model, signature("xb:0", "yb:0"))
            with model.held():
                answers = [first({"xa:0": np.array([0])}, ("ya:0",), None)]
                await until(lambda: model.running == 1)
                answers += [first({"xa:0": np.array([number])}, ("ya:0",), None) for number in range(3)]
                answers += [second({"xb:0": np.array([number])}, ("yb:0",), None) for number in range(2)]
            await asyncio.gather(*answers)
        assert [next(iter(feeds)) for feeds in model.batches] == ["xa:0", "xa:0", "xb:0", "xa:0", "xb:0", "xa:0"]

    go(test())


def test_as_many_batches_run_at_a_time_as_there_are_threads() -> None:
    async def test() -> None:
        model = Model()
        async with scheduler(num_batch_threads=3, max_batch_size=1) as batches:
            run = run_of(batches, model)
            with model.held():
                answers = [ask(run, [number]) for number in range(8)]
                await until(lambda: model.running == 3)
            assert await values([*answers]) == [[number] for number in range(8)]
        assert model.most_running == 3

    go(test())


def test_a_model_may_have_parameters_of_its_own() -> None:
    async def test() -> None:
        small, large = Model(), Model()
        async with scheduler(max_batch_size=8) as batches:
            one, other = run_of(batches, small, max_batch_size=1), run_of(batches, large)
            await values([ask(one, [1]), ask(one, [2]), ask(other, [1]), ask(other, [2])])
        assert (small.rows, large.rows) == ([1, 1], [2])

    go(test())


def test_two_signatures_of_the_same_tensors_share_batches() -> None:
    async def test() -> None:
        model = Model()
        async with scheduler() as batches:
            run = run_of(batches, model, signature(name="one"), signature(name="other"))
            await values([ask(run, [1]), ask(run, [2])])
        assert model.rows == [2]

    go(test())


def test_the_metrics_tell_of_requests_and_batches() -> None:
    async def test() -> None:
        model, metrics = Model(), RecordedMetrics()
        async with scheduler(metrics, thread_pool_name="pool") as batches:
            run = run_of(batches, model)
            await values([ask(run, [1]), ask(run, [2, 3])])
        assert metrics.input_batch_size.seen == [((), 1), ((), 2)]
        assert metrics.processed_batch_size.seen == [((), 3)]
        assert metrics.padding_size.seen == [(("3",), 0)]
        assert metrics.wrapped_run_count.seen == [((), 1)]
        assert [labels for labels, _ in metrics.queuing_latency.seen] == [("pool",)] * 2
        assert all(0 < value < 20e6 for value in metrics.queuing_latency.values)

    go(test())


def test_saved_models_run_in_batches(models: Callable[[str], Path]) -> None:
    from serving.model_server.session import SavedModelSession, SessionOptions

    async def test() -> None:
        session = SavedModelSession(str(models("half_plus_two")), SessionOptions())
        signatures = read(session.signature_definitions)
        default = signatures["serving_default"]
        (x,), (y,) = (sorted(info.tensor for info in infos.values()) for infos in (default.inputs, default.outputs))
        metrics = Metrics()
        async with scheduler(metrics, max_batch_size=4, allowed_batch_sizes=(4,)) as batches:
            run = batches.run_for(session, signatures)
            requests = [np.array(numbers, np.float32) for numbers in ([1, 2], [3])]
            answers = await asyncio.gather(*[run({x: numbers}, (y,), 10.0) for numbers in requests])
            assert [outputs[0].tolist() for outputs in answers] == [[2.5, 3.0], [3.5]]
            texts = np.array([b"one"], object)
            good, bad = await asyncio.gather(
                run({x: requests[1]}, (y,), 10.0), run({x: texts}, (y,), 10.0), return_exceptions=True
            )
            assert not isinstance(good, BaseException)
            assert good[0].tolist() == [3.5]
            assert str(bad) == "INVALID_ARGUMENT: Expects arg[0] to be float but string is provided"
        session.close()
        assert b":batching_session:wrapped_run_count{} 3" in metrics.exposition()

    go(test())
