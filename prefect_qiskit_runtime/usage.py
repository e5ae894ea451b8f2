"""Report the usage of a flow run's jobs: read from the service, shown as a table in the UI."""

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
    """Show the usage so far of this flow run's jobs in a table artifact.

    The table includes the jobs of its subflows, and of its runs before a retry. Outside of flows,
    it has the jobs of the day (UTC).

    Args:
        backend: A `RuntimeBackend`, or the name of a backend of the embedded service. All jobs on
            its service are in the table, on any backend.
        key: Key of the artifact: lower-case letters, digits and dashes.

    Returns:
        One row for each job, the newest first.
    """
    block = as_backend(backend)
    policy = RetryPolicy.from_options(block.options())
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
        description=_describe(usages, sessions, block.service),
    )
    return usages


report_usage = sync_task(areport_usage)
"""Synchronous twin of `areport_usage`."""


def _describe(usages: list[JobUsage], sessions: dict[str, float], service: str) -> str:
    """Sum up the rows; a session that holds the device is counted with its active time."""
    alone = sum(
        usage.quantum_seconds or 0.0 for usage in usages if usage.session_id not in sessions
    )
    jobs = (
        f"{len(usages)} jobs on the {service} service have used"
        f" {sum(usage.quantum_seconds or 0.0 for usage in usages):.1f} s of QPU time and have run"
        f" for {sum(usage.seconds or 0.0 for usage in usages):.1f} s."
    )
    if unknown := sum(usage.quantum_seconds is None for usage in usages):
        jobs += f" The QPU time of {unknown} of them is not known yet and not included."
    if not sessions:
        return jobs
    active = [f"Session {one} was active for {seconds:.1f} s." for one, seconds in sessions.items()]
    billed = (
        "A session is billed for its active time, instead of its jobs: in total"
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
        "created": usage.created and usage.created.isoformat(timespec="seconds"),
        "QPU seconds": _rounded(usage.quantum_seconds),
        "seconds": _rounded(usage.seconds),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)
