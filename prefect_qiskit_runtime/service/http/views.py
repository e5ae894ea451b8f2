"""Records in the protocol's format: IBM's fields and ours in one object."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from prefect_qiskit_runtime.models import JobMetrics, ProgramInfo, ProgramSpec, ReasonCode
from prefect_qiskit_runtime.service.instances import GROUP, HUB, PROJECT
from prefect_qiskit_runtime.service.store.records import Job, NewJob, Owner, Program, Session

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


def job_view(job: Job) -> dict[str, Any]:
    """Return a job without its inputs."""
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
        "usage": _usage(job),
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


def job_text(job: Job, params: bytes | None) -> bytes:
    """Return a job as JSON text, with its inputs inserted exactly as sent."""
    text = json.dumps(job_view(job)).encode()
    return text if params is None else b'%s, "params": %s}' % (text[:-1], params)


def metrics_view(job: Job) -> dict[str, Any]:
    """Return times, usage and versions of a job."""
    usage = _usage(job)
    versions = job.versions or {}
    metrics = JobMetrics(
        timestamps={
            "created": job.created_at,
            "running": job.started_at,
            "finished": job.ended_at,
        },
        usage=usage,
        qiskit_version=versions.get("qiskit"),
        versions=versions,
    )
    return {**metrics.model_dump(mode="json"), "bss": {"seconds": usage["seconds"]}}


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


def _usage(job: Job) -> dict[str, float]:
    seconds = job.usage_seconds
    if seconds is None and job.started_at is not None and job.ended_at is not None:
        seconds = (job.ended_at - job.started_at).total_seconds()
    return {"seconds": seconds or 0.0, "quantum_seconds": job.quantum_seconds or 0.0}


def _legacy_status(job: Job) -> str:
    # qiskit-ibmq-provider recognizes a job that ran too long by this text.
    if job.reason_code == ReasonCode.RAN_TOO_LONG:
        return "Cancelled - Ran too long"
    return job.state.value


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
