"""Copies in the background."""

import asyncio
import logging

import pytest

from serving.gateway.shadow import Shadow
from tests.serving.gateway.rest_fakes import run, until


def test_a_copy_runs_and_nobody_waits_for_it() -> None:
    async def copies() -> None:
        done = asyncio.Event()
        shadow = Shadow(1)

        async def copy() -> None:
            done.set()

        assert shadow.run(copy)
        assert not done.is_set()
        assert shadow.in_flight == 1
        await done.wait()
        await until(lambda: not shadow.in_flight)

    run(copies())


def test_copies_over_the_limit_are_dropped_and_counted() -> None:
    async def copies() -> None:
        drops: list[str] = []
        go = asyncio.Event()
        shadow = Shadow(2, lambda: drops.append("one"))

        async def copy() -> None:
            await go.wait()

        assert [shadow.run(copy) for _ in range(5)] == [True, True, False, False, False]
        assert (shadow.in_flight, shadow.dropped, len(drops)) == (2, 3, 3)
        go.set()
        await until(lambda: not shadow.in_flight)
        assert shadow.run(copy)
        await shadow.close()

    run(copies())


def test_no_copies_at_all_can_be_wanted() -> None:
    async def copies() -> None:
        async def copy() -> None:
            raise AssertionError("was made")

        shadow = Shadow(0)
        assert not shadow.run(copy)

    run(copies())


def test_a_copy_that_fails_is_logged_and_makes_room(caplog: pytest.LogCaptureFixture) -> None:
    async def copies() -> None:
        async def copy() -> None:
            raise ValueError("broken")

        shadow = Shadow(1)
        shadow.run(copy)
        await until(lambda: not shadow.in_flight)
        assert shadow.run(copy)
        await until(lambda: not shadow.in_flight)

    with caplog.at_level(logging.ERROR):
        run(copies())
    assert len(caplog.records) == 2


def test_closing_ends_what_is_under_way(caplog: pytest.LogCaptureFixture) -> None:
    async def copies() -> None:
        shadow = Shadow(1)
        shadow.run(asyncio.Event().wait)  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await shadow.close()
        assert not shadow.in_flight
        await shadow.close()

    run(copies())
    assert not caplog.records
