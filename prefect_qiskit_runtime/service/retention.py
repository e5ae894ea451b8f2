"""Delete old jobs: those that ended long ago, and the oldest ones of users who take too much space.

A user is never reduced below an equal share of the space because of what others take, and a clock
that may be wrong deletes nothing by age.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.store import Store, jobs, programs, sessions, space
from prefect_qiskit_runtime.service.store.space import EndedJob, Space

logger = logging.getLogger(__name__)

KEY_DAYS = 400
"""How long the key of a deleted job stays known."""

_BATCH = 100
_INTERVAL_SECONDS = 3600.0


@dataclass(frozen=True)
class RetentionLimits:
    """The limits of what is kept.

    Attributes:
        days: Days for which an ended job is kept.
        num_bytes: Size of database and logs above which the oldest ended jobs of the users who take
            the most space are deleted.
        bytes_per_user: Size above which a user's oldest ended jobs are deleted; None for no limit.
    """

    days: float
    num_bytes: int
    bytes_per_user: int | None = None


@dataclass(frozen=True)
class RetentionFolders:
    """Folders whose files are deleted: logs with their jobs, journals of hardware by age."""

    logs: Path
    journals: Path


async def keep_tidy(
    store: Store, folders: RetentionFolders, clock: Clock, limits: RetentionLimits
) -> None:
    """Delete old and excess jobs and old journals now and every hour, until cancelled."""
    while True:
        try:
            await forget_old_jobs(
                store,
                folders.logs,
                clock,
                max_days=limits.days,
                max_bytes=limits.num_bytes,
                bytes_per_user=limits.bytes_per_user,
            )
            await forget_old_journals(store, folders.journals, clock, max_days=limits.days)
        except Exception:  # boundary: tidying must never end the service
            logger.exception("Old jobs could not be deleted; trying again later")
        await clock.sleep(_INTERVAL_SECONDS)


async def forget_old_jobs(
    store: Store,
    logs: Path,
    clock: Clock,
    *,
    max_days: float,
    max_bytes: int,
    bytes_per_user: int | None = None,
) -> int:
    """Delete ended jobs beyond an age, then the oldest ones beyond a size; return their number.

    Closed sessions beyond the age are also deleted once they have no jobs, and the keys of jobs
    that were deleted long ago.

    Args:
        store: The store.
        logs: Folder of the jobs' logs, which count toward the size and are deleted with the jobs.
        clock: The clock by which ages are measured.
        max_days: Days for which an ended job is kept.
        max_bytes: Size of database and logs above which the oldest ended jobs are deleted, of the
            users who take the most space.
        bytes_per_user: Size above which a user's oldest ended jobs are deleted.
    """
    deleted = 0
    if await trusts_clock(store, clock):
        deleted += await _delete_old(store, logs, clock, max_days)
    deleted += await _shrink(store, logs, clock, max_bytes, bytes_per_user)
    if deleted:
        await store.write(programs.purge_deleted_programs)
        await store.shrink()
        logger.info("Deleted %d ended jobs that were too old or too large", deleted)
    return deleted


async def forget_old_journals(
    store: Store, journals: Path, clock: Clock, *, max_days: float
) -> None:
    """Delete journals of evaluations on hardware whose last line is older than an age."""
    if await trusts_clock(store, clock):
        horizon = clock.now() - timedelta(days=max_days)
        await asyncio.to_thread(_delete_unused, journals, horizon)


async def trusts_clock(store: Store, clock: Clock) -> bool:
    """Return whether ages may be measured by the clock (see `space.note_time`)."""
    # Without the time by which tests have moved it: that is not a fault of the machine's clock.
    now = clock.now() - timedelta(seconds=clock.moved_seconds)
    is_trusted = await store.write(space.note_time, now)
    if not is_trusted:
        logger.warning(
            "The clock is more than a week ahead of the last time noted (now %s): nothing is"
            " deleted by age until a day has passed",
            now.isoformat(timespec="seconds"),
        )
    return is_trusted


def _delete_unused(journals: Path, horizon: datetime) -> None:
    for journal in journals.glob("*.jsonl"):
        if journal.stat().st_mtime < horizon.timestamp():
            journal.unlink()


async def _delete_old(store: Store, logs: Path, clock: Clock, max_days: float) -> int:
    deleted = 0
    horizon = clock.now() - timedelta(days=max_days)
    while batch := await store.read(jobs.oldest_ended, limit=_BATCH, before=horizon):
        for job_id in batch:
            await _delete(store, logs, job_id, clock.now())
        deleted += len(batch)
    await store.write(sessions.delete_closed, horizon)
    await store.write(jobs.forget_deleted_keys, clock.now() - timedelta(days=KEY_DAYS))
    return deleted


async def _delete(store: Store, logs: Path, job_id: str, now: datetime) -> None:
    await store.write(jobs.delete_ended_job, job_id, now)
    (logs / f"{job_id}.log").unlink(missing_ok=True)


async def _shrink(
    store: Store, logs: Path, clock: Clock, max_bytes: int, bytes_per_user: int | None
) -> int:
    """Delete the oldest ended jobs of the largest users, until the rest is small enough."""
    deleted = 0
    while True:
        sizes = await asyncio.to_thread(_log_sizes, logs)
        total = await store.read(space.used_bytes) + sum(sizes.values())
        if total <= max_bytes and bytes_per_user is None:
            return deleted
        users = await store.read(space.space_by_user, sizes)
        left = SpaceLeft.divide(users, total, max_bytes, bytes_per_user)
        freed = await _delete_largest(store, logs, clock, left)
        deleted += freed
        if not freed:
            return deleted
        await store.write(programs.purge_deleted_programs)


@dataclass
class SpaceLeft:
    """The space of all users while the jobs of the largest are deleted.

    Attributes:
        users: The space of each user, of which ended jobs can be deleted.
        surplus: Bytes of all together that are too much.
        share: Bytes that each user may have, whatever the others take.
        limit: Maximum bytes of each user; None for no limit.
    """

    users: dict[str, Space]
    surplus: int
    share: int
    limit: int | None = None

    @classmethod
    def divide(
        cls, users: Mapping[str, Space], total: int, max_bytes: int, limit: int | None
    ) -> SpaceLeft:
        """Divide the maximum, less what belongs to no user, into equal shares."""
        shared = total - sum(user.total for user in users.values())
        share = max(0, max_bytes - shared) // max(1, len(users))
        return cls(dict(users), total - max_bytes, share, limit)

    def next_user(self) -> str | None:
        """Return the user who loses a job next: the largest of those who take too much."""
        excessive = [name for name, user in self.users.items() if self._is_excessive(user)]
        return max(excessive, key=lambda name: self.users[name].total, default=None)

    def take(self, name: str, num_bytes: int) -> None:
        """Note that an ended job of a user was deleted."""
        user = self.users[name]
        self.users[name] = Space(user.total - num_bytes, user.ended - num_bytes)
        self.surplus -= num_bytes

    def exhaust(self, name: str) -> None:
        """Note that a user has no ended jobs."""
        self.users[name] = Space(self.users[name].total, 0)

    def _is_excessive(self, user: Space) -> bool:
        is_above = self.surplus > 0 and user.total > self.share
        return user.ended > 0 and (is_above or (self.limit is not None and user.total > self.limit))


async def _delete_largest(store: Store, logs: Path, clock: Clock, left: SpaceLeft) -> int:
    """Delete ended jobs, one by one, the oldest of the largest user; return their number."""
    deleted = 0
    known: dict[str, deque[EndedJob]] = {}
    while (user := left.next_user()) is not None:
        queue = known.setdefault(user, deque())
        if not queue:
            queue.extend(await store.read(space.oldest_ended_of, user, limit=_BATCH))
        if not queue:
            left.exhaust(user)
            continue
        job = queue.popleft()
        log = logs / f"{job.id}.log"
        log_bytes = log.stat().st_size if log.exists() else 0
        await _delete(store, logs, job.id, clock.now())
        left.take(user, job.num_bytes + log_bytes - space.KEY_BYTES)
        deleted += 1
    return deleted


def _log_sizes(logs: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_size for path in logs.glob("*.log")}
