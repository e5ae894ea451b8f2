"""Submitting: one job for each attempt of one evaluation, found again instead of made twice.

A call inside a flow run has a name that stays the same when the flow runs again. Under that name
the service makes one job, however often it is asked; a call that comes back attaches to it and goes
on with its interim results where it had stopped.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from prefect_qiskit_runtime._decoders import Decoders
from prefect_qiskit_runtime._events import tell_job_event
from prefect_qiskit_runtime._identity import Identity, Request
from prefect_qiskit_runtime._lineage import has_seen_end
from prefect_qiskit_runtime._retrying import RetryPolicy, is_answered
from prefect_qiskit_runtime._tagged_submission import TaggedSubmission
from prefect_qiskit_runtime._watching import (
    CANCEL_SECONDS,
    Cursor,
    InterimCallback,
    InterimDelivery,
    cancel_quietly,
    cancelled_with_caller,
    fetch_decoded,
    fetch_job_error,
    follow,
    logger_here,
)
from prefect_qiskit_runtime.client import RuntimeApi, settings_of_environment
from prefect_qiskit_runtime.codec import encode_inputs
from prefect_qiskit_runtime.errors import JobError, NotFoundError, QiskitRuntimeError
from prefect_qiskit_runtime.models import JobInfo, JobStatus, JobSubmitted, RuntimeOptions

_PRIMITIVES = ("sampler", "estimator", "executor")
_SAVE_SECONDS = 1.0

_cursors: dict[str, Cursor] = {}
_sent: set[str] = set()  # names of the attempts that this process has submitted or found


class Evaluation:
    """What a call asks for, on its way to a result: submitted, followed, sent again.

    A job that is found is taken up unless it is dead: one that failed or was cancelled before this
    flow run was last started, or that ran an older version of the program, is followed by the
    next attempt. One that this flow run has seen fail is sent again only if its reason says so.

    Attributes:
        job_id: The job of the last attempt.
    """

    def __init__(
        self, api: RuntimeApi, request: Request, params_text: str, identity: Identity | None
    ) -> None:
        self._api = api
        self._request = request
        self._params_text = params_text
        self._identity = identity
        self._policy = RetryPolicy.of(request.options)
        self._attempt = 0
        self.job_id = ""
        self._jobs = 0
        self._is_found = False
        self._is_private = bool(request.options.private)
        self._twins: TaggedSubmission | None = None
        self._own_name = f"pqr-{secrets.token_hex(12)}"

    @classmethod
    async def of(cls, api: RuntimeApi, request: Request) -> Evaluation:
        """Encode and name what a call asks for.

        Raises:
            EncodingError: An input cannot be encoded; the error names its path.
        """
        params_text = await asyncio.to_thread(encode_inputs, request.inputs)
        return cls(api, request, params_text, await Identity.of(request))

    async def submit(self) -> str:
        """Return the id of the job of the first attempt that is not dead, found or submitted.

        Raises:
            NotFoundError: There is no such program or backend.
            InvalidInputError: The inputs break the program's schema.
        """
        with self._given_back_if_unclear():
            return await self._submit()

    async def _submit(self) -> str:
        while True:
            self._attempt += 1
            submitted = await self._place()
            if not submitted.replayed:
                self._is_found = False
                break
            info = await self._policy.ask(lambda: self._api.get_job(submitted.id))  # noqa: B023
            if await self._is_taken_up(info):
                self._is_found = True
                self._is_private = info.private
                tell_job_event("adopted", info.id, self._about())
                logger_here().info(
                    "Attached to job %s, which this call has submitted before.", info.id
                )
                break
        self._jobs += 1
        self.job_id = submitted.id
        return submitted.id

    async def result(self, callback: InterimCallback | None, decoders: Decoders) -> Any:
        """Return the decoded result, with the interim results on the way.

        Raises:
            JobError: The job ended without a result, and is not sent again.
        """
        with self._given_back_if_unclear():
            while True:
                job_id = await self._submit()
                try:
                    return await self._result_of(job_id, callback, decoders)
                except JobError as error:
                    if not self._policy.sends_again(error, self._jobs):
                        raise
                    pause_seconds = self._policy.pause_seconds(self._jobs)
                    logger_here().warning("%s It is sent again in %.1f s.", error, pause_seconds)
                await asyncio.sleep(pause_seconds)

    @contextmanager
    def _given_back_if_unclear(self) -> Iterator[None]:
        """Let the next equal call take up the job, if this one ends without knowing its end."""
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
        """Name of the current attempt; a call that nothing comes back to has one of its own."""
        if self._identity is None:
            return f"{self._own_name}-{self._attempt}"
        return self._identity.key(self._attempt)

    async def _place(self) -> JobSubmitted:
        """Find or make the job of an attempt."""
        is_first = self._identity is None or (
            self._identity.lineage.is_first and self._key not in _sent
        )
        _sent.add(self._key)
        if self._api.keyed_submission:
            submitted = await self._policy.ask(self._post, may_ask_again=is_answered)
            # Asked twice for want of an answer, it is new for this call all the same.
            replayed = submitted.replayed and not is_first
            submitted = submitted.model_copy(update={"replayed": replayed})
        else:
            tagged = self._tagged(is_first=is_first)
            submitted = await tagged.submit()
            self._twins = None if is_first else tagged
        if not submitted.replayed:
            self._log(submitted)
            tell_job_event("submitted", submitted.id, self._about())
        return submitted

    def _about(self) -> dict[str, str]:
        """Labels of the job of the current attempt for its events."""
        backend = self._request.backend
        return {
            "backend": backend.name,
            "service": backend.service,
            "program-id": self._request.program_id,
            "attempt": str(self._attempt),
            "key": self._key,
        }

    def _tagged(self, *, is_first: bool) -> TaggedSubmission:
        return TaggedSubmission(
            api=self._api,
            name=self._key,
            post=self._post,
            is_first=is_first,
            records=None if self._identity is None else self._identity.records,
            policy=self._policy,
            settings=settings_of_environment(),
        )

    async def _post(self) -> JobSubmitted:
        """Submit a job.

        A caller that is cancelled while the request is under way must not leave a job behind that
        nobody knows of: the answer is awaited, and the job cancelled.
        """
        identity = self._identity
        submitting = asyncio.ensure_future(
            self._api.submit_job(
                self._request.program_id,
                self._params_text,
                backend=self._request.backend.name,
                options=self._tagged_options(),
                idempotency_key=self._key,
                fingerprint=None if identity is None else identity.fingerprint,
                attempt=self._attempt,
            )
        )
        try:
            return await asyncio.shield(submitting)
        except asyncio.CancelledError:
            with suppress(QiskitRuntimeError, TimeoutError):
                submitted = await asyncio.wait_for(submitting, CANCEL_SECONDS)
                await cancel_quietly(self._api, submitted.id)
            raise

    def _tagged_options(self) -> RuntimeOptions:
        """Return the options with the labels by which the job is found from outside."""
        tags = list(self._request.options.tags)
        if self._identity is not None:
            tags += self._identity.lineage.tags
        if not self._api.keyed_submission:
            tags.append(self._key)
        return self._request.options.model_copy(update={"tags": tuple(dict.fromkeys(tags))})

    def _log(self, submitted: JobSubmitted) -> None:
        logger = logger_here()
        logger.info(
            "Job %s of program %s submitted to %s (%s service).",
            submitted.id,
            self._request.program_id,
            submitted.backend,
            self._request.backend.service,
        )
        for message in submitted.messages:
            logger.warning("Job %s: %s", submitted.id, message.get("data"))

    async def _is_taken_up(self, found: JobInfo) -> bool:
        if not await self._is_current(found):
            logger_here().info("Job %s ran an older version of the program.", found.id)
            return False
        if found.state.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
            return True
        if not has_seen_end(found.id):
            logger_here().info(
                "Job %s of an earlier run has ended without a result (%s).",
                found.id,
                found.state.reason or found.state.status.value,
            )
            return False
        error = await self._policy.ask(lambda: fetch_job_error(self._api, found.id))
        return error is None or not self._policy.sends_again(error, self._jobs + 1)

    async def _is_current(self, found: JobInfo) -> bool:
        """Say whether a job runs the version of the program that a new one would run."""
        if found.program.version is None or found.program.id in _PRIMITIVES:
            return True
        try:
            program = await self._policy.ask(lambda: self._api.get_program(found.program.id))
        except NotFoundError:  # deleted since: its job is all there is
            return True
        return program.version == found.program.version

    async def _result_of(
        self, job_id: str, callback: InterimCallback | None, decoders: Decoders
    ) -> Any:
        api, identity = self._api, self._identity
        job_id = await self._without_twins(job_id)
        cursor = Cursor()
        if identity is not None and callback is not None and self._is_found:
            cursor = await _cursor_of(identity, self._key)
        delivery = InterimDelivery(job_id, callback, decoders, cursor)
        async with cancelled_with_caller(api, job_id), self._cursor_saved(delivery, job_id):
            end = await self._policy.ask(
                lambda: follow(api, job_id, delivery, self._about()),
                progress=lambda: delivery.next_seq,
            )
            result = await self._policy.ask(
                lambda: fetch_decoded(
                    api, job_id, end.state.status, decoders, private=self._is_private
                )
            )
        await self._without_twins(job_id)
        if identity is not None:
            await identity.delivered()
        return result

    async def _without_twins(self, job_id: str) -> str:
        """Return the job to follow, where two processes may each have made one."""
        oldest = None if self._twins is None else await self._twins.settle_twins()
        self.job_id = job_id if oldest is None else oldest.id
        return self.job_id

    @asynccontextmanager
    async def _cursor_saved(self, delivery: InterimDelivery, job_id: str) -> AsyncIterator[None]:
        """Keep how far the callback gets, each second and at the end."""
        identity, key = self._identity, self._key
        if identity is None or not delivery.has_callback:
            yield
            return
        _cursors[key] = delivery.cursor
        saving = asyncio.create_task(_save_each_second(identity, key, job_id, delivery.cursor))
        try:
            yield
        finally:
            saving.cancel()
            await asyncio.wait({saving})
        await _save_cursor(identity, key, job_id, delivery.cursor)


async def _cursor_of(identity: Identity, key: str) -> Cursor:
    """Return how far the callback had got with the job of an attempt."""
    if key not in _cursors:
        record = await identity.records.read(key)
        _cursors[key] = Cursor(record["next_seq"] if record else 0)
    return _cursors[key]


async def _save_each_second(identity: Identity, key: str, job_id: str, cursor: Cursor) -> None:
    saved = cursor.next_seq
    while True:
        await asyncio.sleep(_SAVE_SECONDS)
        if cursor.next_seq != saved:
            saved = cursor.next_seq
            await _save_cursor(identity, key, job_id, cursor)


async def _save_cursor(identity: Identity, key: str, job_id: str, cursor: Cursor) -> None:
    record = {"job_id": job_id, "next_seq": cursor.next_seq}
    await identity.records.try_write(key, record)
