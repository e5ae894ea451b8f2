"""A job that ended without a result becomes the error that says why."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import pytest

from prefect_qiskit_runtime.client import job_error
from prefect_qiskit_runtime.errors import (
    JobCancelledError,
    JobError,
    JobInterruptedError,
    JobProcessError,
    JobTimedOutError,
    ProgramFailedError,
    is_retryable,
)
from prefect_qiskit_runtime.models import JobInfo, JobProgram, JobState, JobStatus, ReasonCode

TRACEBACK = "Traceback (most recent call last):\n  ...\nValueError: no such molecule"


def ended(
    status: JobStatus = JobStatus.FAILED, reason: str | None = None, code: int | None = None
) -> JobInfo:
    return JobInfo(
        id="j1",
        backend="fake_manila",
        program=JobProgram(id="p1"),
        created=datetime.now(UTC),
        state=JobState(status=status, reason=reason, reason_code=code),
    )


@pytest.mark.parametrize(
    ("job", "body", "error"),
    [
        (ended(code=ReasonCode.PROGRAM_RAISED), TRACEBACK, ProgramFailedError),
        (ended(code=ReasonCode.PROGRAM_EXITED), "", ProgramFailedError),
        (ended(code=ReasonCode.RESULT_NOT_ENCODABLE), TRACEBACK, ProgramFailedError),
        (ended(code=ReasonCode.KILLED_BY_SIGNAL), "", JobProcessError),
        (ended(code=ReasonCode.MEMORY_LIMIT), "", JobProcessError),
        (ended(code=ReasonCode.START_FAILED), "", JobProcessError),
        (ended(code=ReasonCode.RAN_TOO_LONG), "", JobTimedOutError),
        (ended(JobStatus.CANCELLED, code=ReasonCode.RAN_TOO_LONG), "", JobTimedOutError),
        (ended(JobStatus.CANCELLED, "Ran too long"), "", JobTimedOutError),
        (ended(JobStatus.CANCELLED), "", JobCancelledError),
        (ended(code=ReasonCode.INTERRUPTED), "", JobInterruptedError),
        (ended(code=4711), TRACEBACK, ProgramFailedError),
        (ended(), "", JobProcessError),
    ],
)
def test_the_reason_decides_the_class(job: JobInfo, body: str, error: type[JobError]) -> None:
    assert type(job_error(job, body.encode(), None)) is error


def test_the_error_says_what_and_where_and_crosses_processes() -> None:
    job = ended(reason="ValueError: no such molecule", code=ReasonCode.PROGRAM_RAISED)
    error = pickle.loads(pickle.dumps(job_error(job, TRACEBACK.encode(), "the log")))
    assert str(error) == (
        "Job j1 of program p1 on fake_manila failed: ValueError: no such molecule."
    )
    assert error.__notes__ == [f"The program's own traceback:\n{error.traceback}"]
    assert (error.job_id, error.program_id, error.backend) == ("j1", "p1", "fake_manila")
    assert error.traceback == TRACEBACK
    assert error.log_tail == "the log"
    assert error.reason_code == ReasonCode.PROGRAM_RAISED


def test_the_error_has_the_session_and_the_limit_that_ended_the_job_as_fields() -> None:
    job = JobInfo.model_validate(
        {
            "id": "j1",
            "backend": "ibm_device",
            "session_id": "s1",
            "state": {
                "status": "Failed",
                "reasonCode": ReasonCode.HARDWARE_BUDGET,
                "limit": {"scope": "flow run", "limit_seconds": 15, "used_seconds": 20.5},
            },
        }
    )
    error = pickle.loads(pickle.dumps(job_error(job, None, None)))
    assert (error.backend, error.session_id) == ("ibm_device", "s1")
    assert (error.scope, error.limit_seconds, error.used_seconds) == ("flow run", 15.0, 20.5)


@pytest.mark.parametrize("limit", [None, "15 s", {"scope": "week", "limit_seconds": 15}])
def test_a_limit_that_cannot_be_read_is_not_known(limit: object) -> None:
    state = JobState.model_validate(
        {"status": "Failed", "reasonCode": ReasonCode.HARDWARE_BUDGET, "limit": limit}
    )
    error = job_error(JobInfo(id="j1", state=state), None, None)
    assert (error.scope, error.limit_seconds, error.used_seconds) == (None, None, None)


def test_the_error_of_a_job_that_ran_too_long_has_its_time_limit_as_a_field() -> None:
    job = ended(code=ReasonCode.RAN_TOO_LONG).model_copy(
        update={"cost": 60, "usage": {"seconds": 61.5}}
    )
    error = job_error(job, None, None)
    assert (error.scope, error.limit_seconds, error.used_seconds) == (None, 60, 61.5)


def test_only_an_interrupted_job_may_be_sent_again() -> None:
    assert is_retryable(job_error(ended(code=ReasonCode.INTERRUPTED), None, None))
    assert not is_retryable(job_error(ended(code=ReasonCode.PROGRAM_RAISED), None, None))
