"""What is left of the time on the device that a program may use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prefect_qiskit_runtime.client import IbmApi, Spending
from prefect_qiskit_runtime.errors import HardwareBudgetError
from prefect_qiskit_runtime.models import JobInfo


@dataclass(frozen=True)
class Limits:
    """How much time on the device may be used, in seconds; None for no limit.

    Attributes:
        max_execution_seconds: How long the program's job itself may run.
        max_seconds: By the program, earlier attempts included.
        max_seconds_per_flow_run: By all jobs that have the label of the program's.
        max_seconds_per_day: By all jobs of the account in one day (UTC).
        max_seconds_of_instance: By the instance in its period, as IBM counts it.
    """

    max_execution_seconds: int
    max_seconds: float | None = None
    max_seconds_per_flow_run: float | None = None
    max_seconds_per_day: float | None = None
    max_seconds_of_instance: float | None = None


class Budget:
    """The limits of one program, looked at before each submission.

    Args:
        api: The service, which has measured what was used.
        backend: The device.
        label: What the jobs of the program's flow run bear as a tag.
        limits: The limits.
    """

    def __init__(self, api: IbmApi, backend: str, label: str, limits: Limits) -> None:
        self.limits = limits
        self._api = api
        self._backend = backend
        self._label = label
        self._spending = Spending()

    async def left_seconds(self, used_seconds: float) -> float:
        """Return the least that is left under all limits; infinite where there are none.

        Args:
            used_seconds: What the program has used.

        Raises:
            HardwareBudgetError: Nothing is left under one of them.
        """
        limits = self.limits
        own = "hardware_max_seconds or max_qpu_seconds_per_call"
        left = self._left("The program", own, limits.max_seconds, used_seconds)
        if (limit := limits.max_seconds_per_flow_run) is not None:
            field, used = "max_qpu_seconds_per_flow_run", await self._used_by(tags=[self._label])
            left = min(left, self._left("Its flow run", field, limit, used))
        if (limit := limits.max_seconds_per_day) is not None:
            midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            field, used = "max_qpu_seconds_per_day", await self._used_by(created_after=midnight)
            left = min(left, self._left("Today, the account", field, limit, used))
        if (limit := limits.max_seconds_of_instance) is not None:
            usage = await self._api.usage()
            field, used = "max_qpu_seconds_of_instance", usage.usage_consumed_seconds
            left = min(left, self._left("The instance", field, limit, used))
        return left

    async def used_by(self, job_ids: list[str]) -> float:
        """Return the time on the device of jobs that belong to no session."""
        known = self._spending.jobs
        unknown = [job_id for job_id in job_ids if job_id not in known]
        ended_before = sum(known[job_id] for job_id in job_ids if job_id in known)
        jobs = [await self._api.get_job(job_id) for job_id in unknown]
        return ended_before + await self._spending.seconds(self._api, jobs, _expected_seconds)

    def _left(self, who: str, field: str, limit: float | None, used_seconds: float) -> float:
        if limit is None:
            return math.inf
        if used_seconds < limit:
            return limit - used_seconds
        raise HardwareBudgetError(
            f"{who} has used {used_seconds:.1f} s of {self._backend}; its limit ({field}) is"
            f" {limit:g} s. Nothing more is submitted. Raise it, or make the program do less."
        )

    async def _used_by(self, **which: Any) -> float:
        jobs = await self._api.list_jobs(**which)
        return await self._spending.seconds(self._api, jobs, _expected_seconds)


def _expected_seconds(job: JobInfo) -> float:
    return job.estimated_running_time_seconds or 0.0
