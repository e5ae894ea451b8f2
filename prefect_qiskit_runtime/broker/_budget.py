"""The remaining time on the device that a program may use."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prefect_qiskit_runtime.client import IbmApi, Spending, Spent, expected_seconds
from prefect_qiskit_runtime.errors import BudgetScope, HardwareBudgetError, NotFoundError
from prefect_qiskit_runtime.models import JobInfo

# The words for each scope in a message, and the fields of the block that set the limit.
_NAMES: dict[BudgetScope, tuple[str, str]] = {
    "call": ("The program", "hardware_max_seconds or max_qpu_seconds_per_call"),
    "flow run": ("Its flow run", "max_qpu_seconds_per_flow_run"),
    "day": ("Today, the account", "max_qpu_seconds_per_day"),
    "instance": ("The instance", "max_qpu_seconds_of_instance"),
}


@dataclass(frozen=True)
class Limits:
    """The time on the device that may be used, in seconds; None for no limit.

    Attributes:
        max_execution_seconds: The longest run time of the program's job itself.
        max_seconds: The limit of the program, including earlier attempts.
        max_seconds_per_flow_run: The limit of all jobs with the label of the program's flow run.
        max_seconds_per_day: The limit of all jobs of the account in one day (UTC).
        max_seconds_of_instance: The limit of the instance in its period, as measured by IBM.
    """

    max_execution_seconds: int
    max_seconds: float | None = None
    max_seconds_per_flow_run: float | None = None
    max_seconds_per_day: float | None = None
    max_seconds_of_instance: float | None = None


class Budget:
    """The limits of one program, checked before each submission.

    Args:
        api: The service, which measures the time used.
        backend: The device.
        label: The tag of the jobs of the program's flow run.
        limits: The limits.
    """

    def __init__(self, api: IbmApi, backend: str, label: str, limits: Limits) -> None:
        self.limits = limits
        self._api = api
        self._backend = backend
        self._label = label
        self._spending = Spending()

    async def left_seconds(self, used: Spent) -> float:
        """Return the time left under the tightest limit; infinite without limits.

        Args:
            used: The time that the program has used.

        Raises:
            HardwareBudgetError: One of the limits is used up.
        """
        limits = self.limits
        left = self._left("call", limits.max_seconds, used)
        if (limit := limits.max_seconds_per_flow_run) is not None:
            by_flow_run = await self._used_by(tags=[self._label])
            left = min(left, self._left("flow run", limit, by_flow_run))
        if (limit := limits.max_seconds_per_day) is not None:
            midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            today = await self._used_by(created_after=midnight)
            left = min(left, self._left("day", limit, today))
        if (limit := limits.max_seconds_of_instance) is not None:
            consumed = (await self._api.usage()).usage_consumed_seconds
            if consumed is None:
                raise HardwareBudgetError(
                    f"The usage of the instance of {self._backend} is not known, because the"
                    " answer has no usage_consumed_seconds: its limit"
                    f" (max_qpu_seconds_of_instance) of {limit:g} s cannot be kept. Nothing more is"
                    " submitted. Try again later, or remove the limit.",
                    scope="instance",
                    limit_seconds=limit,
                    backend=self._backend,
                )
            left = min(left, self._left("instance", limit, Spent(consumed)))
        return left

    async def used_by(self, job_ids: Sequence[str], most_seconds: Callable[[str], float]) -> Spent:
        """Return the time on the device used by jobs outside of sessions.

        Args:
            job_ids: The jobs.
            most_seconds: Returns the most that a job can have used, for one that the service does
                not have any more.
        """
        known = self._spending.jobs
        ended_before = sum(known[job_id] for job_id in job_ids if job_id in known)
        jobs: list[JobInfo] = []
        gone: dict[str, float] = {}
        for job_id in (one for one in job_ids if one not in known):
            try:
                jobs.append(await self._api.get_job(job_id))
            except NotFoundError:
                gone[job_id] = most_seconds(job_id)
        spent = await self._spending.seconds(self._api, jobs, expected_seconds)
        seconds = ended_before + sum(gone.values()) + spent.seconds
        return Spent(seconds, {**gone, **spent.assumed})

    def _left(self, scope: BudgetScope, limit: float | None, used: Spent) -> float:
        if limit is None:
            return math.inf
        if used.seconds < limit:
            return limit - used.seconds
        who, field = _NAMES[scope]
        raise HardwareBudgetError(
            f"{who} has used {used.seconds:.1f} s of {self._backend}; its limit ({field}) is"
            f" {limit:g} s. Nothing more is submitted. Raise it, or make the program do less."
            f"{used.note}",
            scope=scope,
            limit_seconds=limit,
            used_seconds=used.seconds,
            backend=self._backend,
        )

    async def _used_by(self, **which: Any) -> Spent:
        jobs = await self._api.list_jobs(**which)
        return await self._spending.seconds(self._api, jobs, expected_seconds)
