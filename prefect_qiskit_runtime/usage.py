"""What the jobs of a flow run have used: asked of the service, shown as a table in the UI."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect.artifacts import acreate_table_artifact

from prefect_qiskit_runtime.backend import BackendLike, as_backend
from prefect_qiskit_runtime.client import Spending, usage_of
from prefect_qiskit_runtime.flow_run.lineage import flow_tag, root_flow_run_id_here
from prefect_qiskit_runtime.flow_run.tasks import async_task, sync_task
from prefect_qiskit_runtime.models import JobUsage
from prefect_qiskit_runtime.submission.retrying import RetryPolicy

__all__ = ["areport_usage", "report_usage"]


@async_task
async def areport_usage(
    *, backend: BackendLike, key: str = "qiskit-runtime-usage"
) -> list[JobUsage]:
    """Show in a table artifact what the jobs of this flow run have used so far.

    Those of its subflows, and of runs of it before a retry, are in it. Outside of flows it is the
    jobs of the day (UTC).

    Args:
        backend: A `RuntimeBackend`, or the name of a backend of the embedded service. All jobs on
            its service are in the table, whichever backend they ran on.
        key: Of the artifact: lower-case letters, digits and dashes.

    Returns:
        One row for each job, the newest first.
    """
    block = as_backend(backend)
    policy = RetryPolicy.of(block.options())
    root_id = await root_flow_run_id_here()
    async with block.connect() as api:
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        which: dict[str, Any] = (
            {"created_after": midnight} if root_id is None else {"tags": [flow_tag(root_id)]}
        )
        jobs = await policy.ask(lambda: api.list_jobs(**which))
        usages = await policy.ask(lambda: usage_of(api, jobs))
        sessions = await policy.ask(lambda: Spending().active_seconds(api, jobs))
    await acreate_table_artifact(
        [_row(usage) for usage in usages],
        key=key,
        description=_described(usages, sessions, block.service),
    )
    return usages


report_usage = sync_task(areport_usage)
"""Synchronous twin of `areport_usage`."""


def _described(usages: list[JobUsage], sessions: dict[str, float], service: str) -> str:
    """Sum up the rows; sessions that hold the device count with the time they were active."""
    alone = sum(usage.quantum_seconds for usage in usages if usage.session_id not in sessions)
    jobs = (
        f"{len(usages)} jobs on the {service} service have used"
        f" {sum(usage.quantum_seconds for usage in usages):.1f} s of QPU time and have run for"
        f" {sum(usage.seconds for usage in usages):.1f} s."
    )
    if not sessions:
        return jobs
    active = [f"Session {one} was active for {seconds:.1f} s." for one, seconds in sessions.items()]
    billed = (
        "A session is billed for the time that it is active, in place of its jobs: in all"
        f" {alone + sum(sessions.values()):.1f} s."
    )
    return " ".join([jobs, *active, billed])


def _row(usage: JobUsage) -> dict[str, Any]:
    return {
        "job": usage.job_id,
        "program": usage.program_id,
        "backend": usage.backend,
        "session": usage.session_id or "",
        "status": usage.status.value,
        "created": usage.created.isoformat(timespec="seconds"),
        "QPU seconds": round(usage.quantum_seconds, 2),
        "seconds": round(usage.seconds, 2),
    }
