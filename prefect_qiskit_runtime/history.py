"""The history of the jobs of a program or a tag: for export, and as a pandas frame."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from prefect_qiskit_runtime.backend import BackendLike, RuntimeBackend, as_backend
from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.flow_run.tasks import async_task, sync_task
from prefect_qiskit_runtime.models import JobInfo
from prefect_qiskit_runtime.provenance import Provenance
from prefect_qiskit_runtime.records.provenance import collect, read_stored
from prefect_qiskit_runtime.records.records import Records
from prefect_qiskit_runtime.renamed import old_functions

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore[reportMissingImports] - an extra

__all__ = ["afetch_job_history", "fetch_job_history"]

_AT_ONCE = 8


@async_task
async def afetch_job_history(
    *,
    backend: BackendLike,
    program_id: str | None = None,
    tags: Sequence[str] = (),
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    limit: int | None = None,
) -> DataFrame:
    """Return the history of a program or a tag as a pandas frame, the oldest job first.

    Needs pandas: `pip install "prefect-qiskit-runtime[history]"`. The rows of jobs whose provenance
    was stored by a flow run are complete. For other jobs, the settings (seeds, shots, precision,
    options) are missing, since they would require fetching the inputs of every job.

    Args:
        backend: Any backend of the service; jobs on its other backends are included.
        program_id: Only jobs of this program, such as the program of a loop, or "estimator".
        tags: Only jobs that have all of these tags.
        created_after: Only jobs created at this time or later; local time if it has no zone.
        created_before: Only jobs created at this time or before; local time if it has no zone.
        limit: Maximum number of jobs, the newest ones; None for all.

    Returns:
        A row for each job, its id as index, with the columns of `Provenance.to_row`.

    Raises:
        ConfigurationError: pandas is not installed.
    """
    try:
        from pandas import DataFrame  # pyright: ignore[reportMissingImports] - an extra
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "fetch_job_history returns a pandas frame, and pandas is not installed here:"
            ' pip install "prefect-qiskit-runtime[history]". Without it, `prefect-qiskit-runtime'
            " jobs export` writes the same as JSON lines or CSV."
        ) from error
    block = as_backend(backend)
    async with block.connect() as api:
        jobs = await api.list_jobs(
            limit=limit,
            program_id=program_id,
            tags=tags,
            created_after=created_after,
            created_before=created_before,
        )
        found = await provenance_of_jobs(api, block, jobs[::-1])
    rows = [one.to_row() for one in found]
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["job_id"]
    return DataFrame(rows, columns=columns).set_index("job_id")


fetch_job_history = sync_task(afetch_job_history)
"""Synchronous twin of `afetch_job_history`."""


async def provenance_of_jobs(
    api: RuntimeApi, backend: RuntimeBackend, jobs: Sequence[JobInfo]
) -> list[Provenance]:
    """Return the provenance of jobs: as stored, or otherwise as collected from the service.

    Args:
        api: The service of the jobs.
        backend: A backend of that service.
        jobs: The jobs, as the service lists them.
    """
    records = Records()
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(info: JobInfo) -> Provenance:
        async with turn:
            stored = await read_stored(records, info.id)
            return stored or await collect(api, backend, info, None, asks_inputs=False)

    return list(await asyncio.gather(*map(one, jobs)))


if not TYPE_CHECKING:  # for type checkers it would make every name of the module right
    __getattr__ = old_functions(__name__)
