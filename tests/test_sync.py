"""The seam between synchronous callers and the asynchronous code."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator

import pytest

from prefect_qiskit_runtime.twins.sync import (
    deliver,
    iterate_sync,
    run_sync,
    sync_iterator_twin,
    sync_twin,
)


async def aadd(left: int, right: int = 1) -> int:
    """Add two numbers."""
    await asyncio.sleep(0)
    return left + right


async def acount(upto: int, closed: list[bool] | None = None) -> AsyncGenerator[int, None]:
    """Count."""
    try:
        for number in range(upto):
            yield number
    finally:
        (closed if closed is not None else []).append(True)


class Termination(BaseException):
    """What Prefect raises in the main thread of a flow that is cancelled."""


def test_run_sync_returns_what_the_coroutine_returns() -> None:
    assert run_sync(aadd(1)) == 2


def test_run_sync_raises_what_the_coroutine_raises() -> None:
    async def fail() -> None:
        raise ValueError("from inside")

    with pytest.raises(ValueError, match="from inside"):
        run_sync(fail())


def test_run_sync_works_inside_a_running_loop() -> None:
    async def sync_code_called_from_async_code() -> int:
        return run_sync(aadd(40, 2))

    assert asyncio.run(sync_code_called_from_async_code()) == 42


def test_run_sync_works_inside_itself() -> None:
    async def outer() -> int:
        return run_sync(aadd(40, 2))

    assert run_sync(outer()) == 42


def test_callbacks_run_in_the_thread_of_the_caller_and_in_order() -> None:
    calls: list[tuple[int, str]] = []

    def callback(number: int) -> None:
        calls.append((number, threading.current_thread().name))

    async def call_back() -> None:
        for number in range(3):
            await deliver(callback, number)

    run_sync(call_back())
    here = threading.current_thread().name
    assert calls == [(0, here), (1, here), (2, here)]


def test_an_async_callback_of_a_sync_call_is_awaited() -> None:
    calls: list[int] = []

    async def callback(number: int) -> None:
        calls.append(number)

    async def call_back() -> None:
        await deliver(callback, 7)

    run_sync(call_back())
    assert calls == [7]


async def test_in_async_code_a_callback_is_called_at_once() -> None:
    calls: list[int] = []
    await deliver(calls.append, 1)
    assert calls == [1]


def test_any_base_exception_in_the_caller_cancels_the_coroutine_and_waits_for_it() -> None:
    ended: list[str] = []

    def raise_termination() -> None:
        raise Termination

    async def wait_for_ever() -> None:
        await deliver(raise_termination)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            ended.append("cleaned up")
            raise

    with pytest.raises(Termination):
        run_sync(wait_for_ever())
    assert ended == ["cleaned up"]


def test_iterating_gives_every_item_in_order_and_closes() -> None:
    closed: list[bool] = []
    assert list(iterate_sync(acount(5, closed))) == [0, 1, 2, 3, 4]
    assert closed == [True]


def test_leaving_the_iteration_early_closes_the_generator() -> None:
    closed: list[bool] = []
    for number in iterate_sync(acount(5, closed)):
        if number == 2:
            break
    assert closed == [True]


def test_leaving_an_endless_iteration_does_not_wait_for_its_end() -> None:
    closed: list[bool] = []
    for number in iterate_sync(acount(10**9, closed)):
        if number == 1000:
            break
    assert closed == [True]


def test_iterating_raises_what_the_generator_raises() -> None:
    async def fail() -> AsyncGenerator[int, None]:
        yield 1
        raise ValueError("from inside")

    items = iterate_sync(fail())
    assert next(items) == 1  # what came before the failure is not lost
    with pytest.raises(ValueError, match="from inside"):
        next(items)


def test_a_twin_has_the_signature_and_the_documentation_of_its_original() -> None:
    add, count = sync_twin(aadd), sync_iterator_twin(acount)
    assert (add(1), list(count(2))) == (2, [0, 1])
    assert (add.__name__, count.__name__) == ("add", "count")
    assert add.__doc__ == "Add two numbers."
    assert inspect.signature(add) == inspect.signature(aadd)
    assert not inspect.iscoroutinefunction(add)
