"""Notice that the flow run around a call is ending, even if Prefect does not interrupt the call.

Prefect interrupts the main thread of a flow's process. It does not interrupt calls in the threads
of a task runner (`.submit`, `.map`), which would keep their jobs running. Calls in the processes of
other task runners, and flows that no worker started, are not interrupted at all when a user cancels
them in the UI. This module watches two things:

* the task runner's own clean-up, which runs while the flow is being interrupted;
* the states of the flow runs around the calls, read from Prefect's API every few seconds by one
  thread for all calls of the process.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging import get_logger
from prefect.task_runners import ThreadPoolTaskRunner

from prefect_qiskit_runtime.flow_run.cancelled import cancel_reason, note_state
from prefect_qiskit_runtime.flow_run.lineage import Lineage
from prefect_qiskit_runtime.settings import Settings

logger = get_logger("prefect_qiskit_runtime")


class FlowEnding:
    """Cancels the asyncio task of a call, once, when the flow run around it is ending.

    Attributes:
        reason: Why the call was cancelled, as the end of a sentence; None if it was not.
        is_run_cancelled: Whether the reason is that a flow run around the call was cancelled.
    """

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker: a coroutine runs in a task
        self._task = task
        self._loop = asyncio.get_running_loop()
        self.reason: str | None = None
        self.is_run_cancelled = False

    def notify(self, reason: str, *, is_run_cancelled: bool = False) -> None:
        """Cancel the call; safe from any thread."""
        self._loop.call_soon_threadsafe(self._cancel, reason, is_run_cancelled)

    def _cancel(self, reason: str, is_run_cancelled: bool) -> None:
        if self.reason is None and not self._task.done():
            self.reason, self.is_run_cancelled = reason, is_run_cancelled
            self._task.cancel()


@contextmanager
def flow_ending(lineage: Lineage | None) -> Iterator[FlowEnding]:
    """Cancel the current asyncio task when a flow run around it is ending.

    Args:
        lineage: The place of the call in its flow run.
    """
    ending = FlowEnding()
    own_id = _flow_run_id()
    if own_id is None:
        yield ending
        return
    above = () if lineage is None else (UUID(run.run_id) for run in lineage.flow_runs)
    flow_run_ids = list(dict.fromkeys((own_id, *above)))
    _watch_task_runner()
    _endings.add(flow_run_ids, ending)
    try:
        yield ending
    finally:
        _endings.remove(flow_run_ids, ending)


def has_waiting_calls() -> bool:
    """Return whether calls of flow runs wait for jobs in this process."""
    return _endings.has_any()


def _flow_run_id() -> UUID | None:
    """Return the flow run around this code; in other processes only the task run has its id."""
    task_run, flow_run = TaskRunContext.get(), FlowRunContext.get()
    if task_run is not None:
        return task_run.task_run.flow_run_id
    return flow_run.flow_run.id if flow_run is not None and flow_run.flow_run else None


class _Endings:
    """The calls that wait in this process, by flow run, and the thread that reads the states.

    A call is listed under each flow run around it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[UUID, list[FlowEnding]] = {}
        self._thread: threading.Thread | None = None
        self._idle = threading.Event()

    def add(self, flow_run_ids: Sequence[UUID], ending: FlowEnding) -> None:
        with self._lock:
            for flow_run_id in flow_run_ids:
                self._waiting.setdefault(flow_run_id, []).append(ending)
            self._idle.clear()
            if self._thread is None:
                # The caller's context determines the Prefect API and the login.
                self._thread = threading.Thread(
                    target=copy_context().run,
                    args=(self._ask,),
                    name="qiskit-runtime-flow-states",
                    daemon=True,
                )
                self._thread.start()

    def remove(self, flow_run_ids: Sequence[UUID], ending: FlowEnding) -> None:
        with self._lock:
            for flow_run_id in flow_run_ids:
                waiting = self._waiting[flow_run_id]
                waiting.remove(ending)
                if not waiting:
                    del self._waiting[flow_run_id]
            if not self._waiting:
                self._idle.set()

    def has_any(self) -> bool:
        with self._lock:
            return bool(self._waiting)

    def notify(self, flow_run_id: UUID, reason: str, *, is_run_cancelled: bool = False) -> None:
        with self._lock:
            for ending in self._waiting.get(flow_run_id, ()):
                ending.notify(reason, is_run_cancelled=is_run_cancelled)

    def _ask(self) -> None:
        """Read the states until no call is waiting."""
        interval = Settings().flow_state_interval_seconds
        while not self._wait_until_over(interval):
            try:
                self._ask_once(interval)
            except Exception:
                logger.debug("The states of the flow runs could not be read", exc_info=True)

    def _wait_until_over(self, interval: float) -> bool:
        self._idle.wait(interval)
        with self._lock:
            if not self._waiting:
                self._thread = None
            return self._thread is None

    def _ask_once(self, interval: float) -> None:
        with self._lock:
            asked = list(self._waiting)
        with get_client(sync_client=True) as client:
            found = client.read_flow_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=asked))
            )
        for flow_run in found:
            if note_state(flow_run, interval):
                self.notify(flow_run.id, cancel_reason(flow_run), is_run_cancelled=True)


_endings = _Endings()


def time_limit_passed() -> str | None:
    """Return which time limit around this code has passed, as the end of a sentence.

    Prefect cancels a call that has timed out like any other, so only the clock shows the reason.
    """
    now = datetime.now(UTC)
    limits = [
        *(("task", context.task, context) for context in _contexts_here(TaskRunContext)),
        *(("flow", context.flow, context) for context in _contexts_here(FlowRunContext)),
    ]
    for kind, run_code, context in limits:
        if run_code is None or run_code.timeout_seconds is None:
            continue
        seconds = run_code.timeout_seconds
        if now >= context.start_time + timedelta(seconds=seconds):
            return f"the time limit of {kind} {run_code.name!r} ({seconds:g} s) has passed"
    return None


def _contexts_here(kind: Any) -> Iterator[Any]:
    """Yield the contexts of a kind around this code, innermost first, as in `lineage`."""
    context = kind.get()
    while isinstance(context, kind):
        yield context
        token: Any = getattr(context, "_token", None)
        context = None if token is None else token.old_value


def _watch_task_runner() -> None:
    """Make the flow's task runner notify the calls in its threads when the flow is interrupted.

    Prefect ends a flow by raising an exception in its main thread. On its way out the exception
    passes the task runner, which waits for its threads, and so for their jobs.
    """
    context = FlowRunContext.get()
    runner = None if context is None else context.task_runner
    if context is None or context.flow_run is None or not isinstance(runner, ThreadPoolTaskRunner):
        return
    cancel_all = runner.cancel_all
    if isinstance(cancel_all, _NotifyingCancelAll):
        return
    notifying = _NotifyingCancelAll(cancel_all, context.flow_run.id)
    runner.cancel_all = notifying  # type: ignore[method-assign]


class _NotifyingCancelAll:
    """A task runner's `cancel_all` that first notifies our calls, if the flow is interrupted.

    A flow that returns, or fails with its own error, waits for its submitted tasks, as in Prefect.
    """

    def __init__(self, cancel_all: Callable[[], None], flow_run_id: UUID) -> None:
        self._cancel_all = cancel_all
        self._flow_run_id = flow_run_id

    def __call__(self) -> None:
        cause = sys.exc_info()[1]
        if cause is not None and not isinstance(cause, Exception):
            _endings.notify(self._flow_run_id, f"its flow was ended by {type(cause).__name__}")
        self._cancel_all()
