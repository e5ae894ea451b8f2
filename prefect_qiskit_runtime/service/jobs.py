"""What may become a job, and how one request becomes one job, however often it is sent."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import BaseModel, Field, field_validator
from sqlalchemy import Connection

from prefect_qiskit_runtime.errors import ConflictError, InvalidInputError, NotFoundError
from prefect_qiskit_runtime.models import HardwareMode
from prefect_qiskit_runtime.service import sessions
from prefect_qiskit_runtime.service.context import ServiceContext
from prefect_qiskit_runtime.service.devices import Chosen, actual_name
from prefect_qiskit_runtime.service.identifiers import new_id
from prefect_qiskit_runtime.service.inputs import unchecked_requirements
from prefect_qiskit_runtime.service.problem import KeyReusedError
from prefect_qiskit_runtime.service.programs import visible
from prefect_qiskit_runtime.service.request_json import LARGEST_INTEGER, JsonObject, validate
from prefect_qiskit_runtime.service.store import jobs as statements
from prefect_qiskit_runtime.service.store.programs import find_program
from prefect_qiskit_runtime.service.store.records import Job, NewJob, NewSession, Owner, Program
from prefect_qiskit_runtime.service.store.sessions import insert_session

logger = logging.getLogger(__name__)

Tag = Annotated[str, Field(min_length=1, max_length=200)]
_LONGEST_KEY = 255


class HardwareRequest(BaseModel):
    """What a submission says of the quantum device that its program uses.

    Attributes:
        key: Name of the evaluation: its attempts share what was submitted to the device.
        label: What its jobs there bear as a tag; the id of the job where there is none.
        mode: How they belong together.
        max_seconds: How much of the device's time the evaluation may use; None for no limit.
        max_seconds_per_flow_run: How much all jobs with the label may use.
        max_seconds_per_day: How much the account may use in one day.
        max_seconds_of_instance: How much the instance may use in its period.
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
        job: The job, as it was queued or as it is found again.
        replayed: Whether it was sent before, and this is the job of that time.
        warnings: What the submitter should know.
    """

    job: Job | NewJob
    replayed: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Sent:
    """What a submission brings, and what makes another one the same.

    Attributes:
        inputs: Parsed, to check them.
        params: The inputs as sent, to keep them.
    """

    inputs: dict[str, Any]
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
    """Queue a job, or find the one that the same request (of that fingerprint) queued before.

    Raises:
        InvalidInputError: The request, its inputs or its key break a rule.
        NotFoundError: There is no such program, backend or session.
        SessionClosedError: Its session takes no more jobs.
    """
    request = validate(JobRequest, body.fields, "job")
    inputs, params = _inputs(body)
    _check_key(key)
    # Equal circuits that were built twice come in different bytes; the caller knows them as equal.
    sent = _Sent(inputs, params, key, fingerprint or _request_hash(body, params))
    before, program = await context.store.read(_look, key, request.program_id, owner)
    if before is not None:
        return _replay(before, sent.request_hash)
    # A replay must be found even when its program is gone, so only now may that be an error.
    program = program or await context.store.read(visible, request.program_id, owner)
    new, warnings = await _prepare(context, owner, request, program, sent)
    session = _session_of(context, new, request) if request.start_session else None
    with context.interference.submission(new):
        is_new = await context.store.write(_queue, new, session)
    if not is_new:
        before, _ = await context.store.read(_look, key, request.program_id, owner)
        assert before is not None  # noqa: S101 - the key's own job stood in the way
        return _replay(before, sent.request_hash)
    context.scheduler.queued(new)
    logger.info("Job %s of program %s v%d queued", new.id, program.id, program.version)
    return Submission(new, warnings=tuple(warnings))


async def _prepare(
    context: ServiceContext, owner: Owner, request: JobRequest, program: Program, sent: _Sent
) -> tuple[NewJob, list[str]]:
    """Check what was asked for; return the job that it makes, and what the submitter should know.

    Raises:
        InvalidInputError: The inputs or what is asked of the job break a rule.
        NotFoundError: There is no such backend, calibration or session.
        SessionClosedError: Its session takes no more jobs.
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
    await context.rules.check(program, sent.inputs, size=len(sent.params))
    limit, warnings = _limit(request.cost, program, context.settings.max_execution_seconds)
    job_id = new_id()
    new = NewJob(
        id=job_id,
        owner=owner,
        program_id=program.id,
        program_version=program.version,
        backend=chosen.name,
        image=image,
        # IBM's older clients have no call that opens a session: its first job names it.
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
    )
    unchecked = list(requirements) if request.hardware else unchecked_requirements(requirements)
    warnings += [f"Backend requirement {name!r} is not checked." for name in unchecked]
    if chosen.warning is not None:
        # First, because IBM's older clients show the first one only.
        warnings.insert(0, chosen.warning)
    return new, warnings


async def find(context: ServiceContext, job_id: str, owner: Owner) -> Job:
    """Return a job of the owner.

    Raises:
        NotFoundError: There is none, or it is another user's.
    """
    job = await context.store.read(statements.find_job, job_id, owner)
    if job is None:
        raise NotFoundError(f"There is no job {job_id!r}.", kind="job", identifier=job_id)
    return job


async def hand_over(
    context: ServiceContext, job_id: str, owner: Owner, credentials: dict[str, Any]
) -> None:
    """Take the credentials for the hardware of a job that waits for them; they stay in memory.

    Raises:
        NotFoundError: There is no such job.
        ConflictError: It runs on no hardware.
    """
    job = await find(context, job_id, owner)
    if job.hardware is None:
        raise ConflictError(f"Job {job_id} runs on no hardware: it takes no credentials.")
    await context.scheduler.hand_over(job, credentials)


async def cancel(context: ServiceContext, job_id: str, owner: Owner) -> None:
    """Cancel a job and return once it has ended.

    Raises:
        NotFoundError: There is no such job.
        ConflictError: It has ended already.
    """
    job = await find(context, job_id, owner)
    if not await context.scheduler.cancel(job.id):
        job = await find(context, job_id, owner)
        raise ConflictError(f"Job {job_id} cannot be cancelled: it is {job.state.value} already.")
    if job.session_id is not None:
        context.scheduler.sessions.watch(job.session_id)


async def delete(context: ServiceContext, job_id: str, owner: Owner) -> None:
    """Delete an ended job with its inputs, results and log.

    Raises:
        NotFoundError: There is no such job.
        ConflictError: It has not ended.
    """
    job = await find(context, job_id, owner)
    if not await context.store.write(statements.delete_ended_job, job.id):
        raise ConflictError(f"Job {job_id} has not ended: cancel it first.")
    context.log_path(job.id).unlink(missing_ok=True)


def _inputs(body: JsonObject) -> tuple[dict[str, Any], bytes]:
    """Return the inputs parsed, to check them, and as sent, to keep them."""
    inputs = body.fields.get("params")
    if inputs is None:
        return {}, b"{}"
    if not isinstance(inputs, dict):
        message = "The inputs (`params`) must be a JSON object."
        raise InvalidInputError(message, path="$.params", rule="type: object")
    return inputs, body.raw("params").encode()


async def _backend(
    context: ServiceContext, owner: Owner, request: JobRequest, requirements: dict[str, Any]
) -> Chosen:
    """Return the backend of a job: its session's, or the one asked for, or one that will do."""
    asked = request.backend
    if request.session_id is not None:
        if request.start_session:
            raise InvalidInputError(
                f"A job cannot belong to session {request.session_id} and start another one:"
                " send session_id or start_session.",
                path="$.start_session",
                rule="not with session_id",
            )
        # A session knows its backend by the name that it has, not by one that it had.
        asked = None if asked is None else actual_name(asked)
        asked = await sessions.backend_of(context, request.session_id, asked, owner)
    return context.devices.choose(asked, requirements)


def _device(request: JobRequest) -> Chosen:
    """Return the device of a job, which is not a backend of this service."""
    if request.private:
        raise InvalidInputError(
            "A job on hardware cannot be private: what it submits there must be found again.",
            path="$.private",
            rule="not with hardware",
        )
    if request.session_id is not None or request.start_session:
        raise InvalidInputError(
            "A job on hardware cannot belong to a session of this service: it opens one of its own"
            " there. Leave session_id and start_session out.",
            path="$.hardware",
            rule="not with a session",
        )
    if not request.backend:
        raise InvalidInputError(
            "A job on hardware must name its device.", path="$.backend", rule="required"
        )
    return Chosen(request.backend)


def _session_of(context: ServiceContext, job: NewJob, request: JobRequest) -> NewSession:
    """Return the session that a job starts; it has the job's id."""
    session = sessions.draft(
        context.settings, job.owner, job.backend, now=job.created_at, max_ttl=request.session_time
    )
    return replace(session, id=job.id)


def _queue(connection: Connection, new: NewJob, session: NewSession | None) -> bool:
    """Queue a job; return False, and change nothing, if its key has been used before."""
    if not statements.insert_job(connection, new):
        return False
    if session is not None:
        insert_session(connection, session)
    elif new.session_id is not None:
        sessions.check_accepting(connection, new.session_id, new.owner)
    return True


def _look(
    connection: Connection, key: str | None, program_id: str, owner: Owner
) -> tuple[Job | None, Program | None]:
    """Return the job of a key, and the program, where there are such."""
    before = None if key is None else statements.find_by_key(connection, key, owner)
    return before, find_program(connection, program_id, owner)


def _replay(before: Job, request_hash: str) -> Submission:
    if before.request_hash != request_hash:
        raise KeyReusedError(
            f"This Idempotency-Key belongs to another request, which became job {before.id}."
            " A new request needs a new key.",
            rule="one key, one request",
        )
    return Submission(before, replayed=True)


def _request_hash(body: JsonObject, params: bytes) -> str:
    """Return what makes two requests the same: the inputs as sent, the rest by value."""
    rest = {name: value for name, value in body.fields.items() if name != "params"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    digest.update(b"\0")
    digest.update(params)
    return digest.hexdigest()


def _check_key(key: str | None) -> None:
    if key is not None and not 0 < len(key) <= _LONGEST_KEY:
        raise InvalidInputError(f"An Idempotency-Key has 1 to {_LONGEST_KEY} characters.")


def _limit(asked: int | None, program: Program, highest: int) -> tuple[int, list[str]]:
    """Return a job's wall-clock limit: the smallest of the request's, program's and service's.

    A program may allow more than the service: that was another service, or its setting.
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
        return limit, [f"The job's limit is {highest} s, the highest of this service."]
    return limit, []
