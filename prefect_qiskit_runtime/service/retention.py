"""Delete old jobs: those that ended long ago, and the oldest ones if they take too much space."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from pathlib import Path

from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.store import Store, jobs, programs, sessions

logger = logging.getLogger(__name__)

_BATCH = 100
_INTERVAL_SECONDS = 3600.0


async def keep_tidy(
    store: Store, logs: Path, clock: Clock, *, max_days: float, max_bytes: int
) -> None:
    """Delete old and excess jobs now and every hour, until cancelled."""
    while True:
        try:
            await forget_old_jobs(store, logs, clock, max_days=max_days, max_bytes=max_bytes)
        except Exception:  # boundary: tidying must never end the service
            logger.exception("Old jobs could not be deleted; trying again later")
        await clock.sleep(_INTERVAL_SECONDS)


async def forget_old_jobs(
    store: Store, logs: Path, clock: Clock, *, max_days: float, max_bytes: int
) -> int:
    """Delete ended jobs beyond an age, then the oldest ones beyond a size; return their number.

    Closed sessions beyond the age are also deleted once they have no jobs.

    Args:
        store: The store.
        logs: Folder of the jobs' logs, which count toward the size and are deleted with the jobs.
        clock: The clock by which ages are measured.
        max_days: Days for which an ended job is kept.
        max_bytes: Size of database and logs above which the oldest ended jobs are deleted.
    """
    deleted = 0
    horizon = clock.now() - timedelta(days=max_days)
    while batch := await store.read(jobs.oldest_ended, limit=_BATCH, before=horizon):
        deleted += await _delete(store, logs, batch)
    deleted += await _shrink(store, logs, max_bytes)
    await store.write(sessions.delete_closed, horizon)
    if deleted:
        await store.write(programs.purge_deleted_programs)
        await store.shrink()
        logger.info("Deleted %d ended jobs that were too old or too large", deleted)
    return deleted


async def forget_old_journals(journals: Path, clock: Clock, *, max_days: float) -> None:
    """Delete old journals of evaluations on hardware, every hour, until cancelled."""
    while True:
        horizon = clock.now() - timedelta(days=max_days)
        await asyncio.to_thread(_delete_unused, journals, horizon)
        await clock.sleep(_INTERVAL_SECONDS)


def _delete_unused(journals: Path, horizon: datetime) -> None:
    for journal in journals.glob("*.jsonl"):
        if journal.stat().st_mtime < horizon.timestamp():
            journal.unlink()


async def _delete(store: Store, logs: Path, job_ids: list[str]) -> int:
    for job_id in job_ids:
        await store.write(jobs.delete_ended_job, job_id)
        (logs / f"{job_id}.log").unlink(missing_ok=True)
    return len(job_ids)


async def _shrink(store: Store, logs: Path, max_bytes: int) -> int:
    """Delete the oldest ended jobs, one by one, until the rest is small enough."""
    sizes = await asyncio.to_thread(_log_sizes, logs)
    in_logs = sum(sizes.values())
    deleted = 0
    while in_logs + await store.read(jobs.used_bytes) > max_bytes:
        oldest = await store.read(jobs.oldest_ended, limit=1)
        if not oldest:
            break
        deleted += await _delete(store, logs, oldest)
        in_logs -= sizes.get(f"{oldest[0]}.log", 0)
    return deleted


def _log_sizes(logs: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in logs.glob("*.log")}
