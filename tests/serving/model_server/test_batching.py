import asyncio
from typing import Any

import numpy as np
import pytest

from serving.status import Code, StatusError
from tests.serving.model_server.batching_fakes import (
    Model,
    ask,
    go,
    run_of,
    scheduler,
    status,
    until,
    values,
)

FULL = "The batch scheduling queue to which this task was submitted is full"


HOUR_MICROS = 3_600_000_000


def test_requests_that_come_together_run_as_one_batch_and_each_gets_its_rows() -> None:
    async def test() -> None:
        model = Model()
        async with scheduler() as batches:
            run = run_of(batches, model)
            assert await values([ask(run, [1]), ask(run, [2, 3]), ask(run, [4])]) == [[1], [2, 3], [4]]
        assert model.rows == [4]

    go(test())


def test_a_lone_request_runs_at_once_on_the_very_arrays_it_brought() -> None:
    async def test() -> None:
        model = Model()
        async with scheduler() as batches:
            request = {"x:0": np.array([1.0])}
            (answer,) = await run_of(batches, model)(request, ("y:0",), None)
            assert model.batches[0] is request
            assert answer is request["x:0"]

    go(test())


def test_requests_gather_while_the_thread_is_busy() -> None:
    async def test() -> None:
        model = Model()
        async with scheduler(max_batch_size=4) as batches:
            run = run_of(batches, model)
            with model.held():
                answers = [ask(run, [0])]
                await until(lambda: model.running == 1)
                for number in range(1, 7):
                    answers.append(ask(run, [number]))
                    await asyncio.sleep(0)
            assert await values([*answers]) == [[number] for number in range(7)]
        assert model.rows == [1, 4, 2]

    go(test())


def test_a_request_that_does_not_fit_begins_a_batch_and_closes_the_one_before() -> None:
    async def test() -> None:
        model = Model()
        async with scheduler(max_batch_size=4, batch_timeout_micros=HOUR_MICROS) as batches:
            run = run_of(batches, model)
            answers = [ask(run, [1, 2, 3]), ask(run, [4, 5]), ask(run, [6, 7])]
            assert await values([*answers]) == [[1, 2, 3], [4, 5], [6, 7]]
        assert model.rows == [3, 4]

    go(test())


def test_a_batch_waits_for_company_no_longer_than_its_time_out() -> None:
    async def test() -> None:
        model = Model()
        async with scheduler(max_batch_size=4, batch_timeout_micros=2_000) as batches:
            run = run_of(batches, model)
            answers = [ask(run, [1])]
            await asyncio.sleep(0)
            answers.append(ask(run, [2]))
            assert await values([*answers]) == [[1], [2]]
        assert model.rows == [2]

    go(test())


def test_a_time_out_below_a_millisecond_is_one() -> None:
    async def test() -> None:
        model = Model()
        async with scheduler(max_batch_size=4, batch_timeout_micros=1) as batches:
            run = run_of(batches, model)
            first = ask(run, [1])
            for _ in range(3):  # a worker has its turn
                await asyncio.sleep(0)
            assert await values([first, ask(run, [2])]) == [[1], [2]]
        assert model.rows == [2]

    go(test())


def test_a_full_queue_answers_unavailable() -> None:
    async def test() -> None:
        model = Model()
        async with scheduler(max_batch_size=2, max_enqueued_batches=2) as batches:
            run = run_of(batches, model)
            with model.held():
                answers = [ask(run, [0])]
                await until(lambda: model.running == 1)
                answers += [ask(run, [1, 2]), ask(run, [3])]
                with pytest.raises(StatusError) as refused:
                    ask(run, [4, 5])
                assert status(refused) == (
                    Code.UNAVAILABLE,
                    f"{FULL}; currently 2 batches enqueued and max_enqueued_batches is 2",
                )
                answers.append(ask(run, [4]))  # fills the last batch up
            assert await values([*answers]) == [[0], [1, 2], [3], [4]]

    go(test())


def test_a_request_larger_than_a_batch_is_refused() -> None:
    async def test() -> None:
        async with scheduler(max_batch_size=2) as batches:
            with pytest.raises(StatusError) as refused:
                ask(run_of(batches, Model()), [1, 2, 3])
            message = "Task size 3 is larger than maximum input batch size 2"
            assert status(refused) == (Code.INVALID_ARGUMENT, message)

    go(test())


def test_a_large_request_is_cut_to_fill_batches_and_put_together_again() -> None:
    async def test() -> None:
        model = Model()
        limits: dict[str, Any] = {
            "max_batch_size": 9,
            "max_execution_batch_size": 4,
            "enable_large_batch_splitting": True,
        }
        async with scheduler(**limits, batch_timeout_micros=2_000) as batches:
            run = run_of(batches, model)
            answers = [ask(run, [1]), ask(run, list(range(2, 11))), ask(run, [11])]
            assert await values([*answers]) == [[1], list(range(2, 11)), [11]]
            with pytest.raises(StatusError) as refused:
                ask(run, [0] * 10)
            assert status(refused) == (
                Code.INVALID_ARGUMENT,
                "Task size 10 is larger than maximum input batch size 9",
            )
        assert model.rows == [4, 4, 3]

    go(test())


def test_a_large_request_needs_room_in_the_queue_for_all_of_it() -> None:
    async def test() -> None:
        model = Model()
        limits: dict[str, Any] = {
            "max_batch_size": 20,
            "max_execution_batch_size": 4,
            "enable_large_batch_splitting": True,
        }
        async with scheduler(**limits, max_enqueued_batches=2) as batches:
            run = run_of(batches, model)
            with model.held():
                answers = [ask(run, [0])]
                await until(lambda: model.running == 1)
                with pytest.raises(StatusError) as refused:
                    ask(run, [0] * 9)
                message = (
                    f"{FULL}; task size is 9 but scheduling capacity is only 8 (num_enqueued_batches=1, "
                    "max_enqueued_batches=2, open_batch_size=0, max_execution_batch_size=4)"
                )
                assert status(refused) == (Code.UNAVAILABLE, message)
                answers.append(ask(run, [1]))
                with pytest.raises(StatusError) as refused:
                    ask(run, [0] * 8)
                assert "capacity is only 7 (num_enqueued_batches=1, max_enqueued_batches=2, open_" in str(refused.value)
                answers.append(ask(run, list(range(7))))
            assert await values([*answers]) == [[0], [1], list(range(7))]

    go(test())
