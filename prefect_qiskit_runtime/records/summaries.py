"""The summary of each job that a flow waits for: stored with its results, shown in Prefect's UI.

The summary is made while the result is fetched. Any error in it is logged, and never changes the
result that the flow receives.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from prefect.artifacts import acreate_markdown_artifact, create_markdown_artifact
from prefect.logging import get_logger

from prefect_qiskit_runtime.artifacts import markdown_table, over_open_connection
from prefect_qiskit_runtime.backend import RuntimeBackend
from prefect_qiskit_runtime.client import RuntimeApi, settings_of_environment
from prefect_qiskit_runtime.flow_run.events import run_id_here
from prefect_qiskit_runtime.models import JobInfo
from prefect_qiskit_runtime.provenance import Provenance
from prefect_qiskit_runtime.records.provenance import Sent, collect, read_stored, store
from prefect_qiskit_runtime.records.records import Records
from prefect_qiskit_runtime.twins.clean_up import cleaned_up

logger = get_logger("prefect_qiskit_runtime")

_LONGEST_SECONDS = 10.0
"""Maximum time that an available result waits for the summary."""

_LONGEST_IF_CANCELLED_SECONDS = 4.0
"""Maximum time that a cancelled caller waits for it, who also waits for the end of its job."""

_END_SECONDS = 2.0
_END_PAUSE_SECONDS = 0.1


class _Shown:
    """The jobs that this process has shown, for each flow run or task run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: set[tuple[UUID, str]] = set()
        self._counts: Counter[UUID] = Counter()

    def is_new(self, run_id: UUID, job_id: str) -> bool:
        """Return whether a job is new for a run, and remember it."""
        with self._lock:
            is_new = (run_id, job_id) not in self._jobs
            self._jobs.add((run_id, job_id))
            return is_new

    def has_room(self, run_id: UUID, most: int) -> bool:
        """Count one more artifact of a run; return whether the run may have it."""
        with self._lock:
            self._counts[run_id] += 1
            count = self._counts[run_id]
        if count == most + 1 and most:
            logger.info(
                "Only the first %d jobs of a flow run get a summary artifact"
                " (PREFECT_QISKIT_RUNTIME_JOB_ARTIFACTS); the summaries of the others are stored.",
                most,
            )
        return count <= most


_shown = _Shown()


@asynccontextmanager
async def job_summaries(
    api: RuntimeApi, backend: RuntimeBackend
) -> AsyncIterator[Callable[[str, Sent | None], None]]:
    """Yield a function that starts the summary of an ended job; wait for it briefly at the end.

    Outside of flow and task runs, the function does nothing.
    """
    begun: set[asyncio.Task[None]] = set()
    longest_seconds = _LONGEST_SECONDS

    def begin(job_id: str, sent: Sent | None) -> None:
        run_id = run_id_here()
        if run_id is not None and _shown.is_new(run_id, job_id):
            begun.add(asyncio.create_task(_summarise(api, backend, job_id, sent, run_id)))

    try:
        yield begin
    except asyncio.CancelledError:
        longest_seconds = _LONGEST_IF_CANCELLED_SECONDS
        raise
    finally:
        if begun:
            await cleaned_up(asyncio.wait(begun), longest_seconds)
            for summary in begun:
                if summary.cancel():
                    logger.warning("The summary of a job was left out because it took too long.")


async def _summarise(
    api: RuntimeApi, backend: RuntimeBackend, job_id: str, sent: Sent | None, run_id: UUID
) -> None:
    try:
        provenance = await _load_or_collect(api, backend, job_id, sent)
        if _shown.has_room(run_id, settings_of_environment().job_artifacts):
            await _show(provenance)
    except Exception:  # boundary: a summary must never fail the flow
        logger.warning("The summary of job %s could not be made.", job_id, exc_info=True)


async def _load_or_collect(
    api: RuntimeApi, backend: RuntimeBackend, job_id: str, sent: Sent | None
) -> Provenance:
    records = Records()
    stored = await read_stored(records, job_id)
    if stored is not None:
        return stored
    info = await _ended(api, job_id)
    provenance = await collect(api, backend, info, sent)
    if info.state.status.is_terminal:
        await store(records, provenance)
    return provenance


async def _ended(api: RuntimeApi, job_id: str) -> JobInfo:
    """Return a job that has ended, or is about to because it was cancelled."""
    until, pause_seconds = time.monotonic() + _END_SECONDS, _END_PAUSE_SECONDS
    while True:
        info = await api.get_job(job_id)
        if info.state.status.is_terminal or time.monotonic() + pause_seconds > until:
            return info
        await asyncio.sleep(pause_seconds)
        pause_seconds *= 2


async def _show(provenance: Provenance) -> None:
    # Without a key: Prefect lists artifacts with one beside the results that users look for.
    await _create_artifact(
        markdown=f"### Job {provenance.job_id}\n\n{_table(provenance)}",
        description=f"Job {provenance.job_id} of {provenance.program_id} on {provenance.backend}:"
        f" {provenance.status.value}",
    )


async def _create_artifact(**what: str) -> None:
    await over_open_connection(acreate_markdown_artifact, create_markdown_artifact, **what)


def _table(provenance: Provenance) -> str:
    fields = provenance.model_dump(mode="json", exclude={"format_version"})
    rows = {
        name.replace("_", " ").capitalize(): _cell(value)
        for name, value in fields.items()
        if value not in (None, [], {})
    }
    return markdown_table(rows, header=("Provenance", ""))


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.3f}" if isinstance(value, float) else value
