"""Records in the protocol's format: IBM's fields and ours in one object."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from prefect_qiskit_runtime.models import JobMetrics, ProgramInfo, ProgramSpec, ReasonCode
from prefect_qiskit_runtime.service.instances import GROUP, HUB, PROJECT
from prefect_qiskit_runtime.service.store.records import Job, NewJob, Owner, Program, Session

CHARGED_SINCE = "2026-03-15"
"""The version of IBM's API since which the usage of a job is `qpu_charge_time_seconds`."""

CIRCUIT_TIMES_SINCE = "2026-04-15"
"""The version of IBM's API since which metrics have the time of the circuits."""

CHARGED = "qpu_charge_time_seconds"
_NANOSECONDS = 1e9

# IBM's reason codes: see models.ReasonCode.
_IBMS_OWN = range(10_000)


def program_view(program: Program, viewer: Owner, *, with_source: bool = False) -> dict[str, Any]:
    """Return a program; its source only if requested, and only to its owner."""
    info = ProgramInfo(
        id=program.id,
        name=program.name,
        description=program.content.description,
        cost=program.content.cost,
        is_public=program.is_public,
        creation_date=program.created_at,
        update_date=program.updated_at,
        spec=ProgramSpec.model_validate(program.content.spec),
        version=program.version,
        content_hash=program.content.content_hash,
        owner=program.owner.user,
        data=program.content.source if with_source and viewer == program.owner else None,
    )
    return info.model_dump(mode="json", exclude_none=True)


def job_view(job: Job, version: str = "") -> dict[str, Any]:
    """Return a job without its inputs.

    Args:
        job: The job.
        version: The version of IBM's API that the client names, by which its usage is written.
    """
    return {
        "id": job.id,
        # Three generations of clients read these in different places.
        "hub": HUB,
        "group": GROUP,
        "project": PROJECT,
        "status": _legacy_status(job),
        "state": state_view(job),
        "backend": job.backend,
        "program": {"id": job.program_id, "version": job.program_version},
        "created": _iso(job.created_at),
        "started": _iso(job.started_at),
        "ended": _iso(job.ended_at),
        "tags": list(job.tags),
        "runtime": job.image,
        "cost": job.max_execution_seconds,
        "session_id": job.session_id,
        "private": job.private,
        "attempt": job.attempt,
        "idempotency_key": job.idempotency_key,
        "usage": _usage(job, version),
        "versions": job.versions,
        "simulation": job.simulation,
        "simulation_methods": job.simulation_methods,
        "interim_count": job.interim_count,
        "estimated_running_time_seconds": job.max_execution_seconds,
    }


def submission_view(job: Job | NewJob) -> dict[str, Any]:
    """Return the answer to a submission: a job's fields without its state."""
    return {
        "id": job.id,
        "backend": job.backend,
        "created": _iso(job.created_at),
        "tags": list(job.tags),
        "runtime": job.image,
        "session_id": job.session_id,
    }


def state_view(job: Job) -> dict[str, Any]:
    """Return a job's state and why it ended.

    The code has a camel-case name, which qiskit-ibm-runtime 0.51 reads first. IBM's codes are also
    given under the snake-case name, for clients that send a job again when they see one. Exceptions
    are our codes, which mean that the program is at fault, and the code of a job that ran too long,
    which clients up to 0.15 interpret as another kind of end.
    """
    state: dict[str, Any] = {"status": job.state.value}
    if job.reason is not None:
        state["reason"] = job.reason
    if job.reason_code is not None:
        state["reasonCode"] = job.reason_code
        if job.reason_code in _IBMS_OWN and job.reason_code != ReasonCode.RAN_TOO_LONG:
            state["reason_code"] = job.reason_code
    if job.reason_solution is not None:
        state["reason_solution"] = job.reason_solution
    if job.limit is not None:
        state["limit"] = job.limit.model_dump(exclude_none=True)
    return state


def job_text(job: Job, version: str) -> bytes:
    """Return a job as JSON text, without its inputs."""
    return json.dumps(job_view(job, version)).encode()


def listing_text(page: Sequence[tuple[Job, bytes | None]], count: int, version: str) -> bytes:
    """Return a page of jobs, each with its inputs if there are any, as JSON text."""
    jobs = b", ".join(_text_with_inputs(job, params, version) for job, params in page)
    return b'{"jobs": [%s], "count": %d}' % (jobs, count)


def _text_with_inputs(job: Job, params: bytes | None, version: str) -> bytes:
    text = job_text(job, version)
    return text if params is None else b'%s, "params": %s}' % (text[:-1], params)


def metrics_view(job: Job, version: str) -> dict[str, Any]:
    """Return times, usage and versions of a job, in the form of a version of IBM's API."""
    versions = job.versions or {}
    metrics = JobMetrics(
        timestamps={
            "created": job.created_at,
            "running": job.started_at,
            "finished": job.ended_at,
        },
        qiskit_version=versions.get("qiskit"),
        versions=versions,
    )
    view = {**metrics.model_dump(mode="json"), "usage": _usage(job, version)}
    if version < CHARGED_SINCE:
        view["bss"] = {"seconds": _running_seconds(job)}
    if version >= CIRCUIT_TIMES_SINCE:
        view["circuits_execution_time_ns"] = round((_quantum_seconds(job) or 0.0) * _NANOSECONDS)
    return view


def session_view(session: Session, now: datetime) -> dict[str, Any]:
    """Return a session as it is now."""
    return {
        "id": session.id,
        "backend_name": session.backend,
        "mode": session.mode,
        "state": session.state.value,
        "accepting_jobs": session.accepting_jobs,
        "max_ttl": session.max_ttl_seconds,
        "active_ttl": session.max_ttl_seconds,
        "interactive_ttl": session.interactive_ttl_seconds,
        "created_at": _iso(session.created_at),
        "started_at": _iso(session.started_at),
        "activated_at": _iso(session.activated_at),
        "closed_at": _iso(session.closed_at),
        "last_job_started": _iso(session.last_job_started_at),
        "last_job_completed": _iso(session.last_job_ended_at),
        "elapsed_time": session.used_until(now),
        "timestamps": [
            {"status": state, "timestamp": moment.replace("+00:00", "Z")}
            for state, moment in session.changes
        ],
    }


def _usage(job: Job, version: str) -> dict[str, Any]:
    """Return the time used by a job, in the form of a version of IBM's API, or else in ours."""
    quantum_seconds = _quantum_seconds(job)
    if version >= CHARGED_SINCE:
        if not job.state.is_terminal or quantum_seconds is None:
            return {CHARGED: 0, "status": "pending"}
        return {CHARGED: quantum_seconds, "status": "complete"}
    seconds = {"seconds": _running_seconds(job)}
    return seconds if quantum_seconds is None else {**seconds, "quantum_seconds": quantum_seconds}


def _running_seconds(job: Job) -> float:
    seconds = job.usage_seconds
    if seconds is None and job.started_at is not None and job.ended_at is not None:
        seconds = (job.ended_at - job.started_at).total_seconds()
    return seconds or 0.0


def _quantum_seconds(job: Job) -> float | None:
    """Return the time on a device; None if a job on hardware has ended and it is not known."""
    if job.quantum_seconds is None and job.hardware is not None and job.started_at is not None:
        return None
    return job.quantum_seconds or 0.0


def _legacy_status(job: Job) -> str:
    # qiskit-ibmq-provider recognizes a job that ran too long by this text.
    if job.reason_code == ReasonCode.RAN_TOO_LONG:
        return "Cancelled - Ran too long"
    return job.state.value


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
