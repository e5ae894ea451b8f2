"""The one seam between synchronous callers and the asynchronous code.

Every public call is a pair. The async one is written; the sync one waits for it here. Three
things are done that `run_coro_as_sync` alone does not do:

* the coroutine is cancelled on *any* BaseException in the caller's thread. Prefect ends a
  cancelled flow by raising `TerminationSignal` there, and only cancels on KeyboardInterrupt;
* the caller waits, bounded, until the cancelled coroutine has cleaned up behind itself;
* callbacks run in the caller's thread. All sync calls share one event loop, which a slow
  callback would stall for everybody, and `print` reaches the flow's log from there only.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from contextlib import aclosing
from contextvars import ContextVar, copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

from prefect.utilities.asyncutils import run_coro_as_sync

from prefect_qiskit_runtime.errors import QiskitRuntimeError
from prefect_qiskit_runtime.twins.ahead import batches

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

    Called by a sync caller it runs in their thread; otherwise a plain function runs in a thread
    of its own, where it may wait.
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


class _Call:
    """One coroutine on its way: runs in a thread that waits for Prefect's shared loop."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.mailbox: SimpleQueue[Any] = SimpleQueue()
        self._coroutine = coroutine
        self._cancelled = threading.Event()
        self._started: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._run,), name="qiskit-runtime-call", daemon=True
        )
        self._thread.start()

    def _run(self) -> None:
        _mailbox.set(self.mailbox)
        try:
            self._result = run_coro_as_sync(self._tracked())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._error = error
        finally:
            self.mailbox.put(None)

    async def _tracked(self) -> Any:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker: a coroutine runs in a task
        self._started = asyncio.get_running_loop(), task
        if self._cancelled.is_set():
            self._coroutine.close()
            raise asyncio.CancelledError
        return await self._coroutine

    def letters(self) -> Iterator[Any]:
        """What the coroutine hands to this thread, until it has ended."""
        while (letter := self._next_letter()) is not None:
            yield letter

    def _next_letter(self) -> Any:
        # Prefect ends a task that takes too long in a thread by an exception that is raised
        # there between two steps of Python's: a wait without end would never see it.
        while True:
            try:
                return self.mailbox.get(timeout=_STEP_SECONDS)
            except Empty:
                continue

    def cancel(self) -> None:
        """Cancel the coroutine and wait, bounded, until it has cleaned up."""
        self._cancelled.set()
        if self._started is not None and self._thread.is_alive():
            loop, task = self._started
            loop.call_soon_threadsafe(task.cancel)
        self._thread.join(CLEAN_UP_SECONDS)

    def result(self) -> Any:
        """What the coroutine returned or raised."""
        self._thread.join()
        if self._error is not None:
            raise plainly(self._error)
        return self._result


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Wait for a coroutine from synchronous code.

    Raises:
        BaseException: Whatever the coroutine raised, or whatever was raised in the caller's
            thread meanwhile; the coroutine is then cancelled first.
    """
    call = _Call(coroutine)
    try:
        for letter in call.letters():
            outcome = letter()
            if inspect.iscoroutine(outcome):  # an async callback given to a sync call
                run_sync(outcome)
    except BaseException:
        call.cancel()
        raise
    return call.result()


def iterate_sync(items: AsyncGenerator[T, None]) -> Iterator[T]:
    """Walk through an async generator from synchronous code, a bounded number of items ahead."""

    async def pump() -> None:
        mailbox = _mailbox.get()
        assert mailbox is not None  # noqa: S101 - for the type checker: _Call has set it
        loop = asyncio.get_running_loop()
        async with aclosing(batches(items)) as ready:
            async for batch in ready:
                taken = asyncio.Event()
                mailbox.put((batch, partial(loop.call_soon_threadsafe, taken.set)))
                await taken.wait()

    call = _Call(pump())
    try:
        for batch, take_next in call.letters():
            yield from batch
            take_next()
    except BaseException:
        call.cancel()
        raise
    call.result()


def sync_twin(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Make the synchronous twin of an async function: same signature, name without its `a`."""

    def twin(*args: P.args, **kwargs: P.kwargs) -> T:
        return run_sync(function(*args, **kwargs))

    return _named_after(function, twin)


def sync_iterator_twin(
    function: Callable[P, AsyncGenerator[T, None]],
) -> Callable[P, Generator[T, None, None]]:
    """Make the synchronous twin of an async generator function."""

    def twin(*args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        yield from iterate_sync(function(*args, **kwargs))

    return _named_after(function, twin)


def _named_after(function: Callable[..., Any], twin: Any) -> Any:
    twin.__name__ = function.__name__.removeprefix("a")
    twin.__qualname__ = twin.__name__
    twin.__module__ = function.__module__
    twin.__doc__ = function.__doc__
    twin.__annotations__ = dict(function.__annotations__)
    twin.__signature__ = inspect.signature(function)
    return twin
