"""The only place where synchronous callers meet the asynchronous code.

Every public call is a pair. Only the async version is written; the sync version submits it to an
event loop in another thread and waits. The loop is plain asyncio, independent of Prefect:

* a call can be cancelled before any of it runs, and is cancelled on *any* BaseException in
  the caller's thread. Prefect ends a cancelled flow by raising `TerminationSignal` there;
* the caller waits, bounded, until the cancelled call has cleaned up;
* callbacks run in the caller's thread. All sync calls share one event loop, which a slow
  callback would stall for all of them, and only there does `print` reach the flow's log;
* a call within a call gets another loop, since the shared one may be waiting for it.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future
from contextlib import aclosing, contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from prefect_qiskit_runtime.errors import QiskitRuntimeError
from prefect_qiskit_runtime.twins.ahead import batches

S = TypeVar("S")
T = TypeVar("T")
P = ParamSpec("P")

CLEAN_UP_SECONDS = 15.0
"""How long a cancelled call may take to cancel its job before the caller stops waiting."""

_STEP_SECONDS = 0.5

_mailbox: ContextVar[SimpleQueue[Any] | None] = ContextVar("mailbox", default=None)


async def deliver(function: Callable[..., Any], *args: object) -> None:
    """Call a user's function in the thread of the sync caller, or directly for an async caller."""
    mailbox = _mailbox.get()
    if mailbox is not None:
        mailbox.put(partial(function, *args))
        return
    outcome = function(*args)
    if inspect.isawaitable(outcome):
        await outcome


async def ask(function: Callable[..., Any], *args: object, **kwargs: object) -> Any:
    """Call a user's function in the right thread, and return its result.

    For a sync caller, the function runs in the caller's thread. Otherwise a plain function runs in
    a separate thread, where it may block.
    """
    mailbox = _mailbox.get()
    if mailbox is None:
        if inspect.iscoroutinefunction(function):
            return await function(*args, **kwargs)
        return await asyncio.to_thread(function, *args, **kwargs)
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Any] = loop.create_future()

    def settle(write: Callable[..., None], value: Any) -> None:
        if not answer.done():
            write(value)

    def call() -> None:
        try:
            outcome = function(*args, **kwargs)
            if inspect.iscoroutine(outcome):
                outcome = run_sync(outcome)
        except Exception as error:  # noqa: BLE001 - raised again in the caller
            loop.call_soon_threadsafe(settle, answer.set_exception, error)
        else:
            loop.call_soon_threadsafe(settle, answer.set_result, outcome)

    mailbox.put(call)
    return await answer


def plainly(error: BaseException) -> BaseException:
    """Remove the package's frames from one of its errors, whose message is sufficient.

    Prefect prints the traceback of a failed task several times; with our frames, the one sentence
    that matters would be hidden among hundreds of lines.
    """
    if isinstance(error, QiskitRuntimeError):
        error.__cause__, error.__context__ = None, None
        return error.with_traceback(None)
    return error


class LoopThread:
    """An event loop that runs in a daemon thread until it is stopped.

    Attributes:
        loop: The loop; it runs.
    """

    def __init__(self, name: str) -> None:
        started: Future[asyncio.AbstractEventLoop] = Future()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._live, args=(started,), name=name, daemon=True)
        self._thread.start()
        self.loop = started.result()

    def _live(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        try:
            asyncio.run(self._run(started))
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)  # for example, no file descriptors left

    async def _run(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        started.set_result(asyncio.get_running_loop())
        await self._over.wait()

    def stop(self) -> None:
        """Cancel the remaining tasks of the loop, and end the loop and its thread."""
        self.loop.call_soon_threadsafe(self._over.set)
        self._thread.join()


class _SharedLoop:
    """The loop of all sync calls of this process, started by the first call."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start a new loop at the next use: a forked process has the loop but not its thread."""
        self._lock = threading.Lock()
        self._thread: LoopThread | None = None

    def get(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._thread is None:
                self._thread = LoopThread("qiskit-runtime-calls")
            return self._thread.loop


_shared = _SharedLoop()
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_shared.forget)


@contextmanager
def _loop_for_call() -> Iterator[asyncio.AbstractEventLoop]:
    """Yield the shared loop, or another one within a call that the shared loop may wait for."""
    if _mailbox.get() is None:
        yield _shared.get()
        return
    thread = LoopThread("qiskit-runtime-inner-call")
    try:
        yield thread.loop
    finally:
        thread.stop()


class Handover(Generic[T]):
    """One coroutine, submitted to a loop that runs in another thread.

    Neither `asyncio.run_coroutine_threadsafe` nor a portal is safe: Ctrl-C after they submit the
    call but before they return a handle would leave the call running during the clean-up. Here
    the handle exists before anything runs.

    Args:
        coroutine: The call; it runs in a copy of the current context.
        loop: The loop, which runs in another thread.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> None:
        self._coroutine = coroutine
        self._loop = loop
        self._mailbox: SimpleQueue[Any] = SimpleQueue()
        self._context = copy_context()
        self._context.run(_mailbox.set, self._mailbox)
        self._task: asyncio.Task[None] | None = None
        self._ended = threading.Event()
        self._answer: T | None = None
        self._error: BaseException | None = None

    def wait(self, *, plain: bool = False) -> T:
        """Return the result of the call; an interrupt here cancels it and waits for its end.

        Args:
            plain: As in `result`.
        """
        try:
            for letter in self.letters():
                outcome = letter()
                if inspect.iscoroutine(outcome):  # an async callback given to a sync call
                    run_sync(outcome)
        except BaseException:
            self.cancel()
            raise
        return self.result(plain=plain)

    def letters(self) -> Iterator[Any]:
        """Start the call, and yield the items that it sends to this thread until it has ended."""
        self._loop.call_soon_threadsafe(self._start)
        while (letter := self._next_letter()) is not None:
            yield letter

    def _next_letter(self) -> Any:
        # Prefect stops an overdue task in a thread by an exception that is raised between two
        # bytecode steps of that thread: an endless wait would never see it.
        while True:
            try:
                return self._mailbox.get(timeout=_STEP_SECONDS)
            except Empty:
                continue

    def cancel(self) -> None:
        """Cancel the call and wait, bounded, until it has cleaned up."""
        if not self._ended.is_set():
            self._loop.call_soon_threadsafe(self._stop)  # after `_start`, if that was scheduled
            self._ended.wait(CLEAN_UP_SECONDS)

    def result(self, *, plain: bool = False) -> T:
        """Return the result of the ended call, or raise its exception.

        Args:
            plain: Whether errors of the package are raised without its frames; see `plainly`.
        """
        if self._error is not None:
            try:
                raise plainly(self._error) if plain else self._error
            finally:
                self._error = None  # its traceback refers to this frame: a cycle
        return cast("T", self._answer)

    # -- in the loop's thread ----------------------------------------------------------------

    def _start(self) -> None:
        self._task = self._loop.create_task(self._run(), context=self._context)
        self._task.add_done_callback(self._end)

    async def _run(self) -> None:
        # If the task raised it, a KeyboardInterrupt or SystemExit would stop the shared loop.
        try:
            self._answer = await self._coroutine
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._error = error

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:
            self._end(None)

    def _end(self, task: asyncio.Task[None] | None) -> None:
        if task is None or task.cancelled():  # before its first step
            self._coroutine.close()
            self._error = asyncio.CancelledError()
        self._ended.set()
        self._mailbox.put(None)


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Wait for a coroutine from synchronous code.

    Raises:
        BaseException: Any exception of the coroutine, or any that is raised in the caller's
            thread meanwhile, after the coroutine has been cancelled.
    """
    with _loop_for_call() as loop:
        return Handover(coroutine, loop).wait(plain=True)


def iterate_sync(items: AsyncGenerator[T, None]) -> Iterator[T]:
    """Iterate over an async generator from synchronous code, reading ahead within a bound."""

    async def pump() -> None:
        mailbox = _mailbox.get()
        assert mailbox is not None  # noqa: S101 - for the type checker: Handover has set it
        loop = asyncio.get_running_loop()
        async with aclosing(batches(items)) as ready:
            async for batch in ready:
                taken = asyncio.Event()
                mailbox.put((batch, partial(loop.call_soon_threadsafe, taken.set)))
                await taken.wait()

    with _loop_for_call() as loop:
        call = Handover(pump(), loop)
        try:
            for batch, take_next in call.letters():
                yield from batch
                take_next()
        except BaseException:
            call.cancel()
            raise
        call.result(plain=True)


def sync_twin(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Make the synchronous twin of an async function: same signature, name without its `a`."""

    def twin(*args: P.args, **kwargs: P.kwargs) -> T:
        return run_sync(function(*args, **kwargs))

    return _named_after(function, twin)


def blocking(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], T]:
    """Make the synchronous twin of an async method: same signature, name without its `a`.

    A subclass that overrides the method changes its twin too.
    """
    name = method.__name__

    def twin(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        return run_sync(getattr(self, name)(*args, **kwargs))

    return _named_after(method, twin)


def sync_iterator_twin(
    function: Callable[P, AsyncGenerator[T, None]],
) -> Callable[P, Generator[T, None, None]]:
    """Make the synchronous twin of an async generator function."""

    def twin(*args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        yield from iterate_sync(function(*args, **kwargs))

    return _named_after(function, twin)


def _named_after(function: Callable[..., Any], twin: Any) -> Any:
    place, dot, name = function.__qualname__.rpartition(".")
    twin.__name__ = re.sub("^(__)?a", r"\1", name)
    twin.__qualname__ = f"{place}{dot}{twin.__name__}"
    twin.__module__ = function.__module__
    twin.__doc__ = function.__doc__
    twin.__annotations__ = dict(function.__annotations__)
    twin.__signature__ = inspect.signature(function)
    return twin
