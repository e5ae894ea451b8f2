"""Submission to a service without submission keys: at most one job for each name, by its tag.

IBM's service makes a job for each request that reaches it, even if the reply is lost. So the job
carries its name as a tag, and the job is searched for before a request that may not be the first,
and after a request with an unclear outcome. The assumption is that a job is found by its tag within
the grace period (`Settings.submission_grace_seconds`) after the request that made it.
"""

from __future__ import annotations

import asyncio
import copy
import os
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from prefect_qiskit_runtime.client import RuntimeApi, was_connected, was_sent
from prefect_qiskit_runtime.errors import (
    DELETED_JOB,
    BudgetExceededError,
    NotFoundError,
    ProtocolError,
    QiskitRuntimeError,
    RateLimitedError,
    ServiceUnavailableError,
    SubmissionUnclearError,
    is_retryable,
)
from prefect_qiskit_runtime.evaluation.budget import Budget
from prefect_qiskit_runtime.evaluation.identity import Identity
from prefect_qiskit_runtime.evaluation.submission_line import SubmissionLine
from prefect_qiskit_runtime.flow_run.lineage import Lineage, Run
from prefect_qiskit_runtime.flow_run.logger import logger_here
from prefect_qiskit_runtime.following.following import cancel_quietly, deleted_job
from prefect_qiskit_runtime.models import JobInfo, JobSubmitted
from prefect_qiskit_runtime.records.records import Records
from prefect_qiskit_runtime.settings import Settings
from prefect_qiskit_runtime.submission.retrying import RetryPolicy, is_met

# When each process started to use this module; a forked process has its own entry.
_here_since = {os.getpid(): datetime.now(UTC)}

# When this process first searched for jobs of a flow run, and up to which run it has its records.
_first_searched_at: dict[str, float] = {}
_known: dict[str, int] = {}


@dataclass(frozen=True)
class EarlierRuns:
    """The earlier runs of the flow runs around a call.

    Attributes:
        lineage: The place of the call in its flow run.
        records: The records of the call.
    """

    lineage: Lineage
    records: Records

    @classmethod
    def from_identity(cls, identity: Identity) -> Self:
        """Return the earlier runs around an evaluation."""
        return cls(identity.lineage, identity.records)

    async def hidden_for_seconds(self, grace_seconds: float) -> float:
        """Return how long a search may still miss a job that an earlier run has sent, or 0."""
        left_seconds = 0.0
        for run in self.lineage.flow_runs:
            if await self._known_count(run) < run.run_count - 1 and not self._ran_here(run):
                since = _first_searched_at.setdefault(run.run_id, time.monotonic())
                left_seconds = max(left_seconds, since + grace_seconds - time.monotonic())
        return left_seconds

    async def note(self) -> None:
        """Record the current runs: from now on, no job of an earlier run is hidden."""
        for run in self.lineage.flow_runs:
            if _known.get(run.run_id, 0) < run.run_count:
                await self.records.write(_name(run), {"run_count": run.run_count})
                _known[run.run_id] = run.run_count

    async def _known_count(self, run: Run) -> int:
        if run.run_count > 1 and run.run_id not in _known:
            record = await self.records.read(_name(run)) or {}
            _known[run.run_id] = record.get("run_count", 0)
        return _known.get(run.run_id, 0)

    def _ran_here(self, run: Run) -> bool:
        """Return whether a flow run has run only in this process since its first start."""
        here_since = _here_since.setdefault(os.getpid(), datetime.now(UTC))
        is_later = run.began_at is not None and run.began_at > here_since
        return is_later and not self.lineage.is_elsewhere


def _name(run: Run) -> str:
    return f"run-{run.run_id}"


_LONGEST_PAUSE_SECONDS = 15.0


class _UnclearError(Exception):
    """The request that makes a job was sent, and its outcome is unknown."""

    def __init__(self, error: QiskitRuntimeError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class TaggedSubmission:
    """One name, and the job that carries it as a tag.

    Attributes:
        api: The service.
        name: The tag.
        prepare: Prepares the request, unless that is done; called before it is sent.
        require_not_cancelled: Ends this run if a flow run around it was cancelled.
        preparation: The preparation record. Its estimate is kept for a later process, which finds
            the job and has nothing to prepare.
        post: Sends the request once.
        is_first: Whether no request can have been sent under the name before.
        identity: Has the records that keep the intent for a later process; None for a call that
            cannot be repeated.
        policy: How requests are retried.
        settings: The grace period, and the action after it.
        line: The line in which the request waits for its turn.
        budget: The limits of QPU time; None for no limit.
    """

    api: RuntimeApi
    name: str
    prepare: Callable[[], Awaitable[None]]
    require_not_cancelled: Callable[[], Awaitable[None]]
    preparation: dict[str, Any]
    post: Callable[[], Awaitable[JobSubmitted]]
    is_first: bool
    identity: Identity | None
    policy: RetryPolicy
    settings: Settings
    line: SubmissionLine
    budget: Budget | None

    async def submit(self) -> JobSubmitted:
        """Return the job of the name, found or submitted.

        Raises:
            SubmissionUnclearError: A request may have made a job that is not found, and the
                settings forbid to send it again, or its outcome is unclear again and again.
            NotFoundError: An earlier call made the job, and it was deleted: it is not sent again.
            QiskitRuntimeError: A query before the request failed; nothing was submitted.
        """
        found = None if self.is_first else await self._find_earlier()
        if found is not None:
            await self._record_job(found.id)
        unclear_since: float | None = None
        while found is None:
            try:
                await self.policy.ask(self.prepare, may_ask_again=is_met(self.api))
                async with self.line.turn():
                    return await self.policy.ask(
                        self._send, may_ask_again=_is_refused, progress=lambda: self.line.waits
                    )
            except BudgetExceededError as error:
                assert self.budget is not None  # noqa: S101 - for the type checker: it raised this
                await self.budget.request_approval(error)
            except _UnclearError as unclear:
                found = await self._find_after(unclear.error)
                if found is None and unclear_since is not None:
                    self._require_patience(unclear_since, unclear.error)
                unclear_since = unclear_since or time.monotonic()
            except (ServiceUnavailableError, ProtocolError) as error:
                if unclear_since is None:
                    raise _not_submitted(error) from error
                raise
        return JobSubmitted(id=found.id, backend=found.backend, replayed=not self.is_first)

    def _require_patience(self, since: float, error: QiskitRuntimeError) -> None:
        """Raise if requests have had unclear outcomes for longer than one may be retried."""
        if time.monotonic() - since < self.policy.deadline_seconds:
            return
        raise SubmissionUnclearError(
            f"{error} Since the first such answer, no request to submit this job had a clear"
            f" outcome, and no job with the tag {self.name} was found at {self.api.url} within"
            f" {self.settings.submission_grace_seconds:g} s after the last one. The job is not"
            " sent again. Run again later: the tag is searched for first.",
            tag=self.name,
        ) from error

    async def _send(self) -> JobSubmitted:
        """Send the request; record the intent before it, and a refusal after it.

        Raises:
            _UnclearError: The request may have made a job. All other errors are of queries before
                it, or of a request that certainly made none.
        """
        if self.budget is not None:
            await self.budget.require()
        async with self.line.place():
            await self.require_not_cancelled()
            intent = {"intended_at": time.time(), "estimate": self.preparation.get("estimate")}
            if self.identity is not None:
                await EarlierRuns.from_identity(self.identity).note()
            await self._record("intent", intent)
            try:
                submitted = await self.post()
            except QiskitRuntimeError as error:
                if not _is_without_effect(error):
                    raise _UnclearError(error) from error
                await self._record("refusal", intent)
                raise
        if self.budget is not None:
            self.budget.note(submitted.id)
        await self._record_job(submitted.id)
        return submitted

    async def settle_twins(self) -> JobInfo | None:
        """Return the oldest job of the name, and cancel the twins that other processes made."""
        listed = await self.policy.ask(
            lambda: self.api.list_jobs(tags=[self.name], oldest_first=True)
        )
        jobs = [job for job in listed if job.may_have_tag(self.name)]
        for twin in jobs[1:]:
            if not twin.state.status.is_terminal:
                logger_here().warning(
                    "Job %s is a twin of job %s (tag %s) and is cancelled.",
                    twin.id,
                    jobs[0].id,
                    self.name,
                )
                await cancel_quietly(self.api, twin.id)
        return jobs[0] if jobs else None

    async def _find_earlier(self) -> JobInfo | None:
        """Search for the job that an earlier call may have submitted."""
        intent, refusal = await self._read("intent"), await self._read("refusal")
        if intent is not None and intent.get("estimate") is not None:
            self.preparation.setdefault("estimate", intent["estimate"])
        found = await self.settle_twins()
        if found is not None:
            return found
        posted = await self._read("job")
        if posted is not None:
            return await self._find_posted(posted, intent)
        if intent is not None and intent != refusal:
            # A process died between the request and the reply, or the job is still hidden.
            until = intent["intended_at"] + self.settings.submission_grace_seconds
            logger_here().warning(
                "An earlier run sent a job (tag %s) and received no reply: searching for the job.",
                self.name,
            )
            return await self._look_until(time.monotonic() + max(0.0, until - time.time()), None)
        return await self._find_hidden()

    async def _find_posted(
        self, posted: dict[str, Any], intent: dict[str, Any] | None
    ) -> JobInfo | None:
        """Return a job that certainly existed and is not found by its tag.

        Raises:
            NotFoundError: The job was deleted.
        """
        job_id = posted["job_id"]
        try:
            return await self.policy.ask(lambda: self.api.get_job(job_id))
        except NotFoundError as error:
            if error.kind not in ("job", DELETED_JOB) or error.identifier != job_id:
                raise
            # A job that was made a moment ago may be hidden from this question as well.
            made_at = 0.0 if intent is None else intent["intended_at"]
            left_seconds = made_at + self.settings.submission_grace_seconds - time.time()
            found = None
            if error.kind != DELETED_JOB and left_seconds > 0:
                found = await self._search_until(time.monotonic() + left_seconds)
            if found is None:
                raise deleted_job(job_id) from error
            return found

    async def _find_hidden(self) -> JobInfo | None:
        """Search for a job that an earlier run may have sent from another machine."""
        grace_seconds = self.settings.submission_grace_seconds
        if self.identity is None:
            return None
        left_seconds = await EarlierRuns.from_identity(self.identity).hidden_for_seconds(
            grace_seconds
        )
        if left_seconds <= 0:
            return None
        logger_here().warning(
            "The records of an earlier run are not in this result storage: searching for a job that"
            " it may have sent (tag %s), for at most %.0f s.",
            self.name,
            left_seconds,
        )
        return await self._search_until(time.monotonic() + left_seconds)

    async def _find_after(self, error: QiskitRuntimeError) -> JobInfo | None:
        """Search for the job of a request with an unclear outcome; None if it may be sent again."""
        logger_here().warning("%s The request may have made a job: searching for it.", error)
        until = time.monotonic() + self.settings.submission_grace_seconds
        return await self._look_until(until, error)

    async def _look_until(self, until: float, error: QiskitRuntimeError | None) -> JobInfo | None:
        found = await self._search_until(until)
        if found is None and self.settings.unclear_submission == "hold":
            raise SubmissionUnclearError(
                f"A job was sent to {self.api.url} and no reply came. No job with the tag"
                f" {self.name} was found within {self.settings.submission_grace_seconds:g} s. The"
                " job is not sent again, because PREFECT_QISKIT_RUNTIME_UNCLEAR_SUBMISSION is hold."
                " Look for the tag in the service, or run again to search once more.",
                tag=self.name,
            ) from error
        return found

    async def _search_until(self, until: float) -> JobInfo | None:
        pause_seconds = min(1.0, self.settings.submission_grace_seconds / 4)
        while True:
            found = await self.settle_twins()
            left_seconds = until - time.monotonic()
            if found is not None or left_seconds <= 0:
                return found
            jittered = pause_seconds * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            await asyncio.sleep(min(left_seconds, jittered))
            pause_seconds = min(_LONGEST_PAUSE_SECONDS, 2 * pause_seconds)

    async def _record_job(self, job_id: str) -> None:
        """Record the job, so that a later process does not send it again once it was deleted."""
        if self.identity is not None:
            await self.identity.records.try_write(f"job-{self.name}", {"job_id": job_id})

    async def _read(self, kind: str) -> dict[str, Any] | None:
        if self.identity is None:
            return None
        return await self.identity.records.read(f"{kind}-{self.name}")

    async def _record(self, kind: str, record: dict[str, Any]) -> None:
        if self.identity is not None:
            await self.identity.records.write(f"{kind}-{self.name}", record)


def _is_refused(error: QiskitRuntimeError) -> bool:
    """Return whether the service or its login refused a request for now; it made no job."""
    return is_retryable(error) and was_connected(error) and _is_without_effect(error)


def _not_submitted(error: QiskitRuntimeError) -> QiskitRuntimeError:
    """Return an error whose message adds that no job was made."""
    clearer = copy.copy(error)
    clearer.args = (f"{error} The job was not submitted.",)
    return clearer


def _is_without_effect(error: QiskitRuntimeError) -> bool:
    """Return whether a request certainly made no job: it was refused or never sent.

    After a lost reply or a status of 500 and above, a job may exist, whatever the code.
    """
    if isinstance(error, RateLimitedError) or not was_sent(error):
        return True
    return not isinstance(error, ServiceUnavailableError | ProtocolError)
