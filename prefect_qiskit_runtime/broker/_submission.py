"""One request of a program, from submission to result, billed once.

IBM's service has no idempotency keys, so each job has a tag. A job with the tag is searched for
before any request that is not provably the first, and after one with an unclear outcome.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TypeVar

from prefect_qiskit_runtime.broker._journal import Journal, Submission
from prefect_qiskit_runtime.broker._line import BrokerLine, is_for_the_line
from prefect_qiskit_runtime.broker._session import HardwareSession
from prefect_qiskit_runtime.client import (
    IbmApi,
    explain_deletion,
    job_error,
    read_error,
    read_result,
    was_sent,
)
from prefect_qiskit_runtime.errors import (
    ConflictError,
    DecodingError,
    ProtocolError,
    QiskitRuntimeError,
    RateLimitedError,
    ServiceUnavailableError,
    SubmissionUnclearError,
    is_retryable,
)
from prefect_qiskit_runtime.models import (
    EndEvent,
    JobInfo,
    JobState,
    JobStatus,
    NextStep,
    RuntimeOptions,
    next_step,
)
from prefect_qiskit_runtime.settings import Settings

logger = logging.getLogger(__name__)

T = TypeVar("T")

_REPORT_SECONDS = 10.0
"""How long before the program's time limit a wait ends."""

_ATTEMPTS = 3
_REFUSED_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 15.0
_LEAVE_SECONDS = 10.0
_UNCLEAR_SECONDS = 600.0


@dataclass(frozen=True)
class Asked:
    """The request of a program.

    Attributes:
        primitive: The program at IBM: "sampler" or "estimator".
        fingerprint: The same for equal requests.
        params_text: The inputs, encoded.
    """

    primitive: str
    fingerprint: str
    params_text: str


@dataclass(frozen=True)
class Patience:
    """How long a request of a program may wait until a job exists for it.

    The service ends a program at its time limit. The wait ends a little earlier, so that the
    program's job reports what it was waiting for.

    Attributes:
        ends_at: The end, by `time.monotonic`.
        limit_seconds: The time limit of the program.
    """

    ends_at: float
    limit_seconds: int

    @classmethod
    def within(cls, limit_seconds: int) -> Patience:
        """Return the patience of a program that starts now."""
        kept_seconds = min(_REPORT_SECONDS, limit_seconds / 2)
        return cls(time.monotonic() + limit_seconds - kept_seconds, limit_seconds)


@dataclass(frozen=True)
class Account:
    """The account, device and session for which jobs are submitted.

    Attributes:
        api: IBM's service, logged in.
        backend: The device.
        label: The tag that all these jobs share.
        journal: The record of earlier submissions.
        session: The session of the jobs.
        line: The queue in which each submission waits for its turn.
        settings: The settings, such as the handling of unclear outcomes.
        patience: How long a request may wait until a job exists for it.
        note: Writes a sentence into the log of the program's job.
    """

    api: IbmApi
    backend: str
    label: str
    journal: Journal
    session: HardwareSession
    line: BrokerLine
    settings: Settings
    patience: Patience
    note: Callable[[str], object]


class _NoJobError(Exception):
    """A submission was refused, or had no answer.

    Attributes:
        why: The error.
        session_id: The session that it was sent to, if any.
    """

    def __init__(self, why: QiskitRuntimeError, session_id: str | None) -> None:
        super().__init__(str(why))
        self.why = why
        self.session_id = session_id


class HardwareCall:
    """Takes one request to its result. `leave` may be called after `result` was cancelled.

    Attributes:
        job_id: The job whose end is awaited; None before it exists.
    """

    def __init__(self, account: Account, asked: Asked) -> None:
        self._account = account
        self._asked = asked
        self._post: asyncio.Task[str] | None = None
        self._waiting_for = ""
        self._refusal = ""
        self._reported: set[str] = set()
        self.job_id: str | None = None

    async def result(self) -> bytes:
        """Return the encoded result.

        Raises:
            JobError: The job has ended without a result, and is not sent again.
            HardwareBudgetError: The time is used up; nothing was submitted.
            NotFoundError: The job was deleted; it is not sent again.
        """
        submission, diverged = self._account.journal.take(self._asked.fingerprint)
        if diverged:
            logger.warning(
                "%s requests different circuits than its earlier attempt: these will be billed.",
                self._account.label,
            )
        own_jobs = 0
        while True:
            found = await self._find_earlier(submission)
            own_jobs += found is None
            self.job_id = found or await self._submit(submission)
            with explain_deletion(self.job_id, " for this evaluation."):
                state = await self._end_of(self.job_id)
                if state.status is JobStatus.COMPLETED:
                    text, _ = await read_result(
                        self._account.api, self.job_id, _require_json, is_sent_once=False
                    )
                    return text.encode()
            if found is None and not await self._may_follow(state, own_jobs):
                raise await self._error(self.job_id)
            logger.warning(
                "Job %s on %s has ended without a result (%s); it is submitted again.",
                self.job_id,
                self._account.backend,
                state.reason or state.status.value,
            )
            self.job_id = None
            submission = self._account.journal.again(submission)

    async def leave(self, *, cancel: bool) -> None:
        """Cancel the job, or keep it for the next attempt, after any request in progress."""
        if self._post is not None and self.job_id is None:
            await asyncio.wait({self._post}, timeout=_LEAVE_SECONDS)
            if self._post.done() and not self._post.exception():
                self.job_id = self._post.result()
        if cancel and self.job_id is not None:
            try:
                with suppress(ConflictError):  # it has ended
                    await self._account.api.cancel_job(self.job_id)
            except QiskitRuntimeError as exc:
                logger.warning("Job %s may still run: not cancelled: %s", self.job_id, exc)

    async def _find_earlier(self, submission: Submission) -> str | None:
        """Return the job of a submission if an earlier attempt has sent it."""
        if submission.job_id is not None:
            return submission.job_id
        if submission.intended_at is None:
            return None
        grace_seconds = self._account.settings.submission_grace_seconds
        left_seconds = submission.intended_at + grace_seconds - time.time()
        return await self._look_for(submission, max(0.0, left_seconds), None)

    async def _look_for(
        self, submission: Submission, seconds: float, error: QiskitRuntimeError | None
    ) -> str | None:
        """Search for a job by its tag; None if it is not found and may be sent (again)."""
        until = time.monotonic() + seconds
        pause_seconds = min(1.0, seconds / 4)
        while True:
            jobs = await self._tagged(submission)
            if jobs:
                self._note_job(submission, jobs[0].id, jobs[0].session_id)
                return jobs[0].id
            left_seconds = until - time.monotonic()
            if left_seconds <= 0:
                break
            jittered = pause_seconds * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            await asyncio.sleep(min(left_seconds, jittered))
            pause_seconds = min(_LONGEST_PAUSE_SECONDS, 2 * pause_seconds)
        if self._account.settings.unclear_submission == "hold":
            raise SubmissionUnclearError(
                f"A job was sent to {self._account.api.url} and no answer came; none with the tag"
                f" {submission.tag} was found. It is not sent again, because"
                " PREFECT_QISKIT_RUNTIME_UNCLEAR_SUBMISSION of the service is hold.",
                tag=submission.tag,
            ) from error
        return None

    async def _tagged(self, submission: Submission) -> list[JobInfo]:
        """Return the jobs of a submission, the oldest first."""
        listed = await self._account.api.list_jobs(tags=[submission.tag], oldest_first=True)
        return [job for job in listed if job.may_have_tag(submission.tag)]

    async def _submit(self, submission: Submission) -> str:
        """Send a request until exactly one job exists for it."""
        unclear_since: float | None = None
        while True:
            try:
                job_id = await self._send_in_turn(submission)
            except _NoJobError as exc:
                if not _is_unclear(exc.why):
                    self._account.journal.refused(submission)
                    await self._in_time(self._wait_after(exc))
                    continue
                seconds = self._account.settings.submission_grace_seconds
                if found := await self._look_for(submission, seconds, exc.why):
                    return found
                if unclear_since is None:
                    unclear_since = time.monotonic()
                else:
                    self._require_patience(submission, unclear_since, exc.why)
            else:
                return job_id if unclear_since is None else await self._oldest(submission, job_id)

    def _require_patience(
        self, submission: Submission, since: float, error: QiskitRuntimeError
    ) -> None:
        """Raise if requests have had unclear outcomes for too long."""
        if time.monotonic() - since < _UNCLEAR_SECONDS:
            return
        raise SubmissionUnclearError(
            f"{error} Since the first such answer, no request to submit this job had a clear"
            f" outcome, and no job with the tag {submission.tag} was found at"
            f" {self._account.api.url}. It is not sent again.",
            tag=submission.tag,
        ) from error

    async def _send_in_turn(self, submission: Submission) -> str:
        """Send a request once, when the limits of the account allow it.

        Raises:
            _NoJobError: It was refused, or had no answer.
        """
        async with AsyncExitStack() as turn:
            place = self._account.line.turn(self._report_wait)
            sending = await self._in_time(turn.enter_async_context(place))
            session_id, limit = await self._account.session.enter()
            self._account.journal.intend(submission)
            self._post = asyncio.ensure_future(self._send(submission, session_id, limit))
            try:
                return await asyncio.shield(self._post)
            except QiskitRuntimeError as exc:
                await sending.note(exc)
                raise _NoJobError(exc, session_id) from exc

    async def _in_time(self, wait: Awaitable[T]) -> T:
        """Wait for a turn, or after a refusal, until shortly before the program's time limit.

        Raises:
            ServiceUnavailableError: The time is over; the message says what was waited for.
        """
        patience = self._account.patience
        left_seconds = max(0.0, patience.ends_at - time.monotonic())
        try:
            async with asyncio.timeout(left_seconds):
                return await wait
        except TimeoutError as exc:
            reasons = [one for one in (self._refusal, self._waiting_for) if one]
            why = " ".join(reasons) or "Other submissions to this instance came first."
            raise ServiceUnavailableError(
                f"No job was submitted to {self._account.backend} before the time limit of the"
                f" program (max_execution_time={patience.limit_seconds} s) was nearly over. It was"
                f" waiting because of this: {why} Run the program again later, or with a higher"
                " max_execution_time."
            ) from exc

    def _report_wait(self, why: str) -> None:
        """Write why a submission waits into the logs, once for each reason."""
        if why not in self._reported:
            self._reported.add(why)
            self._account.note(f"Waiting to submit a job to {self._account.backend}: {why}")
            logger.info("%s waits: %s", self._account.label, why)
        self._waiting_for = "" if why == self._refusal else why

    async def _oldest(self, submission: Submission, job_id: str) -> str:
        """Return the oldest job with the tag, in case an earlier request created one after all."""
        jobs = await self._tagged(submission)
        for twin in jobs[1:]:
            if not twin.state.status.is_terminal:
                logger.warning("Job %s is a twin of %s: it is cancelled.", twin.id, jobs[0].id)
                with suppress(QiskitRuntimeError):
                    await self._account.api.cancel_job(twin.id)
        if not jobs:
            return job_id
        self._note_job(submission, jobs[0].id, jobs[0].session_id)
        return jobs[0].id

    def _note_job(self, submission: Submission, job_id: str, session_id: str | None) -> None:
        self._account.journal.submitted(submission, job_id, is_single=session_id is None)

    async def _send(self, submission: Submission, session_id: str | None, limit: int | None) -> str:
        submitted = await self._account.api.submit_job(
            self._asked.primitive,
            self._asked.params_text,
            backend=self._account.backend,
            options=RuntimeOptions(
                session_id=session_id,
                tags=(self._account.label, submission.tag),
                max_execution_time=limit,
            ),
        )
        # Recorded before any cancellation, so that the next attempt finds the job by its id.
        self._note_job(submission, submitted.id, session_id)
        logger.info("Job %s submitted to %s", submitted.id, self._account.backend)
        return submitted.id

    async def _wait_after(self, refused: _NoJobError) -> None:
        """Wait until a refused submission can be sent again.

        Raises:
            QiskitRuntimeError: The refusal is final.
        """
        refusal = refused.why
        if isinstance(refusal, ConflictError) and refused.session_id is not None:
            session = await self._account.api.get_session(refused.session_id)
            if session.takes_jobs:
                raise refusal
            await self._account.session.lapsed(refused.session_id)
            return
        self._refusal = f"A submission was refused for now: {refusal}"
        if is_for_the_line(refusal):
            self._report_wait(self._refusal)
            return
        if not is_retryable(refusal) and next_step(refusal.code) is not NextStep.WAIT:
            raise refusal
        self._report_wait(self._refusal)
        pause_seconds = refusal.retry_after_seconds or _REFUSED_PAUSE_SECONDS
        await asyncio.sleep(pause_seconds * random.uniform(1.0, 1.1))  # noqa: S311 - jitter

    async def _end_of(self, job_id: str) -> JobState:
        async for event in self._account.api.stream(job_id):
            if isinstance(event, EndEvent):
                return event.state
        raise ProtocolError(f"The stream of states of job {job_id} ended without a final state.")

    async def _may_follow(self, state: JobState, jobs: int) -> bool:
        """Return whether another job may follow one that ended during this attempt."""
        step = next_step(state.reason_code)
        if step is NextStep.NEW_SESSION and self._account.session.session_id is not None:
            await self._account.session.lapsed(self._account.session.session_id)
        if step is NextStep.SEND_AGAIN_ONCE:
            return jobs < 2
        return (step.sends_again or step is NextStep.NEW_SESSION) and jobs < _ATTEMPTS

    async def _error(self, job_id: str) -> QiskitRuntimeError:
        info: JobInfo = await self._account.api.get_job(job_id)
        return job_error(info, await read_error(self._account.api, job_id), None)


def _require_json(text: str) -> None:
    """Raise if a result is damaged; the program decodes it later.

    Raises:
        DecodingError: It is not JSON.
    """
    try:
        json.loads(text)
    except ValueError as exc:
        raise DecodingError(f"The result ({len(text)} characters) is not JSON: {exc}.") from exc


def _is_unclear(error: QiskitRuntimeError) -> bool:
    """Return whether an unanswered request may have created a job."""
    if isinstance(error, RateLimitedError) or not was_sent(error):
        return False
    return isinstance(error, ServiceUnavailableError | ProtocolError)
