"""What jobs have used, asked of the service that has measured it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from prefect_qiskit_runtime.models import JobInfo, JobMetrics, JobUsage

_AT_ONCE = 8


class _Metrics(Protocol):
    async def job_metrics(self, job_id: str) -> JobMetrics: ...


async def usage_of(api: _Metrics, jobs: Iterable[JobInfo]) -> list[JobUsage]:
    """Return what each job has used so far; one request for each, a few at a time."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask(job: JobInfo) -> JobUsage:
        async with gate:
            metrics = await api.job_metrics(job.id)
        return JobUsage(
            job_id=job.id,
            status=job.state.status,
            program_id=job.program.id,
            backend=job.backend,
            created=job.created,
            seconds=metrics.usage.get("seconds", 0.0),
            quantum_seconds=metrics.usage.get("quantum_seconds", 0.0),
        )

    return list(await asyncio.gather(*map(ask, jobs)))
