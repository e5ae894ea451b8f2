"""Job events for Prefect's automations: a job was submitted, runs, or has ended.

Prefect's own thread sends them, so no call waits for them. They are sent only inside flow and task
runs, which Prefect adds as related resources. They hold ids, names and codes: no inputs, results,
messages or tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from prefect.context import FlowRunContext, TaskRunContext
from prefect.events import emit_event

from prefect_qiskit_runtime.models import JobStatus

JobEvent = Literal["submitted", "adopted", "running", "completed", "failed", "cancelled"]

_OF_STATES: dict[JobStatus, JobEvent] = {
    JobStatus.RUNNING: "running",
    JobStatus.COMPLETED: "completed",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "cancelled",
}


def send_job_event(event: JobEvent, job_id: str, about: Mapping[str, str]) -> None:
    """Send `qiskit-runtime.job.<event>`, if this is a flow run or task run.

    Args:
        event: The kind of event.
        job_id: The job.
        about: Labels of the job, such as its backend.
    """
    run_id = run_id_here()
    if run_id is None:
        return
    labels = {f"qiskit-runtime.{name}": value for name, value in about.items()}
    emit_event(
        f"qiskit-runtime.job.{event}",
        resource={
            "prefect.resource.id": f"qiskit-runtime.job.{job_id}",
            "prefect.resource.name": job_id,
            **labels,
        },
        payload={"job_id": job_id, **about},
        id=_event_id(event, job_id, run_id),
    )


def send_state_event(status: JobStatus, job_id: str, about: Mapping[str, str]) -> None:
    """Send the event of a job's new state; the queued state has no event."""
    event = _OF_STATES.get(status)
    if event is not None:
        send_job_event(event, job_id, about)


def _event_id(event: JobEvent, job_id: str, run_id: UUID) -> UUID:
    """Return the id of an event, the same each time that one flow run sees the job's state."""
    if event == "adopted":
        return uuid4()
    return uuid5(NAMESPACE_URL, f"qiskit-runtime.job.{event}/{job_id}/{run_id}")


def run_id_here() -> UUID | None:
    """Return the id of the flow run around this code, or of the task run outside of flows."""
    task, flow = TaskRunContext.get(), FlowRunContext.get()
    if task is not None:
        return task.task_run.flow_run_id or task.task_run.id
    return flow.flow_run.id if flow is not None and flow.flow_run is not None else None
