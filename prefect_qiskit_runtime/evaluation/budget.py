"""Limits of QPU time: checked before each job is sent, with figures that the service keeps.

The jobs of a flow run carry its tag, the jobs of a day have dates, and the service has measured
each one. So the used time survives any crash, and it includes the jobs of other workers and tools.
A job that has not ended, or whose usage is not final, is counted with its estimate. A session that
holds the device is counted with the time for which it was active, because that is what IBM bills.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from prefect import get_client
from prefect.states import Paused

from prefect_qiskit_runtime.backend import RuntimeBackend
from prefect_qiskit_runtime.client import (
    RuntimeApi,
    Spending,
    Spent,
    expected_seconds,
    settings_of_environment,
)
from prefect_qiskit_runtime.devices.usage_estimate import SUB_JOB_SECONDS
from prefect_qiskit_runtime.errors import BudgetExceededError, BudgetScope, JobError
from prefect_qiskit_runtime.evaluation.request import Request
from prefect_qiskit_runtime.flow_run.lineage import flow_tag, root_flow_run_id_here
from prefect_qiskit_runtime.flow_run.logger import logger_here
from prefect_qiskit_runtime.models import ReasonCode
from prefect_qiskit_runtime.submission.retrying import RetryPolicy

_APPROVAL_SECONDS = 86_400
_granted: dict[tuple[str, str], float] = {}


def granted_seconds(root_id: uuid.UUID | None, whose: str) -> float:
    """Return how many seconds were granted beyond a limit.

    Args:
        root_id: The root flow run; None outside of flow runs, where nothing is granted.
        whose: The owner of the limit: a scope or a program.
    """
    return _granted.get((str(root_id), whose), 0.0)


def grant(root_id: uuid.UUID, whose: str, limit_seconds: float, *, at_least_seconds: float) -> None:
    """Grant the amount of a limit once more, or a larger amount if the job needs it.

    Args:
        root_id: As in `granted_seconds`.
        whose: As in `granted_seconds`.
        limit_seconds: The limit.
        at_least_seconds: The time beyond the limit that is needed to continue.
    """
    before = granted_seconds(root_id, whose)
    _granted[str(root_id), whose] = max(before + limit_seconds, at_least_seconds)
    logger_here().info("The flow run was resumed: its budget for the %s is extended.", whose)


async def pause_until_resumed(root_id: uuid.UUID, why: str) -> bool:
    """Pause a flow run in Prefect until a user resumes it; return whether it was resumed."""
    interval_seconds = settings_of_environment().flow_state_interval_seconds
    async with get_client() as client:
        paused = Paused(
            name="AwaitingApproval",
            message=why,
            timeout_seconds=_APPROVAL_SECONDS,
            pause_key=str(uuid.uuid4()),
        )
        await client.set_flow_run_state(root_id, paused)
        logger_here().warning("%s The flow run is paused: resume it in the UI to continue.", why)
        while True:
            state = (await client.read_flow_run(root_id)).state
            if state is None or not state.is_paused():
                return state is not None and state.is_running()
            timeout = state.state_details.pause_timeout
            if timeout is not None and datetime.now(UTC) > timeout:
                return False
            await asyncio.sleep(interval_seconds)


# Estimates of the jobs that this process sent, and the usage of the jobs that it has read.
_estimates: dict[str, float] = {}
_spending = Spending()


@dataclass(frozen=True)
class Budget:
    """The limits of a backend, and the time that one call is expected to use.

    Attributes:
        api: The service.
        policy: How requests to the service are retried.
        backend: The block with the limits.
        record: The preparation record of the job, with the estimate.
        max_execution_seconds: The execution time limit of the job.
        approved: The scopes whose used time is not known and for which a person has approved the
            next job. Such an approval is for one job, because it grants no known amount.
    """

    api: RuntimeApi
    policy: RetryPolicy
    backend: RuntimeBackend
    record: Mapping[str, Any]
    max_execution_seconds: int | None
    approved: set[str] = field(default_factory=set)

    @classmethod
    def from_request(
        cls,
        api: RuntimeApi,
        policy: RetryPolicy,
        request: Request,
        record: Mapping[str, Any],
    ) -> Budget | None:
        """Return the budget of a call; None if the block sets no limit or has no QPUs.

        Args:
            api: The service.
            policy: How requests to the service are retried.
            request: The request of the call.
            record: Its preparation record, which has the estimate once the inputs are prepared.
        """
        block = request.backend
        limits = (
            block.max_qpu_seconds_per_call,
            block.max_qpu_seconds_per_flow_run,
            block.max_qpu_seconds_per_day,
            block.max_qpu_seconds_of_instance,
        )
        if not block.kind.is_billed or all(limit is None for limit in limits):
            return None
        return cls(api, policy, block, record, request.options.max_execution_time)

    @property
    def estimate_seconds(self) -> float:
        """Estimated QPU time of the job, capped by its own limit, which the QPU enforces."""
        seconds = self.record.get("estimate", {}).get("quantum_seconds", SUB_JOB_SECONDS)
        return min(seconds, self.max_execution_seconds or seconds)

    async def require(self) -> None:
        """Check that the job is within all limits.

        Raises:
            BudgetExceededError: The job would exceed a limit.
        """
        block = self.backend
        await self._check("call", block.max_qpu_seconds_per_call)
        await self._check("flow run", block.max_qpu_seconds_per_flow_run)
        await self._check("day", block.max_qpu_seconds_per_day)
        await self._check("instance", block.max_qpu_seconds_of_instance)

    async def request_approval(self, error: BudgetExceededError) -> None:
        """Wait until a user resumes the flow run, which grants the amount of the limit once more.

        If the used time is not known, it grants one job.

        Raises:
            BudgetExceededError: The given error, if the block does not ask for approval or the
                flow run was not resumed.
        """
        root_id = await root_flow_run_id_here()
        if self.backend.at_budget == "stop" or root_id is None:
            raise error
        if not await pause_until_resumed(root_id, str(error)):
            raise error
        if not error.is_usage_known:
            self.approved.add(error.scope)
            logger_here().info("The flow run was resumed: one job is sent.")
            return
        needed_seconds = error.used_seconds + error.estimated_seconds - error.limit_seconds
        grant(root_id, error.scope, error.limit_seconds, at_least_seconds=needed_seconds)

    def note(self, job_id: str) -> None:
        """Remember the estimate of a job that was sent."""
        _estimates[job_id] = self.estimate_seconds
        self.approved.clear()

    async def _check(self, scope: BudgetScope, limit_seconds: float | None) -> None:
        if limit_seconds is None:
            return
        root_id = await root_flow_run_id_here()
        used = await self._used(scope, root_id, limit_seconds)
        allowed_seconds = limit_seconds + granted_seconds(root_id, scope)
        if used is None or scope in self.approved:
            return
        if used.is_known and used.seconds + self.estimate_seconds <= allowed_seconds:
            return
        raise BudgetExceededError(
            f"The job was not sent: it is estimated to use {self.estimate_seconds:.1f} s of QPU"
            f" time, and the limit for {_SCOPE_NAMES[scope]} is {allowed_seconds:g} s"
            + ("" if scope == "call" else f", of which {used.seconds:.1f} s are used")
            + f" ({_SCOPE_FIELDS[scope]} of the backend). Make the job smaller or raise the limit."
            + used.note,
            scope=scope,
            limit_seconds=limit_seconds,
            used_seconds=used.seconds,
            estimated_seconds=self.estimate_seconds,
            backend=self.backend.name,
            is_usage_known=used.is_known,
        )

    async def _used(
        self, scope: BudgetScope, root_id: uuid.UUID | None, limit_seconds: float
    ) -> Spent | None:
        """Return the time that was used already; None if the limit does not apply."""
        if scope == "call":
            return Spent(0.0)
        if scope == "instance":
            consumed = (await self.policy.ask(self.api.usage)).usage_consumed_seconds
            if consumed is None:  # unknown: only a person can allow a job
                assumed = {"the instance (usage_consumed_seconds)": limit_seconds}
                return Spent(limit_seconds, assumed, is_known=False)
            return Spent(consumed)
        if scope == "day":
            midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            return await self._used_by(created_after=midnight)
        return None if root_id is None else await self._used_by(tags=[flow_tag(root_id)])

    async def _used_by(self, **which: Any) -> Spent:
        jobs = await self.policy.ask(lambda: self.api.list_jobs(**which))
        return await self.policy.ask(
            lambda: _spending.seconds(self.api, jobs, lambda job: expected_seconds(job, _estimates))
        )


_SCOPE_NAMES: dict[BudgetScope, str] = {
    "call": "one call",
    "flow run": "the flow run",
    "day": "one day (UTC) of the account",
    "instance": "the instance",
}
_SCOPE_FIELDS: dict[BudgetScope, str] = {
    "call": "max_qpu_seconds_per_call",
    "flow run": "max_qpu_seconds_per_flow_run",
    "day": "max_qpu_seconds_per_day",
    "instance": "max_qpu_seconds_of_instance",
}


# For each scope of a limit, the field of `HardwareAccess` that carries it.
_HARDWARE_LIMITS: dict[BudgetScope, str] = {
    "call": "max_seconds",
    "flow run": "max_seconds_per_flow_run",
    "day": "max_seconds_per_day",
    "instance": "max_seconds_of_instance",
}
_HARDWARE_FIELDS = {**_SCOPE_FIELDS, "call": "hardware_max_seconds or max_qpu_seconds_per_call"}


@dataclass(frozen=True)
class HardwareBudget:
    """The QPU time that the program of one evaluation may use, including granted time.

    Attributes:
        api: The service that runs the program.
        backend: The block with the limits.
        evaluation: Name of the evaluation, for time that is granted to it alone.
        approved: The scopes whose used time is not known and whose limits the next job does not
            have, because a person has approved it.
    """

    api: RuntimeApi
    backend: RuntimeBackend
    evaluation: str
    approved: set[BudgetScope] = field(default_factory=set)

    async def apply(self) -> None:
        """Give the granted time to the programs that are submitted from now on."""
        if self.backend.hardware_credentials is not None:
            self._apply(await root_flow_run_id_here())

    async def note_sent(self) -> None:
        """Record that a job was sent: an approval without a known amount is for one job."""
        if self.approved:
            self.approved.clear()
            await self.apply()

    async def request_extension(self, error: JobError) -> bool:
        """Ask for approval after a program used up its time; return whether time was granted.

        If the used time is not known, one job without this limit is granted.
        """
        access = self.backend.hardware_access()
        is_asked = self.backend.at_budget == "pause" and access is not None
        if error.reason_code != ReasonCode.HARDWARE_BUDGET or not is_asked:
            return False
        scope, limit_seconds, used_seconds = error.scope, error.limit_seconds, error.used_seconds
        if scope is None or limit_seconds is None:
            logger_here().warning(
                "Job %s has used up its QPU time, but %s does not report which limit ended it, so"
                " no approval is requested. Services before this version do not report it.",
                error.job_id,
                self.api.url,
            )
            return False
        root_id = await root_flow_run_id_here()
        limit = f"the limit for {_SCOPE_NAMES[scope]} ({_HARDWARE_FIELDS[scope]})"
        if used_seconds is None:
            used = (
                f"the QPU time that is used on {error.backend} is not known, so {limit} of"
                f" {limit_seconds:g} s cannot be kept. One more job of the program is sent without"
                " this limit if the flow run is resumed; its other limits apply."
            )
        else:
            used = (
                f"{used_seconds:.1f} s of QPU time on {error.backend} are used, and {limit} is"
                f" {limit_seconds:g} s."
            )
        why = f"Job {error.job_id} has ended: {used}"
        if root_id is None or not await pause_until_resumed(root_id, why):
            return False
        if used_seconds is None:
            self.approved.add(scope)
            logger_here().info("The flow run was resumed: one job is sent.")
        else:
            once_more = getattr(access, _HARDWARE_LIMITS[scope]) or used_seconds
            grant(root_id, self._owner(scope), once_more, at_least_seconds=used_seconds)
        self._apply(root_id)
        return True

    def _apply(self, root_id: uuid.UUID | None) -> None:
        access = self.backend.hardware_access()
        assert access is not None  # noqa: S101 - the callers have checked it
        raised = {
            name: (
                None
                if scope in self.approved
                else limit + granted_seconds(root_id, self._owner(scope))
            )
            for scope, name in _HARDWARE_LIMITS.items()
            if (limit := getattr(access, name)) is not None
        }
        self.api.with_hardware(replace(access, **raised))

    def _owner(self, scope: BudgetScope) -> str:
        return f"program {self.evaluation}" if scope == "call" else scope
