"""Release the worker while a job is queued, and start the flow run again later.

A flow run need not occupy a process for a queue of hours. `release_worker` ends the process of a
flow run and lets Prefect start the flow run again later. The run then repeats its code, finds the
jobs that it has submitted before, and continues with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import DeploymentStatus, FlowRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import Abort, ObjectNotFound
from prefect.states import Scheduled

from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.flow_run.ending import has_waiting_calls
from prefect_qiskit_runtime.flow_run.logger import logger_here
from prefect_qiskit_runtime.flow_run.open_sessions import open_sessions_here
from prefect_qiskit_runtime.models import JobInfo, JobStatus
from prefect_qiskit_runtime.runtime_job import RuntimeJob
from prefect_qiskit_runtime.twins.sync import sync_twin

__all__ = ["AWAITING_QUANTUM_JOB", "arelease_worker", "release_worker"]

AWAITING_QUANTUM_JOB = "AwaitingQuantumJob"
"""Name of the state, of type Scheduled, in which a flow run waits without a worker."""

_SHORTEST_SECONDS = 30.0
_LONGEST_SECONDS = 900.0
_SHARE_OF_QUEUE = 0.25


async def arelease_worker(
    jobs: RuntimeJob | Sequence[RuntimeJob], *, check_after_seconds: float | None = None
) -> None:
    """End this process while every given job is queued; Prefect starts the flow run again later.

    Call it in the body of a flow, after `submit_program` and before requesting the result. It
    returns at once if one of the jobs is running or has ended. Otherwise the flow run becomes
    Scheduled, with the state name `AwaitingQuantumJob`, and its process ends. When the flow run is
    started again, it runs from the beginning: the same submissions return the same jobs, and this
    call checks them again.

    If the process cannot be ended, the call returns, the flow waits in its process, and the log has
    the reason. This is the case for a flow run without a deployment and for a subflow, which would
    not be started again, and while a session is open or other calls wait for jobs, which would end
    with the process.

    Args:
        jobs: The jobs that the flow waits for next: the flow continues as soon as one of them runs.
        check_after_seconds: When to check again. Default: after a quarter of the time that the
            jobs have been queued, at least 30 s and at most 15 minutes.

    Raises:
        ConfigurationError: The call is outside of a flow, in a task, or without a job.
        prefect.exceptions.Abort: Ends the process; do not catch it.
    """
    waited_for = [jobs] if isinstance(jobs, RuntimeJob) else list(jobs)
    delay = _check_delay(check_after_seconds)
    flow_run = _flow_run_here(waited_for)
    infos = [await job.ainfo() for job in waited_for]
    if any(info.state.status is not JobStatus.QUEUED for info in infos):
        return
    queued = _describe_queue(infos)
    async with get_client() as client:
        obstacle = await _obstacle(client, flow_run)
        if obstacle is not None:
            logger_here().warning("The worker is not released: %s. %s", obstacle, queued)
            return
        delay = delay or _delay_seconds(infos)
        logger_here().info(
            "The worker is released; this flow run starts again in %.0f s. %s", delay, queued
        )
        state = Scheduled(
            name=AWAITING_QUANTUM_JOB,
            message=queued,
            scheduled_time=datetime.now(UTC) + timedelta(seconds=delay),
        )
        await client.set_flow_run_state(flow_run.id, state, force=True)
    raise Abort(f"{AWAITING_QUANTUM_JOB}: {queued}")


release_worker = sync_twin(arelease_worker)
"""Synchronous twin of `arelease_worker`."""


def _check_delay(check_after_seconds: float | None) -> float | None:
    if check_after_seconds is not None and not check_after_seconds > 0:
        raise ConfigurationError(
            f"check_after_seconds must be more than 0, not {check_after_seconds!r:.80}."
        )
    return check_after_seconds


def _flow_run_here(jobs: Sequence[RuntimeJob]) -> FlowRun:
    if not jobs:
        raise ConfigurationError("release_worker needs a job to wait for.")
    context = FlowRunContext.get()
    if TaskRunContext.get() is not None or context is None or context.flow_run is None:
        raise ConfigurationError(
            "release_worker must be called in the body of a flow: a task cannot be started again "
            "by itself, and outside of a flow run there is no worker to release."
        )
    return context.flow_run


async def _obstacle(client: PrefectClient, flow_run: FlowRun) -> str | None:
    """Return why the process must stay, as a sentence without a full stop; None if it may end."""
    if flow_run.deployment_id is None:
        is_subflow = flow_run.parent_task_run_id is not None
        return (
            "a subflow is started again only by its parent"
            if is_subflow
            else "without a deployment it would not be started again"
        )
    if sessions := await open_sessions_here():
        return f"session {sessions[0]} is open, and would be closed with the process"
    if has_waiting_calls():
        return "other calls wait for jobs, which would be cancelled with the process"
    if await _is_unserved(client, flow_run):
        return "its deployment is deleted or no longer served, so it would not be started again"
    return None


async def _is_unserved(client: PrefectClient, flow_run: FlowRun) -> bool:
    """Return whether a flow run has lost its deployment, or the process that serves it."""
    assert flow_run.deployment_id is not None  # noqa: S101 - for the type checker
    try:
        deployment = await client.read_deployment(flow_run.deployment_id)
    except ObjectNotFound:
        return True
    return deployment.work_pool_name is None and deployment.status is DeploymentStatus.NOT_READY


def _delay_seconds(infos: Sequence[JobInfo]) -> float:
    now = datetime.now(UTC)
    queued_since = min(info.created or now for info in infos)
    queued_seconds = (now - queued_since).total_seconds()
    return min(max(_SHORTEST_SECONDS, _SHARE_OF_QUEUE * queued_seconds), _LONGEST_SECONDS)


def _describe_queue(infos: Sequence[JobInfo]) -> str:
    ids = ", ".join(info.id for info in infos)
    return f"Job {ids} is queued." if len(infos) == 1 else f"Jobs {ids} are queued."
