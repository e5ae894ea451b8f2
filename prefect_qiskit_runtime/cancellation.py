"""Cancel the jobs of flow runs that ended without cancelling them.

A flow whose process still runs cancels the jobs that it waits for. This module covers the other
cases: hooks, which Prefect runs when a flow run was cancelled or crashed, often in another process;
and a task that regularly checks all pending jobs, for cases that no hook saw. Jobs are found by the
tag of the root flow run, which each job of a flow carries; sessions by the flow run's labels.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypedDict
from uuid import UUID

from prefect import Flow, get_client
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.flows import FlowStateHook
from prefect.logging.loggers import flow_run_logger

from prefect_qiskit_runtime.backend import BackendLike, RuntimeBackend, as_backend
from prefect_qiskit_runtime.client import embedded_status
from prefect_qiskit_runtime.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    QiskitRuntimeError,
)
from prefect_qiskit_runtime.flow_run.cancelled import note_jobs_given_up
from prefect_qiskit_runtime.flow_run.lineage import flow_run_of_tag, flow_tag, root_flow_run_id
from prefect_qiskit_runtime.flow_run.logger import Logger, logger_here
from prefect_qiskit_runtime.flow_run.open_sessions import sessions_left_open
from prefect_qiskit_runtime.flow_run.tasks import async_task, sync_task
from prefect_qiskit_runtime.submission.retrying import RetryPolicy

__all__ = ["FlowHooks", "acancel_abandoned_jobs", "cancel_abandoned_jobs", "cancel_on_exit"]

_CANCELLED = (StateType.CANCELLING, StateType.CANCELLED)
_CRASHED_AFTER_SECONDS = 3600.0
_DEADLINE_SECONDS = 60.0  # for a service that is down: Prefect's runner waits for its hooks


class FlowHooks(TypedDict, total=False):
    """Arguments of Prefect's `flow`."""

    on_cancellation: list[FlowStateHook[..., Any]]
    on_crashed: list[FlowStateHook[..., Any]]


def cancel_on_exit(*blocks: str, crashed: bool = False) -> FlowHooks:
    """Cancel the jobs of a flow run when it is cancelled, even if its process is gone.

    ```python
    @flow(**cancel_on_exit("my-backend"))
    def my_flow(): ...
    ```

    Prefect often runs the hooks in the worker. They load the blocks there, cancel every pending job
    that the flow run or one of its subflows has submitted, and close its open sessions. Add the
    hooks to the top-level flow: in a subflow they do nothing, since its jobs cannot be
    distinguished from those of other subflows.

    Args:
        blocks: Names of saved `RuntimeBackend` blocks whose services have the jobs. Without names,
            the hooks use the blocks among the flow run's parameters, and the embedded service of
            the machine if it is running.
        crashed: Whether to cancel the jobs of a crashed flow run, too. A retry of the flow run
            then cannot attach to its jobs: it submits them again, and they are billed again.

    Returns:
        Arguments for `flow`.

    Raises:
        ConfigurationError: A block is not given by its name.
    """
    for name in blocks:
        if not isinstance(name, str):
            raise ConfigurationError(
                f"cancel_on_exit takes the names of saved RuntimeBackend blocks, which its hooks "
                f"load in another process, not {type(name).__name__}: {name!r:.80}"
            )

    async def cancel_jobs(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:
        logger = flow_run_logger(flow_run, flow)
        if await root_flow_run_id(flow_run) != flow_run.id:
            logger.warning(
                "The jobs of %r are not cancelled: add cancel_on_exit to the flow above it.",
                flow_run.name,
            )
            return
        async with get_client() as client:
            root = await client.read_flow_run(flow_run.id)
            sessions = sessions_left_open(root)
            if state.is_crashed():  # before a child sees that its job was cancelled
                await note_jobs_given_up(client, root)
        why = f"flow run {flow_run.name!r} is {state.name}"
        async for backend in _backends_of(flow_run, blocks, logger):
            await _CleanUp(backend, logger).cancel_left_by(flow_run.id, sessions, why)

    hooks = FlowHooks(on_cancellation=[cancel_jobs])
    if crashed:
        hooks["on_crashed"] = [cancel_jobs]
    return hooks


@async_task
async def acancel_abandoned_jobs(
    *backends: BackendLike,
    crashed_after_seconds: float = _CRASHED_AFTER_SECONDS,
    deleted: bool = False,
) -> list[str]:
    """Cancel pending jobs whose flow runs were cancelled or have crashed.

    Call it in a flow that runs on a schedule: it finds jobs that neither the flow nor a hook could
    cancel, for example because the worker's machine was switched off. It checks only your own jobs,
    those of the token.

    Args:
        backends: One backend of each service to check.
        crashed_after_seconds: How long the jobs of a crashed flow run are kept, because a retry
            can attach to them.
        deleted: Whether to cancel the jobs of flow runs that Prefect no longer knows. Set it only
            if all flows that use the service with this token run on this Prefect server, because
            flow runs of another server are unknown here, too.

    Returns:
        Ids of the jobs that were cancelled.
    """
    cancelled: list[str] = []
    for backend in map(as_backend, backends):
        clean_up = _CleanUp(backend, logger_here())
        flow_run_ids = await clean_up.flow_runs_with_pending_jobs()
        async with get_client() as client:
            for flow_run_id in flow_run_ids:
                flow_run = await _read(client, flow_run_id)
                if flow_run is None and deleted:
                    why = f"flow run {flow_run_id} was deleted"
                    cancelled += await clean_up.cancel_left_by(flow_run_id, (), why)
                elif flow_run is not None and _will_not_return(flow_run, crashed_after_seconds):
                    cancelled += await clean_up.cancel_left_by(
                        flow_run_id, sessions_left_open(flow_run), _why(flow_run)
                    )
    return cancelled


cancel_abandoned_jobs = sync_task(acancel_abandoned_jobs)
"""Synchronous twin of `acancel_abandoned_jobs`."""


class _CleanUp:
    """Cancels the jobs and sessions that flow runs have left on one service.

    A failure to cancel is logged, and the others are still cancelled.
    """

    def __init__(self, backend: RuntimeBackend, logger: Logger) -> None:
        self._backend = backend
        policy = RetryPolicy.from_options(backend.options())
        deadline_seconds = min(policy.deadline_seconds, _DEADLINE_SECONDS)
        self._policy = replace(policy, deadline_seconds=deadline_seconds)
        self._logger = logger

    async def flow_runs_with_pending_jobs(self) -> list[UUID]:
        """Return the root flow runs of the jobs that have not ended."""
        async with self._backend.connect() as api:
            jobs = await self._policy.ask(lambda: api.list_jobs(pending=True))
        found = (flow_run_of_tag(tag) for job in jobs for tag in job.tags)
        return list(dict.fromkeys(flow_run_id for flow_run_id in found if flow_run_id is not None))

    async def cancel_left_by(self, root_id: UUID, sessions: Iterable[str], why: str) -> list[str]:
        """Cancel the jobs of a root flow run, and sessions; return the ids of the jobs."""
        try:
            async with self._backend.connect() as api:
                # Sessions come first, so that no job that waits in one starts in the meantime.
                for session_id in sessions:
                    await self._end(
                        f"Session {session_id}", partial(api.cancel_session, session_id), why
                    )
                pending = await self._policy.ask(
                    lambda: api.list_jobs(pending=True, tags=[flow_tag(root_id)])
                )
                return [
                    job.id
                    for job in pending
                    if await self._end(f"Job {job.id}", partial(api.cancel_job, job.id), why)
                ]
        except QiskitRuntimeError as error:
            self._log_failure(
                f"Jobs of flow run {root_id} on the {self._backend.service} service", error
            )
            return []

    async def _end(self, name: str, end: Callable[[], Awaitable[None]], why: str) -> bool:
        try:
            await self._policy.ask(end)
        except (ConflictError, NotFoundError):  # ended, deleted, or on another service
            return False
        except QiskitRuntimeError as error:
            self._log_failure(name, error)
            return False
        self._logger.warning("%s was cancelled, because %s.", name, why)
        return True

    def _log_failure(self, name: str, error: QiskitRuntimeError) -> None:
        self._logger.error("%s may still be running: cancelling failed: %s", name, error)


async def _backends_of(
    flow_run: FlowRun, names: Sequence[str], logger: Logger
) -> AsyncIterator[RuntimeBackend]:
    """Load blocks; if one cannot be loaded, the jobs of the others are still cancelled."""
    loading: dict[str, Coroutine[Any, Any, Block]] = {
        name: RuntimeBackend.aload(name) for name in names
    }
    if not names:
        loading = {
            name: Block.aload_from_ref(value["$ref"])
            for name, value in flow_run.parameters.items()
            if isinstance(value, dict) and "$ref" in value
        }
    for name, load in loading.items():
        try:
            block = await load
        except ValueError as error:
            logger.error("Jobs on the service of %r may still be running: %s", name, error)  # noqa: TRY400
            continue
        if isinstance(block, RuntimeBackend):
            yield block
    if not names and await embedded_status() is not None:
        yield RuntimeBackend()


async def _read(client: PrefectClient, flow_run_id: UUID) -> FlowRun | None:
    try:
        return await client.read_flow_run(flow_run_id)
    except ObjectNotFound:
        return None


def _will_not_return(flow_run: FlowRun, crashed_after_seconds: float) -> bool:
    state = flow_run.state
    if state is None or state.type is not StateType.CRASHED:
        return state is not None and state.type in _CANCELLED
    return state.timestamp < datetime.now(UTC) - timedelta(seconds=crashed_after_seconds)


def _why(flow_run: FlowRun) -> str:
    return f"flow run {flow_run.name!r} is {flow_run.state_name}"
