"""The error of a job that ended without a result."""

from __future__ import annotations

from typing import Any

from prefect_qiskit_runtime.errors import (
    JobCancelledError,
    JobError,
    JobInterruptedError,
    JobProcessError,
    JobSessionClosedError,
    JobTimedOutError,
    ProgramFailedError,
)
from prefect_qiskit_runtime.models import JobInfo, JobStatus, NextStep, ReasonCode, next_step

_CLASSES: dict[int, type[JobError]] = {
    ReasonCode.RAN_TOO_LONG: JobTimedOutError,
    ReasonCode.INTERRUPTED: JobInterruptedError,
    ReasonCode.PROGRAM_RAISED: ProgramFailedError,
    ReasonCode.PROGRAM_EXITED: ProgramFailedError,
    ReasonCode.RESULT_NOT_ENCODABLE: ProgramFailedError,
    ReasonCode.HARDWARE_BUDGET: ProgramFailedError,
    ReasonCode.MESSAGE_LIMIT: ProgramFailedError,
    ReasonCode.KILLED_BY_SIGNAL: JobProcessError,
    ReasonCode.MEMORY_LIMIT: JobProcessError,
    ReasonCode.START_FAILED: JobProcessError,
    ReasonCode.CREDENTIALS_MISSING: JobProcessError,
    ReasonCode.SESSION_CLOSED: JobSessionClosedError,
}

_ADVICE: dict[type[JobError], str] = {
    JobSessionClosedError: "Open another session and submit it there.",
    JobTimedOutError: "Give it a higher max_execution_time, or less to do.",
}

# For other steps, the reason is sufficient, or the flow acts automatically.
_STEPS_IN_MESSAGE = (
    NextStep.FETCH_AGAIN,
    NextStep.OTHER_BACKEND,
    NextStep.TRANSPILE_AGAIN,
    NextStep.NEW_SESSION,
    NextStep.MAKE_SMALLER,
    NextStep.UNKNOWN,
)

_NOTED_LOG_LINES = 20


def job_error(job: JobInfo, body: bytes | None, log_tail: str | None) -> JobError:
    """Return the error of a job that failed or was cancelled.

    Args:
        job: The job, ended.
        body: The error and traceback that the service returned instead of a result.
        log_tail: The last lines of the job's log.
    """
    text = (body or b"").decode("utf-8", errors="replace").strip()
    kind = _class_of(job, text)
    traceback = text if "Traceback" in text else None
    reason = (job.state.reason or _last_line(text) or job.state.status.value).rstrip(".")
    ended = "was cancelled" if job.state.status is JobStatus.CANCELLED else "failed"
    if kind is JobTimedOutError:
        limit = "the service's limit" if job.cost is None else f"max_execution_time={job.cost} s"
        ended, reason = "ran too long", f"it reached {limit}"
    is_cancelled = job.state.status is JobStatus.CANCELLED
    step = NextStep.STOP if is_cancelled else next_step(job.state.reason_code)
    advice = _ADVICE.get(kind) or (step.value if step in _STEPS_IN_MESSAGE else "")
    error = kind(
        f"Job {job.id} of program {job.program.id} on {job.backend} {ended}: {reason}."
        f" {advice}".rstrip(),
        job_id=job.id,
        program_id=job.program.id,
        backend=job.backend,
        session_id=job.session_id,
        **_limit_of(job, kind),
        reason=job.state.reason,
        reason_code=job.state.reason_code,
        traceback=traceback,
        log_tail=log_tail,
    )
    error.transient = step.sends_again
    # A note is printed below the message wherever the error appears, even in the flow's log.
    if traceback:
        error.add_note(f"The program's own traceback:\n{traceback}")
    elif log_tail and kind in (JobProcessError, ProgramFailedError):
        lines = log_tail.splitlines()[-_NOTED_LOG_LINES:]
        error.add_note("The end of the job's log:\n" + "\n".join(lines))
    return error


def _limit_of(job: JobInfo, kind: type[JobError]) -> dict[str, Any]:
    """Return the fields of an error about the limit that ended a job."""
    if kind is JobTimedOutError:
        return {"limit_seconds": job.cost, "used_seconds": (job.usage or {}).get("seconds")}
    return {} if job.state.limit is None else job.state.limit.model_dump()


def _class_of(job: JobInfo, text: str) -> type[JobError]:
    state = job.state
    if state.reason_code in _CLASSES:
        return _CLASSES[state.reason_code]
    if state.ran_too_long:
        return JobTimedOutError
    if state.status is JobStatus.CANCELLED:
        return JobCancelledError
    return ProgramFailedError if "Traceback" in text else JobProcessError


def _last_line(text: str) -> str:
    return text.rsplit("\n", 1)[-1].strip()
