"""The clock that tests move."""

from __future__ import annotations

import asyncio
import time

import pytest

from prefect_qiskit_runtime.service.clock import Clock


async def test_moving_the_clock_makes_what_is_due_in_its_order() -> None:
    clock, heard = Clock(), list[str]()
    clock.call_later(7200, lambda: heard.append("second"))
    clock.call_later(3600, lambda: heard.append("first"))
    clock.call_later(9000, lambda: heard.append("too early"))

    clock.advance(8000)

    assert heard == ["first", "second"]


async def test_a_cancelled_timer_is_silent() -> None:
    clock, heard = Clock(), list[str]()
    clock.call_later(10, lambda: heard.append("cancelled")).cancel()

    clock.advance(20)

    assert heard == []


async def test_a_sleeper_wakes_when_the_clock_has_moved() -> None:
    clock = Clock()
    sleeper = asyncio.create_task(clock.sleep(86_400))
    await asyncio.sleep(0)

    clock.advance(86_399)
    await asyncio.sleep(0)
    assert not sleeper.done()
    clock.advance(2)

    async with asyncio.timeout(5):
        await sleeper


async def test_the_clock_runs_by_itself() -> None:
    clock, before = Clock(), time.monotonic()
    async with asyncio.timeout(5):
        await clock.sleep(0.001)
    assert time.monotonic() - before >= 0.001


async def test_both_times_move_together() -> None:
    clock = Clock()
    date, seconds = clock.now(), clock.monotonic()

    clock.advance(3600)

    assert (clock.now() - date).total_seconds() == pytest.approx(3600, abs=5)
    assert clock.monotonic() - seconds == pytest.approx(3600, abs=5)


async def test_the_clock_never_goes_back() -> None:
    with pytest.raises(ValueError, match="only moves forward"):
        Clock().advance(-1)
