import asyncio
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.model_server.servable import Feeds
from serving.model_server.signature import Array, read
from serving.status import Code, StatusError
from tests.serving.model_server.batching_fakes import (
    Model,
    RecordedMetrics,
    ask,
    go,
    run_of,
    scheduler,
    signature,
    status,
    until,
    values,
)

HOUR_MICROS = 3_600_000_000


def test_a_cut_request_fails_with_its_first_part_that_does() -> None:
    def refuse_threes(fed: Feeds) -> dict[str, Array]:
        if 3 in fed["x:0"]:
            raise StatusError(Code.OUT_OF_RANGE, "three")
        return {"y:0": fed["x:0"]}

    async def test() -> None:
        limits: dict[str, Any] = {
            "max_batch_size": 9,
            "max_execution_batch_size": 2,
            "enable_large_batch_splitting": True,
        }
        async with scheduler(**limits) as batches:
            run = run_of(batches, Model(refuse_threes))
            with pytest.raises(StatusError) as failed:
                await ask(run, list(range(9)))
            assert status(failed) == (Code.OUT_OF_RANGE, "three")
            assert await values([ask(run, [4])]) == [[4]]

    go(test())


def test_the_parts_of_a_request_whose_caller_has_gone_are_not_run() -> None:
    async def test() -> None:
        model = Model()
        limits: dict[str, Any] = {"max_batch_size": 9, "max_execution_batch_size": 2}
        async with scheduler(**limits, enable_large_batch_splitting=True) as batches:
            run = run_of(batches, model)
            with model.held():
                answers = [ask(run, [0])]
                await until(lambda: model.running == 1)
                ask(run, [1, 2, 3]).cancel()
                answers.append(ask(run, [4]))
            assert await values([*answers]) == [[0], [4]]
        assert [feeds["x:0"].tolist() for feeds in model.batches] == [[0], [4]]

    go(test())


def test_shapes_are_padded_where_that_is_wanted_and_refused_for_all_where_not() -> None:
    async def test() -> None:
        async with scheduler() as batches:
            padded = run_of(batches, Model(), pad_variable_length_inputs=True)
            assert await values([ask(padded, [[1]]), ask(padded, [[2, 3]])]) == [[[1, 1]], [[2, 3]]]
            run = run_of(batches, Model())
            answers = await asyncio.gather(ask(run, [[1]]), ask(run, [[2, 3]]), return_exceptions=True)
            assert [getattr(answer, "code", None) for answer in answers] == [Code.FAILED_PRECONDITION] * 2

    go(test())


def test_a_request_that_has_no_rows_in_common_is_refused_before_it_waits() -> None:
    async def test() -> None:
        async with scheduler() as batches:
            with pytest.raises(StatusError) as refused:
                ask(run_of(batches, Model()), 1.0)
            assert refused.value.code == Code.INVALID_ARGUMENT
            inputless = run_of(batches, Model(), signature("", "y:0"))
            with pytest.raises(StatusError) as refused:
                inputless({}, ("y:0",), None)
            assert status(refused) == (
                Code.INVALID_ARGUMENT,
                "Batching Run() must have at least one input tensor",
            )

    go(test())


def test_the_error_of_a_batch_reaches_each_of_its_requests_as_an_error_of_its_own() -> None:
    def refuse(fed: Feeds) -> dict[str, Array]:
        raise StatusError(Code.INVALID_ARGUMENT, "no")

    async def test() -> None:
        async with scheduler() as batches:
            run = run_of(batches, Model(refuse))
            one, other = await asyncio.gather(ask(run, [1]), ask(run, [2]), return_exceptions=True)
            assert one is not other
            assert [str(one), str(other)] == ["INVALID_ARGUMENT: no"] * 2

    go(test())


def test_a_defect_is_answered_and_costs_no_thread() -> None:
    def broken(fed: Feeds) -> dict[str, Array]:
        if fed["x:0"][0] == 0:
            raise RuntimeError("broken")
        return {"y:0": fed["x:0"]}

    async def test() -> None:
        async with scheduler() as batches:
            run = run_of(batches, Model(broken))
            for _ in range(3):
                with pytest.raises(StatusError, match="RuntimeError: broken") as failed:
                    await ask(run, [0])
                assert failed.value.code == Code.INTERNAL
            assert await values([ask(run, [1])]) == [[1]]

    go(test())


def test_metrics_that_fail_cost_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(RecordedMetrics):
        @property
        def padding_size(self) -> Any:
            raise RuntimeError("broken")

    async def test() -> None:
        async with scheduler(Broken()) as batches:
            run = run_of(batches, Model())
            for _ in range(3):
                with pytest.raises(StatusError, match="broken"):
                    await ask(run, [0])

    go(test())
    assert caplog.messages == ["a batch was lost"] * 3


def test_a_request_whose_caller_has_gone_is_not_run_and_the_others_are() -> None:
    async def test() -> None:
        model = Model()
        async with scheduler(max_batch_size=2) as batches:
            run = run_of(batches, model)
            with model.held():
                answers = [ask(run, [0])]
                await until(lambda: model.running == 1)
                gone = [ask(run, [1]), ask(run, [3]), ask(run, [4])]
                answers.insert(1, ask(run, [5]))
                for caller in gone:
                    caller.cancel()
            assert await values([*answers]) == [[0], [5]]
        assert [feeds["x:0"].tolist() for feeds in model.batches] == [[0], [5]]

    go(test())


def test_a_caller_that_goes_during_the_run_does_not_harm_the_others() -> None:
    async def test() -> None:
        model = Model()
        async with scheduler() as batches:
            run = run_of(batches, model)
            with model.held():
                stays, goes = ask(run, [0]), ask(run, [1])
                await until(lambda: model.running == 1)
                goes.cancel()
            assert await values([stays]) == [[0]]
            assert goes.cancelled()

    go(test())


def test_a_request_that_times_out_in_the_queue_is_refused_and_never_runs() -> None:
    async def test() -> None:
        model = Model()
        async with scheduler() as batches:
            run = run_of(batches, model)
            with model.held():
                first = ask(run, [0])
                await until(lambda: model.running == 1)
                patient, hasty = ask(run, [1], timeout_s=60), ask(run, [2], timeout_s=0.001)
                with pytest.raises(StatusError) as late:
                    await hasty
                message = "Run() timeout exceeded while waiting in batching queue"
                assert status(late) == (Code.RESOURCE_EXHAUSTED, message)
            assert await values([first, patient]) == [[0], [1]]
        assert [feeds["x:0"].tolist() for feeds in model.batches] == [[0], [1]]

    go(test())


def test_a_request_that_times_out_during_the_run_exceeds_its_deadline() -> None:
    async def test() -> None:
        model = Model()
        async with scheduler() as batches:
            run = run_of(batches, model)
            with model.held():
                patient, hasty = ask(run, [1]), ask(run, [2], timeout_s=0.005)
                with pytest.raises(StatusError) as late:
                    await hasty
                assert status(late) == (Code.DEADLINE_EXCEEDED, "Timed out after 0.005 s.")
            assert await values([patient]) == [[1]]

    go(test())


def test_an_answered_request_is_forgotten_before_its_time_is_up() -> None:
    async def test() -> None:
        model = Model(lambda fed: {"y:0": fed["x:0"] + 1})
        async with scheduler() as batches:
            brought = np.array([1])
            kept = weakref.ref(brought)
            assert await values([ask(run_of(batches, model), brought, timeout_s=60)]) == [[2]]
            model.batches.clear()
            del brought
            await until(lambda: kept() is None)

    go(test())


def test_closing_fails_what_waits_answers_what_runs_and_refuses_what_comes() -> None:
    async def test() -> None:
        model = Model()
        async with scheduler() as batches:
            run = run_of(batches, model)
            idle = run_of(batches, model, batch_timeout_micros=HOUR_MICROS)
            with model.held():
                running = ask(run, [0])
                await until(lambda: model.running == 1)
                waiting = [ask(run, [1], timeout_s=60), ask(idle, [2])]
                batches.close()
                failed = await asyncio.gather(*waiting, return_exceptions=True)
                assert [str(error) for error in failed] == ["UNAVAILABLE: The server is shutting down."] * 2
                with pytest.raises(StatusError, match="UNAVAILABLE"):
                    ask(run, [3])
                with pytest.raises(StatusError, match="UNAVAILABLE"):
                    run({"z:0": np.array([3])}, ("y:0",), None)
            assert await values([running]) == [[0]]

    go(test())


def test_closing_ends_the_workers_and_the_threads() -> None:
    async def test() -> None:
        model = Model()
        async with scheduler(num_batch_threads=2, thread_pool_name="ends_with_the_scheduler") as batches:
            await values([ask(run_of(batches, model), [1])])
        await until(lambda: len(asyncio.all_tasks()) == 1)  # this one
        await until(lambda: not any("ends_with_the" in thread.name for thread in threading.enumerate()))

    go(test())


def test_outputs_that_are_no_batch_fail_the_precondition(models: Callable[[str], Path]) -> None:
    from serving.model_server.session import SavedModelSession, SessionOptions

    async def test() -> None:
        session = SavedModelSession(str(models("scalar")), SessionOptions())
        signatures = read(session.signature_definitions)
        async with scheduler() as batches:
            run = batches.run_for(session, signatures)
            messages = []
            for name in ("serving_default", "uneven"):
                fetches = [info.tensor for info in signatures[name].outputs.values()]
                (x,) = (info.tensor for info in signatures[name].inputs.values())
                with pytest.raises(StatusError) as failed:
                    await run({x: np.zeros(2, np.float32)}, fetches, 10.0)
                assert failed.value.code == Code.FAILED_PRECONDITION
                messages.append(failed.value.message)
        session.close()
        assert messages[0] == "Batched output tensor has 0 dimensions"
        assert messages[1].startswith("Batched output tensor's 0th dimension does not equal the sum")

    go(test())
