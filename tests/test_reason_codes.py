"""The next step after a job has ended without a result, by its reason code."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from prefect_qiskit_runtime.client import job_error
from prefect_qiskit_runtime.errors import JobError, JobTimedOutError, is_retryable
from prefect_qiskit_runtime.models import (
    JobInfo,
    JobProgram,
    JobState,
    JobStatus,
    NextStep,
    ReasonCode,
    RuntimeOptions,
    next_step,
)
from prefect_qiskit_runtime.submission.retrying import RetryPolicy


def error(code: int | None, status: JobStatus = JobStatus.FAILED) -> JobError:
    state = JobState(status=status, reason="It ended", reason_code=code)
    program = JobProgram(id="sampler")
    now = datetime.now(UTC)
    job = JobInfo(id="j", backend="b", state=state, program=program, created=now)
    return job_error(job, None, None)


@pytest.mark.parametrize(
    ("code", "step"),
    [
        (1000, NextStep.SEND_AGAIN),
        (3234, NextStep.SEND_AGAIN),
        (ReasonCode.INTERRUPTED, NextStep.SEND_AGAIN),
        (9999, NextStep.SEND_AGAIN_ONCE),
        (3208, NextStep.FETCH_AGAIN),
        (3458, NextStep.WAIT),
        (2615, NextStep.OTHER_BACKEND),
        (1517, NextStep.TRANSPILE_AGAIN),
        (4001, NextStep.NEW_SESSION),
        (ReasonCode.RAN_TOO_LONG, NextStep.MAKE_SMALLER),
        (8123, NextStep.MAKE_SMALLER),
        (1103, NextStep.STOP),
        (3457, NextStep.STOP),
        (ReasonCode.PROGRAM_RAISED, NextStep.STOP),
        (4242, NextStep.UNKNOWN),
        (None, NextStep.STOP),
    ],
)
def test_a_code_says_what_to_do_next(code: int | None, step: NextStep) -> None:
    assert next_step(code) is step
    assert is_retryable(error(code)) is step.sends_again


def test_all_our_own_codes_are_in_the_table() -> None:
    codes = [value for name, value in vars(ReasonCode).items() if name.isupper()]
    assert NextStep.UNKNOWN not in {next_step(code) for code in codes}


def test_an_unknown_code_is_said_to_be_unknown() -> None:
    assert "This reason code is unknown: the job is not sent again automatically." in str(
        error(4242)
    )


def test_a_cancelled_job_is_not_sent_again_whatever_its_code() -> None:
    assert not is_retryable(error(1000, JobStatus.CANCELLED))


def test_attempts_count_jobs_and_an_unknown_fault_gets_one_more() -> None:
    policy = RetryPolicy.from_options(RuntimeOptions(attempts=4))
    assert [policy.sends_again(error(1000), jobs) for jobs in (1, 3, 4)] == [True, True, False]
    assert [policy.sends_again(error(9999), jobs) for jobs in (1, 2)] == [True, False]
    assert not RetryPolicy(attempts=1).sends_again(error(9999), 1)


def test_waits_grow_up_to_a_minute_and_are_jittered() -> None:
    policy = RetryPolicy(delay_seconds=10.0)
    for submitted, longest in ((1, 10.0), (2, 20.0), (3, 40.0), (4, 60.0), (9, 60.0)):
        pauses = [policy.pause_seconds(submitted) for _ in range(50)]
        assert all(longest / 2 <= pause <= longest for pause in pauses)
        assert len(set(pauses)) > 1


@pytest.mark.parametrize("status", ["Cancelled - Ran too long", "CANCELLED - RAN TOO LONG"])
@pytest.mark.parametrize("where", ["in the state", "beside the state"])
def test_a_status_that_contains_ran_too_long_is_code_1305(status: str, where: str) -> None:
    state = {"status": status if where == "in the state" else "Cancelled", "reason_code": None}
    job = JobInfo.model_validate(
        {
            "id": "j",
            "backend": "b",
            "status": status,
            "state": state,
            "program": {"id": "sampler"},
            "created": "2026-08-01T00:00:00Z",
        }
    )
    assert (job.state.status, job.state.reason_code) == (JobStatus.CANCELLED, 1305)
    assert job.state.ran_too_long
    ended = job_error(job, None, None)
    assert type(ended) is JobTimedOutError
    assert "ran too long: it reached the service's limit." in str(ended)


def test_a_job_that_was_cancelled_has_no_reason_code() -> None:
    assert JobState.model_validate({"status": "Cancelled"}).reason_code is None
    assert JobState.model_validate({"status": "cancelled - by the user"}).reason_code is None
