"""The one seam between synchronous callers and the asynchronous code.

Every public call is a pair. The async one is written; the sync one hands it to an event loop in
another thread and waits here. The loop is a plain one of asyncio, so nothing depends on Prefect:

* a call can be cancelled before anything of it runs, and is cancelled on *any* BaseException in
  the caller's thread. Prefect ends a cancelled flow by raising `TerminationSignal` there;
* the caller waits, bounded, until the cancelled call has cleaned up behind itself;
* callbacks run in the caller's thread. All sync calls share one event loop, which a slow
  callback would stall for everybody, and `print` reaches the flow's log from there only;
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
"""How long a cancelled call may take to cancel its job before the caller goes on without it."""

_STEP_SECONDS = 0.5

_mailbox: ContextVar[SimpleQueue[Any] | None] = ContextVar("mailbox", default=None)


async def deliver(function: Callable[..., Any], *args: object) -> None:
    """Call a user's function where it belongs: in the thread of the sync caller, or right here."""
    mailbox = _mailbox.get()
    if mailbox is not None:
        mailbox.put(partial(function, *args))
        return
    outcome = function(*args)
    if inspect.isawaitable(outcome):
        await outcome


async def ask(function: Callable[..., Any], *args: object, **kwargs: object) -> Any:
    """Call a user's function where it belongs, and return what it returned.

    Called by a sync caller it runs in their thread; otherwise a plain function runs in a separate
    thread, where it may wait.
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
        except Exception as error:  # noqa: BLE001 - raised again where it was asked
            loop.call_soon_threadsafe(settle, answer.set_exception, error)
        else:
            loop.call_soon_threadsafe(settle, answer.set_result, outcome)

    mailbox.put(call)
    return await answer


def plainly(error: BaseException) -> BaseException:
    """Take the package's insides off an error of its own, whose message says all there is to say.

    Prefect prints the traceback of a failed task several times over; with ours in it, the one
    sentence that matters would stand between hundreds of lines.
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
            started.set_exception(error)  # no file descriptors left, say

    async def _run(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        started.set_result(asyncio.get_running_loop())
        await self._over.wait()

    def stop(self) -> None:
        """Cancel the tasks that are left in the loop, and end it with its thread."""
        self.loop.call_soon_threadsafe(self._over.set)
        self._thread.join()


class _SharedLoop:
    """The loop of all sync calls of this process, started by the first."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start another when it is next used: a forked process has the loop but not its thread."""
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
    """Give the shared loop; within a call, for which that loop may be waiting, another one."""
    if _mailbox.get() is None:
        yield _shared.get()
        return
    thread = LoopThread("qiskit-runtime-inner-call")
    try:
        yield thread.loop
    finally:
        thread.stop()


class Handover(Generic[T]):
    """One coroutine, handed to a loop that runs in another thread.

    Not `asyncio.run_coroutine_threadsafe`, nor a portal: Ctrl-C between their handing over and
    their giving something that can be cancelled would leave the call running, and what cleans up
    after it would find it at work. Here there is something to cancel before anything runs.

    Args:
        coroutine: The call; it runs in a copy of the context of this one.
        loop: The loop, running in another thread.
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
        """Return what the call gives; interrupted here, it is cancelled there and has ended.

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
        """Start the call, and yield what it hands to this thread until it has ended."""
        self._loop.call_soon_threadsafe(self._start)
        while (letter := self._next_letter()) is not None:
            yield letter

    def _next_letter(self) -> Any:
        # Prefect ends a task that takes too long in a thread by an exception that is raised
        # there between two steps of Python's: a wait without end would never see it.
        while True:
            try:
                return self._mailbox.get(timeout=_STEP_SECONDS)
            except Empty:
                continue

    def cancel(self) -> None:
        """Cancel the call and wait, bounded, until it has cleaned up."""
        if not self._ended.is_set():
            self._loop.call_soon_threadsafe(self._stop)  # after `_start`, if that was taken
            self._ended.wait(CLEAN_UP_SECONDS)

    def result(self, *, plain: bool = False) -> T:
        """Return or raise what the ended call gave.

        Args:
            plain: Whether errors of the package are raised without its frames; see `plainly`.
        """
        if self._error is not None:
            try:
                raise plainly(self._error) if plain else self._error
            finally:
                self._error = None  # its traceback has this frame: a circle
        return cast("T", self._answer)

    # -- in the loop's thread ----------------------------------------------------------------

    def _start(self) -> None:
        self._task = self._loop.create_task(self._run(), context=self._context)
        self._task.add_done_callback(self._end)

    async def _run(self) -> None:
        # Raised by the task, a KeyboardInterrupt or SystemExit would end the loop for all calls.
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
        BaseException: Whatever the coroutine raised, or whatever was raised in the caller's
            thread meanwhile; the coroutine is then cancelled first.
    """
    with _loop_for_call() as loop:
        return Handover(coroutine, loop).wait(plain=True)


def iterate_sync(items: AsyncGenerator[T, None]) -> Iterator[T]:
    """Walk through an async generator from synchronous code, a bounded number of items ahead."""

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

    A subclass that overrides the method has changed the twin with it.
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
