"""Submission: one job for each attempt of an evaluation, found again instead of made twice.

A call inside a flow run has a name that stays the same when the flow runs again. The service makes
one job under that name, however often it is asked. When the call is repeated, it attaches to the
job and continues with the interim results where it had stopped.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from prefect_qiskit_runtime.client import RuntimeApi, settings_of_environment
from prefect_qiskit_runtime.codec import Decoders
from prefect_qiskit_runtime.errors import (
    DELETED_JOB,
    JobCancelledError,
    JobError,
    NotFoundError,
    QiskitRuntimeError,
    SessionClosedError,
)
from prefect_qiskit_runtime.evaluation.budget import Budget, HardwareBudget
from prefect_qiskit_runtime.evaluation.checkpoints import Checkpoints
from prefect_qiskit_runtime.evaluation.identity import Identity
from prefect_qiskit_runtime.evaluation.placement import Placement
from prefect_qiskit_runtime.evaluation.request import Request
from prefect_qiskit_runtime.evaluation.submission_line import SubmissionLine
from prefect_qiskit_runtime.evaluation.tagged_submission import TaggedSubmission
from prefect_qiskit_runtime.flow_run.cancelled import require_not_cancelled
from prefect_qiskit_runtime.flow_run.events import send_job_event
from prefect_qiskit_runtime.flow_run.lineage import has_seen_end, note_job
from prefect_qiskit_runtime.flow_run.logger import logger_here
from prefect_qiskit_runtime.following.callbacks import (
    Cursor,
    InterimCallback,
    InterimDelivery,
    keep_cursor_saved,
    load_cursor,
)
from prefect_qiskit_runtime.following.following import (
    CANCEL_SECONDS,
    cancel_quietly,
    cancel_with_caller,
    deleted_job,
    deletion_explained,
    fetch_job_error,
    fetch_result,
    follow,
)
from prefect_qiskit_runtime.models import (
    PRIMITIVES,
    JobInfo,
    JobStatus,
    JobSubmitted,
    NextStep,
    RuntimeOptions,
    next_step,
)
from prefect_qiskit_runtime.records.provenance import Sent
from prefect_qiskit_runtime.records.summaries import job_summaries
from prefect_qiskit_runtime.submission.retrying import RetryPolicy, is_met
from prefect_qiskit_runtime.twins.clean_up import cleaned_up


def log_submitted(submitted: JobSubmitted, request: Request) -> None:
    """Log which job was submitted, and the service's messages about it."""
    logger = logger_here()
    logger.info(
        "Job %s of program %s submitted to %s (%s service).",
        submitted.id,
        request.program_id,
        submitted.backend,
        request.backend.service,
    )
    for message in submitted.messages:
        logger.warning("Job %s: %s", submitted.id, message.get("data"))


def warn_about_shared_job(job_id: str) -> None:
    """Warn that calls may share a job: equal calls are counted only within a process."""
    logger_here().warning(
        "Job %s already exists: an equal call in another process of this flow run has"
        " submitted it, or the reply to this call was lost. Equal calls share its result. If"
        " they are separate evaluations, give them different seeds or inputs, or each its own"
        " durable_key.",
        job_id,
    )


_sent: set[str] = set()  # names of the attempts that this process has submitted or found


@dataclass(frozen=True)
class AttachPolicy:
    """Which existing jobs an evaluation attaches to.

    Attributes:
        attempts_over: Number of attempts that are known to be unusable; the search starts with
            the attempt after them.
        is_good: Returns whether a job can be used; a job that cannot is followed by the next
            attempt.
        is_shared: Whether independent callers share a job: each gets all interim results, and
            submits the job again if it was cancelled together with another caller.
        replaces_deleted: Whether the deleted job of another caller is followed by the next attempt.
            The deleted job of a call that is repeated never is.
    """

    attempts_over: int = 0
    is_good: Callable[[JobInfo], bool] = lambda _: True
    is_shared: bool = False
    replaces_deleted: bool = False


class Evaluation:
    """One call and the result it stands for: its job is submitted, followed and sent again.

    The evaluation attaches to an existing job unless the job is dead. A job that failed or was
    cancelled before this flow run was last started, or that ran an older version of the program,
    is followed by the next attempt. A job that this flow run has seen fail is sent again only if
    the reason of its failure allows it.

    Attributes:
        job_id: The job of the last attempt.
        attempt: The number of that attempt, from 1.
        encoded: The result as the job sent it.
        placement: The backend and the inputs of the job.
    """

    def __init__(
        self,
        api: RuntimeApi,
        request: Request,
        placement: Placement,
        identity: Identity | None,
        attach_policy: AttachPolicy,
    ) -> None:
        self._api = api
        self._request = request
        self.placement = placement
        self._identity = identity
        self._policy = RetryPolicy.from_options(request.options)
        self._attach_policy = attach_policy
        self.attempt = attach_policy.attempts_over
        self.job_id = ""
        self.encoded: str | None = None
        self._jobs = 0
        self._sessions = 0
        self._session_id: str | None = None
        self._job_ids: list[str] = []
        self._found: JobInfo | None = None
        self._twins: TaggedSubmission | None = None
        self._budget: Budget | None = None
        self._checkpoints = Checkpoints(api, request.program_id)
        self._own_name = f"pqr-{secrets.token_hex(12)}"
        self._hardware_budget = HardwareBudget(api, request.backend, self._hardware_key)

    @classmethod
    async def from_request(
        cls, api: RuntimeApi, request: Request, attach_policy: AttachPolicy | None = None
    ) -> Evaluation:
        """Encode the inputs of a request and name its evaluation.

        Args:
            api: The service.
            request: The request of the call.
            attach_policy: Which existing jobs are used; by default, all that are not dead.

        Raises:
            EncodingError: An input cannot be encoded; the error names its path.
        """
        placement = await Placement.from_request(api, request)
        identity = await Identity.from_request(request)
        evaluation = cls(api, request, placement, identity, attach_policy or AttachPolicy())
        evaluation._budget = Budget.from_request(api, evaluation._policy, request, placement.record)
        await evaluation._hardware_budget.apply()
        return evaluation

    async def submit(self) -> str:
        """Find or submit the job of the first attempt that is not dead, and return its id.

        Raises:
            NotFoundError: The program or the backend does not exist, or the job of this call was
                deleted: its `kind` is then "deleted_job", and no other job is submitted.
            InvalidInputError: The inputs break the program's schema.
        """
        with self._give_back_if_unclear():
            return await self._submit()

    async def _submit(self) -> str:
        while True:
            self.attempt += 1
            if self._job_ids:  # the last one belongs to the previous attempt
                await self._policy.ask(lambda: self._checkpoints.take_over(self._job_ids[-1]))
            is_own = self._key in _sent
            try:
                submitted = await self._place_on_any_backend()
            except NotFoundError as error:
                if error.kind != DELETED_JOB or error.identifier is None:
                    raise
                if self._attach_policy.replaces_deleted and not is_own:
                    continue
                raise deleted_job(error.identifier) from error
            self._job_ids.append(submitted.id)
            if not submitted.replayed:
                self._found = None
                await self._hardware_budget.note_sent()
                break
            with deletion_explained(submitted.id):
                info = await self._policy.ask(lambda: self._api.get_job(submitted.id))  # noqa: B023
            if await self._is_usable(info):
                self._found = info
                send_job_event("adopted", info.id, self._about())
                logger_here().info("Attached to job %s, which %s.", info.id, self._whose(info))
                break
        self._jobs += 1
        self.job_id = submitted.id
        note_job(submitted.id)
        return submitted.id

    async def result(self, callback: InterimCallback | None, decoders: Decoders) -> Any:
        """Return the decoded result, and pass the interim results to the callback on the way.

        Raises:
            JobError: The job ended without a result and is not sent again.
        """
        with self._give_back_if_unclear():
            while True:
                job_id = await self._submit()
                try:
                    return await self._result_of(job_id, callback, decoders)
                except JobError as error:
                    if self._was_cancelled_by_another(error):
                        logger_here().warning("%s Another call had submitted it.", error)
                        continue
                    if next_step(error.reason_code) is NextStep.NEW_SESSION and (
                        await self._reopen_session(error)
                    ):
                        continue
                    if await self._hardware_budget.request_extension(error):
                        self._jobs -= 1  # a used-up budget is not a failed attempt
                        continue
                    if not await self._sends_again(error, self._jobs, self.backend_name):
                        raise
                    pause_seconds = self._policy.pause_seconds(self._jobs)
                    logger_here().warning("%s It is sent again in %.1f s.", error, pause_seconds)
                await asyncio.sleep(pause_seconds)

    async def _sends_again(self, error: JobError, submitted: int, backend_name: str) -> bool:
        """Return whether a job is sent again after this many, perhaps changed."""
        step, may_follow = next_step(error.reason_code), submitted < self._policy.attempts
        if step is NextStep.OTHER_BACKEND:
            return may_follow and await self.placement.leave(backend_name)
        if step is NextStep.TRANSPILE_AGAIN:
            return may_follow and self.placement.transpile_again(backend_name)
        return self._policy.sends_again(error, submitted)

    def _was_cancelled_by_another(self, error: JobError) -> bool:
        """Return whether another caller's job, which this call had joined, was cancelled."""
        task = asyncio.current_task()
        if (
            not self._attach_policy.is_shared
            or self._found is None
            or not isinstance(error, JobCancelledError)
            or (task is not None and task.cancelling())  # the flow run of this call is ending
        ):
            return False
        own = () if self._identity is None else self._identity.lineage.tags
        return not set(own) & set(self._found.tags)

    @contextmanager
    def _give_back_if_unclear(self) -> Iterator[None]:
        """Let the next equal call use the job if this call stops before the job has ended."""
        try:
            yield
        except JobError:
            raise
        except BaseException:
            if self._identity is not None:
                self._identity.give_back()
            raise

    @property
    def _key(self) -> str:
        """Name of the current attempt; a call that cannot be repeated has a random name."""
        if self._identity is None:
            return f"{self._own_name}-{self.attempt}"
        return self._identity.key(self.attempt)

    @property
    def _hardware_key(self) -> str:
        """Name of the evaluation, the same for all attempts."""
        return self._own_name if self._identity is None else self._identity.key(0)

    async def _place_on_any_backend(self) -> JobSubmitted:
        """Find or submit the job of an attempt, changed if its backend refuses it for good."""
        while True:
            try:
                return await self._place()
            except QiskitRuntimeError as error:
                step, name = next_step(error.code), self.placement.name
                if step is NextStep.OTHER_BACKEND and await self.placement.leave(name):
                    continue
                if step is NextStep.TRANSPILE_AGAIN and self.placement.transpile_again(name):
                    continue
                raise

    async def _place(self) -> JobSubmitted:
        """Find or submit the job of an attempt."""
        is_first = self._identity is None or (
            self._identity.lineage.is_first and self._key not in _sent
        )
        _sent.add(self._key)
        submitted = await self._ask_for_job(is_first=is_first)
        if not submitted.replayed:
            log_submitted(submitted, self._request)
            send_job_event("submitted", submitted.id, self._about())
        return submitted

    async def _ask_for_job(self, *, is_first: bool) -> JobSubmitted:
        """Find or submit the job, in another session if the service has closed the current one."""
        while True:
            try:
                return await self._ask_once(is_first=is_first)
            except SessionClosedError as error:
                if not await self._reopen_session(error):
                    raise

    async def _reopen_session(self, error: QiskitRuntimeError) -> bool:
        session, closed_id = self._request.session, self._session_id
        if session is None or closed_id is None or self._sessions >= self._policy.attempts:
            return False
        self._sessions += 1
        if not await session.areopened(closed_id):
            return False
        logger_here().warning("%s The call continues in session %s.", error, session.session_id)
        return True

    async def _ask_once(self, *, is_first: bool) -> JobSubmitted:
        if self._api.kind.is_keyed:
            may_ask_again = is_met(self._api)
            await self._policy.ask(self.placement.settle, may_ask_again=may_ask_again)
            submitted = await self._policy.ask(
                self._post_unless_cancelled, may_ask_again=may_ask_again
            )
            identity = self._identity
            if submitted.replayed and is_first and identity and identity.lineage.is_elsewhere:
                warn_about_shared_job(submitted.id)
            # If the request was repeated after a lost reply, the job is still new for this call.
            replayed = submitted.replayed and not is_first
            return submitted.model_copy(update={"replayed": replayed})
        tagged = self._tagged(is_first=is_first)
        submitted = await tagged.submit()
        self._twins = None if is_first else tagged
        return submitted

    async def _require_not_cancelled(self) -> None:
        """End this run if a flow run around it was cancelled, before a job is submitted."""
        lineage = None if self._identity is None else self._identity.lineage
        await require_not_cancelled(lineage, look_again=bool(self._job_ids))

    async def _post_unless_cancelled(self) -> JobSubmitted:
        await self._require_not_cancelled()
        return await self._post()

    @property
    def backend_name(self) -> str:
        """The backend of the job of the current attempt."""
        return self.placement.name if self._found is None else self._found.backend

    @property
    def sent(self) -> Sent:
        """The request of the current attempt, for its provenance."""
        sent = Sent.from_submission(
            self._request.program_id,
            self._request.inputs,
            self._request.options,
            key=self._key,
            job_ids=self._job_ids,
            attempt=self.attempt,
        )
        is_billed = self._request.backend.kind.is_billed
        estimate = self.placement.record.get("estimate", {}) if is_billed else {}
        return replace(sent, estimated_quantum_seconds=estimate.get("quantum_seconds"))

    @property
    def _is_private(self) -> bool:
        """Whether the result of the job can be read only once."""
        if self._found is not None:
            return self._found.private
        return bool(self._request.options.private)

    def _about(self) -> dict[str, str]:
        """Event labels of the job of the current attempt."""
        backend = self._request.backend
        return {
            "backend": self.placement.name,
            "service": backend.service,
            "program-id": self._request.program_id,
            "attempt": str(self.attempt),
            "key": self._key,
        }

    def _tagged(self, *, is_first: bool) -> TaggedSubmission:
        return TaggedSubmission(
            api=self._api,
            name=self._key,
            prepare=self.placement.settle,
            require_not_cancelled=self._require_not_cancelled,
            preparation=self.placement.record,
            post=self._post,
            is_first=is_first,
            identity=self._identity,
            policy=self._policy,
            settings=settings_of_environment(),
            line=SubmissionLine(self._api, self._policy),
            budget=self._budget,
        )

    async def _post(self) -> JobSubmitted:
        """Submit a job.

        If the caller is cancelled while the request is under way, the reply is awaited and the job
        is cancelled, so that no unknown job stays behind.
        """
        identity = self._identity
        params_text = await self._checkpoints.add_to(self.placement.params_text)
        submitting = asyncio.ensure_future(
            self._api.submit_job(
                self._request.program_id,
                params_text,
                backend=self.placement.name,
                options=self._tagged_options(),
                idempotency_key=self._key,
                fingerprint=None if identity is None else identity.fingerprint,
                attempt=self.attempt,
                hardware_key=self._hardware_key,
                hardware_label=None if identity is None else identity.lineage.tag,
            )
        )
        try:
            return await asyncio.shield(submitting)
        except asyncio.CancelledError:
            await cleaned_up(self._cancel_submitted(submitting), CANCEL_SECONDS)
            raise

    async def _cancel_submitted(self, submitting: Awaitable[JobSubmitted]) -> None:
        with suppress(QiskitRuntimeError):
            await cancel_quietly(self._api, (await submitting).id)

    def _tagged_options(self) -> RuntimeOptions:
        """Return the options with the tags by which other processes find the job."""
        tags = list(self._request.options.tags)
        if self._identity is not None:
            tags += self._identity.lineage.tags
        if not self._api.kind.is_keyed:
            tags.append(self._key)
        changes: dict[str, Any] = {"tags": tuple(dict.fromkeys(tags))}
        if self._request.session is not None:
            self._session_id = changes["session_id"] = self._request.session.session_id
        return self._request.options.model_copy(update=changes)

    async def _is_usable(self, found: JobInfo) -> bool:
        if not await self._is_current(found):
            logger_here().info("Job %s ran an older version of the program.", found.id)
            return False
        if not self._attach_policy.is_good(found):
            return False
        if found.state.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
            return True
        if not has_seen_end(found.id):
            logger_here().info(
                "Job %s of an earlier run ended without a result (%s).",
                found.id,
                found.state.reason or found.state.status.value,
            )
            if next_step(found.state.reason_code) is NextStep.OTHER_BACKEND:
                await self.placement.leave(found.backend)
            return False
        error = await self._policy.ask(lambda: fetch_job_error(self._api, found.id))
        return error is None or not await self._sends_again(error, self._jobs + 1, found.backend)

    async def _is_current(self, found: JobInfo) -> bool:
        """Say whether a job runs the version of the program that a new one would run."""
        if found.program.version is None or found.program.id in PRIMITIVES:
            return True
        try:
            program = await self._policy.ask(lambda: self._api.get_program(found.program.id))
        except NotFoundError:  # deleted since: only its job is left
            return True
        return program.version == found.program.version

    async def _result_of(
        self, job_id: str, callback: InterimCallback | None, decoders: Decoders
    ) -> Any:
        api, identity = self._api, self._identity
        job_id = await self._without_twins(job_id)
        cursor = Cursor()
        name = self._cursor_name
        if (
            identity is not None
            and name is not None
            and callback is not None
            and self._may_have_delivered
        ):
            cursor = await load_cursor(identity.records, name)
        delivery = InterimDelivery(job_id, callback, decoders, cursor)
        async with (
            job_summaries(api, self._request.backend.with_name(self.backend_name)) as summarise,
            cancel_with_caller(
                api,
                job_id,
                None if identity is None else identity.lineage,
                on_cancelled=lambda: summarise(job_id, self.sent),
            ),
            keep_cursor_saved(identity and identity.records, name, job_id, delivery),
        ):
            end = await self._policy.ask(
                lambda: follow(api, job_id, delivery, self._about()),
                progress=lambda: delivery.next_seq,
            )
            summarise(job_id, self.sent)
            self.encoded, result = await self._policy.ask(
                lambda: fetch_result(
                    api, job_id, end.state.status, decoders, private=self._is_private
                )
            )
        await self._without_twins(job_id)
        if identity is not None:
            await identity.record_delivery()
        return result

    def _whose(self, found: JobInfo) -> str:
        tags = () if self._identity is None else self._identity.lineage.tags
        is_own = bool(set(tags) & set(found.tags))
        return "this flow run submitted earlier" if is_own else "another caller submitted"

    @property
    def _is_shared(self) -> bool:
        """Whether other callers may use the same job, each with its own callback."""
        return self._attach_policy.is_shared or (
            self._identity is not None and self._identity.lineage.joins
        )

    @property
    def _cursor_name(self) -> str | None:
        """Name of the record of the callback's position; None if the call cannot be repeated."""
        if self._identity is None:
            return None
        if not self._is_shared:
            return self._key
        tags = self._identity.lineage.tags
        return "-".join([self._key, *tags]) if tags else None

    @property
    def _may_have_delivered(self) -> bool:
        """Whether the callback may have received interim results of the job before."""
        if self._found is None or self._identity is None:
            return False
        return not self._is_shared or self._identity.lineage.is_repeated

    async def _without_twins(self, job_id: str) -> str:
        """Return the job to follow if two processes may each have submitted one."""
        oldest = None if self._twins is None else await self._twins.settle_twins()
        self.job_id = job_id if oldest is None else oldest.id
        return self.job_id
