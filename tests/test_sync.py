"""The seam between synchronous callers and the asynchronous code."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from types import FrameType

import pytest

from prefect_qiskit_runtime.twins import sync
from prefect_qiskit_runtime.twins.sync import (
    blocking,
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
    """The exception that Prefect raises in the main thread of a cancelled flow."""


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


def test_a_call_inside_a_thread_of_a_call_does_not_wait_for_the_loop_that_waits_for_it() -> None:
    async def innermost() -> int:
        return 42

    async def inner() -> int:
        return run_sync(innermost())  # holds up the loop of this call

    async def outer() -> int:
        return await asyncio.to_thread(run_sync, inner())

    assert run_sync(outer()) == 42


def test_a_coroutine_that_exits_does_not_end_the_loop_of_the_others() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit, match="3"):
        run_sync(leave())
    assert run_sync(aadd(1)) == 2


def test_a_coroutine_runs_in_a_copy_of_the_caller_s_context() -> None:
    colour: ContextVar[str] = ContextVar("colour", default="none")

    async def paint() -> str:
        before = colour.get()
        colour.set("red")
        return before

    colour.set("blue")
    assert run_sync(paint()) == "blue"
    assert colour.get() == "blue"


def test_the_calls_of_a_process_share_one_loop() -> None:
    async def loop_here() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert run_sync(loop_here()) is run_sync(loop_here())


def test_an_interrupt_before_the_coroutine_is_handed_over_leaves_nothing_running() -> None:
    """Raised between any two steps of the sync twin: the coroutine has not begun, or has ended."""
    begun: list[int] = []
    ended: list[int] = []

    async def wait_for_ever() -> None:
        begun.append(1)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    def interrupt_at(step: int) -> None:
        steps = 0

        def trace(frame: FrameType, event: str, _arg: object) -> object:
            nonlocal steps
            # Python does not look for signals where `with lock:` ends, as this would.
            if frame.f_code.co_filename != sync.__file__ or frame.f_code.co_name == "get":
                return None
            steps += event == "line"
            if steps == step:
                sys.settrace(None)
                raise Termination
            return trace

        coroutine = wait_for_ever()
        sys.settrace(trace)
        try:
            run_sync(coroutine)
        finally:
            sys.settrace(None)
            coroutine.close()

    run_sync(aadd(1))  # the loop runs
    for step in range(1, 23):
        with pytest.raises(Termination):
            interrupt_at(step)
        assert begun == ended


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_process_has_its_own_loop() -> None:
    assert run_sync(aadd(1)) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        child = os.fork()
    if child == 0:
        os._exit(run_sync(aadd(40, 2)))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 42
    assert run_sync(aadd(1)) == 2


def test_the_twin_of_a_method_follows_what_a_subclass_overrides() -> None:
    class Job:
        async def astatus(self, detailed: bool = False) -> str:
            """Where the job is."""
            return "queued"

        status = blocking(astatus)

    class DoneJob(Job):
        async def astatus(self, detailed: bool = False) -> str:
            return "done, in detail" if detailed else "done"

    assert Job().status() == "queued"
    assert DoneJob().status(detailed=True) == "done, in detail"
    assert (Job.status.__name__, Job.status.__doc__) == ("status", "Where the job is.")
    assert inspect.signature(Job.status) == inspect.signature(Job.astatus)


def test_importing_the_twins_loads_no_prefect() -> None:
    script = (
        "import prefect_qiskit_runtime.twins.sync, prefect_qiskit_runtime.twins.clean_up, sys\n"
        "print('prefect' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
