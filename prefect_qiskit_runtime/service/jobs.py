"""Rules for submissions, and how one request becomes one job, however often it is sent."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import BaseModel, Field, field_validator, model_validator
from sqlalchemy import Connection

from prefect_qiskit_runtime.errors import (
    DELETED_JOB,
    ConflictError,
    InvalidInputError,
    NotFoundError,
)
from prefect_qiskit_runtime.models import HardwareMode, Simulation
from prefect_qiskit_runtime.service import sessions
from prefect_qiskit_runtime.service.context import ServiceContext
from prefect_qiskit_runtime.service.devices import Chosen, actual_name
from prefect_qiskit_runtime.service.identifiers import new_id
from prefect_qiskit_runtime.service.inputs import unchecked_requirements
from prefect_qiskit_runtime.service.json_text import LARGEST_VALUE_BYTES, JsonObject
from prefect_qiskit_runtime.service.problem import DeletedJobError, KeyReusedError
from prefect_qiskit_runtime.service.programs import find_visible
from prefect_qiskit_runtime.service.request_json import LARGEST_INTEGER, validate
from prefect_qiskit_runtime.service.store import jobs as statements
from prefect_qiskit_runtime.service.store.programs import find_program
from prefect_qiskit_runtime.service.store.records import (
    DeletedJob,
    Job,
    NewJob,
    NewSession,
    Owner,
    Program,
)
from prefect_qiskit_runtime.service.store.sessions import insert_session

logger = logging.getLogger(__name__)

Tag = Annotated[str, Field(min_length=1, max_length=200)]
_LONGEST_KEY = 255
# A reader that does not take the end of its stream does not hold up the answer any longer.
_CLOSING_SECONDS = 1.0


class HardwareRequest(BaseModel):
    """How a submission's program uses a quantum device.

    Attributes:
        key: Name of the evaluation: its attempts share the jobs submitted to the device.
        label: Tag of its jobs on the device; None for the job's id.
        mode: How its jobs on the device are grouped.
        max_seconds: Device time that the evaluation may use; None for no limit.
        max_seconds_per_flow_run: Device time that all jobs with the label may use.
        max_seconds_per_day: Device time that the account may use in one day.
        max_seconds_of_instance: Device time that the instance may use in its period.
    """

    key: str = Field(min_length=16, max_length=64, pattern="^[!-~]+$")
    label: str | None = Field(default=None, min_length=1, max_length=86, pattern="^[!-~]+$")
    mode: HardwareMode = "session"
    max_seconds: float | None = Field(default=None, gt=0, le=LARGEST_INTEGER)
    max_seconds_per_flow_run: float | None = Field(default=None, ge=0, le=LARGEST_INTEGER)
    max_seconds_per_day: float | None = Field(default=None, ge=0, le=LARGEST_INTEGER)
    max_seconds_of_instance: float | None = Field(default=None, ge=0, le=LARGEST_INTEGER)


class JobRequest(BaseModel):
    """Body of a submission, without the inputs."""

    program_id: str = Field(min_length=1)
    backend: str | None = None
    runtime: str | None = None
    log_level: str | None = None
    session_id: str | None = Field(default=None, max_length=200)
    start_session: bool = False
    session_time: int | None = Field(default=None, ge=1, le=LARGEST_INTEGER)
    tags: list[Tag] | None = Field(default=None, max_length=50)
    cost: int | None = Field(default=None, ge=0, le=LARGEST_INTEGER)
    private: bool = False
    attempt: int = Field(default=1, ge=1, le=LARGEST_INTEGER)
    calibration_id: str | None = Field(default=None, max_length=200)
    hardware: HardwareRequest | None = None
    simulation: Simulation | None = None

    @model_validator(mode="after")
    def _only_simulators_simulate(self) -> JobRequest:
        if self.hardware is not None and self.simulation is not None:
            raise ValueError("must not have simulation: a job on hardware simulates nothing")
        return self

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str | None) -> str | None:
        if value is None:
            return None
        level = value.upper()
        if level not in logging.getLevelNamesMapping():
            raise ValueError("must be DEBUG, INFO, WARNING, ERROR or CRITICAL")
        return level


class TagsChange(BaseModel):
    """Body of a change of tags."""

    tags: list[Tag] = Field(max_length=50)


@dataclass(frozen=True)
class Submission:
    """Answer to a submission.

    Attributes:
        job: The job, newly queued or found from an earlier submission.
        replayed: Whether the request was sent before, and this is the job that it created.
        warnings: Notes for the submitter.
    """

    job: Job | NewJob
    replayed: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Sent:
    """A submission's inputs and its identity.

    Attributes:
        inputs: The parsed inputs, for checking; None if they are too large to be parsed here.
        params: The inputs as sent, for storing.
    """

    inputs: dict[str, Any] | None
    params: bytes
    key: str | None
    request_hash: str


async def submit(
    context: ServiceContext,
    owner: Owner,
    body: JsonObject,
    key: str | None,
    fingerprint: str | None,
) -> Submission:
    """Queue a job, or return the one that the same request (by its fingerprint) queued before.

    Raises:
        InvalidInputError: The request, its inputs or its key break a rule.
        NotFoundError: There is no such program, backend or session.
        SessionClosedError: The job's session accepts no more jobs.
        DeletedJobError: The job of the same request was deleted.
    """
    request = validate(JobRequest, body.fields, "job")
    inputs, params = _inputs(body)
    _check_key(key)
    # Equal circuits that were built twice have different bytes; the caller's fingerprint is equal.
    if fingerprint is None:  # of 300 MB, it takes a second
        hash_here = len(params) <= LARGEST_VALUE_BYTES
        fingerprint = (
            _request_hash(body, params)
            if hash_here
            else await asyncio.to_thread(_request_hash, body, params)
        )
    sent = _Sent(inputs, params, key, fingerprint)
    before, program = await context.store.read(_look, key, request.program_id, owner)
    if before is not None:
        return _replay(before, sent.request_hash)
    # A replay must be found even if its program is gone, so a missing program is an error only now.
    program = program or await context.store.read(find_visible, request.program_id, owner)
    new, warnings = await _prepare(context, owner, request, program, sent)
    session = _session_of(context, new, request) if request.start_session else None
    with context.interference.submission(new):
        is_new = await context.store.write(_queue, new, session)
    if not is_new:
        before, _ = await context.store.read(_look, key, request.program_id, owner)
        assert before is not None  # noqa: S101 - a job with this key exists or existed
        return _replay(before, sent.request_hash)
    context.scheduler.on_queued(new)
    logger.info("Job %s of program %s v%d queued", new.id, program.id, program.version)
    return Submission(new, warnings=tuple(warnings))


async def _prepare(
    context: ServiceContext, owner: Owner, request: JobRequest, program: Program, sent: _Sent
) -> tuple[NewJob, list[str]]:
    """Check a request; return the job to queue, and warnings for the submitter.

    Raises:
        InvalidInputError: The inputs or options of the job break a rule.
        NotFoundError: There is no such backend, calibration or session.
        SessionClosedError: The job's session accepts no more jobs.
    """
    requirements = program.content.spec.get("backend_requirements") or {}
    chosen = (
        await _backend(context, owner, request, requirements)
        if request.hardware is None
        else _device(request)
    )
    if request.hardware is None:
        context.devices.calibration(chosen.name, request.calibration_id)
    image = context.images.choose(request.runtime)
    await context.rules.check(program, sent.inputs, params=sent.params, user=owner.user)
    limit, warnings = _limit(request.cost, program, context.settings.max_execution_seconds)
    job_id = new_id()
    new = NewJob(
        id=job_id,
        owner=owner,
        program_id=program.id,
        program_version=program.version,
        backend=chosen.name,
        image=image,
        # IBM's older clients cannot open a session: its first job opens it and gives its id.
        session_id=job_id if request.start_session else request.session_id,
        log_level=request.log_level or "WARNING",
        max_execution_seconds=limit,
        private=request.private,
        attempt=request.attempt,
        idempotency_key=sent.key,
        request_hash=sent.request_hash,
        tags=tuple(request.tags or ()),
        params=sent.params,
        created_at=context.clock.now(),
        hardware=None if request.hardware is None else request.hardware.model_dump(),
        simulation=(
            None
            if request.simulation is None
            else request.simulation.model_dump(exclude_defaults=True)
        ),
    )
    unchecked = list(requirements) if request.hardware else unchecked_requirements(requirements)
    warnings += [f"Backend requirement {name!r} is not checked." for name in unchecked]
    if chosen.warning is not None:
        # First, because IBM's older clients show only the first warning.
        warnings.insert(0, chosen.warning)
    return new, warnings


async def find(context: ServiceContext, job_id: str, owner: Owner) -> Job:
    """Return a job of the owner.

    Raises:
        NotFoundError: There is no such job, or it belongs to another user.
    """
    job = await context.store.read(statements.find_job, job_id, owner)
    if job is not None:
        return job
    deleted = await context.store.read(statements.find_deleted, owner, job_id=job_id)
    if deleted is not None:
        raise NotFoundError(
            f"Job {job_id} was deleted at {_minute(deleted)}, with its result.",
            kind=DELETED_JOB,
            identifier=job_id,
        )
    raise NotFoundError(f"There is no job {job_id!r}.", kind="job", identifier=job_id)


async def hand_over(
    context: ServiceContext, job_id: str, owner: Owner, credentials: dict[str, Any]
) -> None:
    """Accept the hardware credentials that a job waits for; they stay in memory.

    Raises:
        NotFoundError: There is no such job.
        ConflictError: The job does not run on hardware.
    """
    job = await find(context, job_id, owner)
    if job.hardware is None:
        raise ConflictError(f"Job {job_id} does not run on hardware and needs no credentials.")
    await context.scheduler.hand_over(job, credentials)


async def cancel(context: ServiceContext, job_id: str, owner: Owner) -> None:
    """Cancel a job and return once it has ended.

    Raises:
        NotFoundError: There is no such job.
        ConflictError: The job has already ended.
    """
    job = await find(context, job_id, owner)
    if not await _stop(context, job):
        job = await find(context, job_id, owner)
        raise ConflictError(f"Job {job_id} cannot be cancelled: it is already {job.state.value}.")


async def _stop(context: ServiceContext, job: Job) -> bool:
    """Cancel a job and close its streams; return False if it had already ended."""
    if not await context.scheduler.cancel(job.id):
        return False
    if job.session_id is not None:
        context.scheduler.sessions.watch(job.session_id)
    # IBM's older clients close their own end when the answer arrives. If the service closes the
    # stream at the same moment, they wait for a stream that they have already dropped.
    await context.feed.wait_until_unread(job.id, _CLOSING_SECONDS)
    return True


async def delete(context: ServiceContext, job_id: str, owner: Owner) -> None:
    """Delete a job with its inputs, results and log; a job that has not ended is cancelled first.

    Its key stays known.

    Raises:
        NotFoundError: There is no such job.
        ConflictError: The end of the job could not be stored.
    """
    job = await find(context, job_id, owner)
    if not job.state.is_terminal:
        await _stop(context, job)
    if not await context.store.write(statements.delete_ended_job, job.id, context.clock.now()):
        raise ConflictError(f"Job {job_id} has not ended: its end could not be stored. Try again.")
    context.log_path(job.id).unlink(missing_ok=True)


def _inputs(body: JsonObject) -> tuple[dict[str, Any] | None, bytes]:
    """Return the inputs parsed if they are small, for checking, and as sent, for storing."""
    begin, _ = body.spans.get("params", (0, 0))
    inputs = body.fields.get("params")
    is_unparsed = begin > 0 and "params" not in body.fields
    if inputs is None and not is_unparsed:
        return {}, b"{}"
    if body.body[begin] != ord("{"):
        message = "The inputs (`params`) must be a JSON object."
        raise InvalidInputError(message, path="$.params", rule="type: object")
    return inputs, body.raw("params")


async def _backend(
    context: ServiceContext, owner: Owner, request: JobRequest, requirements: dict[str, Any]
) -> Chosen:
    """Return a job's backend: its session's, the requested one, or one that is suitable."""
    asked = request.backend
    if request.session_id is not None:
        if request.start_session:
            raise InvalidInputError(
                f"A job cannot belong to session {request.session_id} and start another one:"
                " send session_id or start_session.",
                path="$.start_session",
                rule="not with session_id",
            )
        # Sessions store the backend's current name, not its alias.
        asked = None if asked is None else actual_name(asked)
        asked = await sessions.backend_of(context, request.session_id, asked, owner)
    return context.devices.choose(asked, requirements)


def _device(request: JobRequest) -> Chosen:
    """Return the device of a job, which is not a backend of this service."""
    if request.private:
        raise InvalidInputError(
            "A job on hardware cannot be private: its submissions there must be found again.",
            path="$.private",
            rule="not with hardware",
        )
    if request.session_id is not None or request.start_session:
        raise InvalidInputError(
            "A job on hardware cannot belong to a session of this service: it opens its own session"
            " on the device. Omit session_id and start_session.",
            path="$.hardware",
            rule="not with a session",
        )
    if not request.backend:
        raise InvalidInputError(
            "A job on hardware must name its device.", path="$.backend", rule="required"
        )
    return Chosen(request.backend)


def _session_of(context: ServiceContext, job: NewJob, request: JobRequest) -> NewSession:
    """Return the session that a job opens, which takes the job's id."""
    session = sessions.draft(
        context.settings, job.owner, job.backend, now=job.created_at, max_ttl=request.session_time
    )
    return replace(session, id=job.id)


def _queue(connection: Connection, new: NewJob, session: NewSession | None) -> bool:
    """Queue a job; if its key has been used before, change nothing and return False."""
    if not statements.insert_job(connection, new):
        return False
    if session is not None:
        insert_session(connection, session)
    elif new.session_id is not None:
        sessions.check_accepting(connection, new.session_id, new.owner)
    return True


def _look(
    connection: Connection, key: str | None, program_id: str, owner: Owner
) -> tuple[Job | DeletedJob | None, Program | None]:
    """Return the job of a key, even a deleted one, and the program; None if they do not exist."""
    before: Job | DeletedJob | None = None
    if key is not None:
        before = statements.find_by_key(connection, key, owner)
        before = before or statements.find_deleted(connection, owner, key=key)
    return before, find_program(connection, program_id, owner)


def _replay(before: Job | DeletedJob, request_hash: str) -> Submission:
    if before.request_hash != request_hash:
        raise KeyReusedError(
            f"This Idempotency-Key belongs to another request, which became job {before.id}."
            " A new request needs a new key.",
            rule="one key, one request",
        )
    if isinstance(before, DeletedJob):
        raise DeletedJobError(
            f"This submission was sent before and became job {before.id}, which was deleted at"
            f" {_minute(before)}. No other job is made under its key; to run it again, use a new"
            " key.",
            job_id=before.id,
        )
    return Submission(before, replayed=True)


def _minute(deleted: DeletedJob) -> str:
    return f"{deleted.deleted_at:%Y-%m-%d %H:%M} UTC"


def _request_hash(body: JsonObject, params: bytes) -> str:
    """Return a hash that identifies a request: of the inputs as sent, and of the rest by value."""
    rest = {name: value for name, value in body.fields.items() if name != "params"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    digest.update(b"\0")
    digest.update(params)
    return digest.hexdigest()


def _check_key(key: str | None) -> None:
    if key is not None and not 0 < len(key) <= _LONGEST_KEY:
        raise InvalidInputError(f"An Idempotency-Key must have 1 to {_LONGEST_KEY} characters.")


def _limit(asked: int | None, program: Program, highest: int) -> tuple[int, list[str]]:
    """Return a job's wall-clock limit: the smallest of the request's, program's and service's.

    A program may allow more than the service does: it may come from another service, or the
    service's setting may have changed.
    """
    if asked is not None and asked > highest:
        raise InvalidInputError(
            f"max_execution_time is {asked} s; this service allows 1 to {highest} s.",
            path="$.cost",
            rule=f"at most {highest}",
        )
    limits = [seconds for seconds in (asked, program.content.cost) if seconds]
    limit = min([*limits, highest])
    if limits and min(limits) > highest:
        return limit, [f"The job's limit is {highest} s, the highest that this service allows."]
    return limit, []
