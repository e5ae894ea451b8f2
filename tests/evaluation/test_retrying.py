"""Which requests are repeated, which submissions are sent again, and which errors are final."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefect_qiskit_runtime import (
    AuthenticationError,
    JobInterruptedError,
    RateLimitedError,
    RuntimeBackend,
    RuntimeServiceCredentials,
    list_jobs,
    run_program,
    submit_program,
    upload_program,
)
from prefect_qiskit_runtime.client import embedded_api
from tests.embedded import embedded_home
from tests.proxy import Fault, Proxy
from tests.team import TOKENS

PROGRAM = """
import os, time

def main(backend, user_messenger, path="/"):
    user_messenger.publish("started")
    while not os.path.exists(path):
        time.sleep(0.02)
    return "done"
"""
SUBMISSION = r"POST /jobs$"


@pytest.fixture
def backend(proxy: Proxy) -> RuntimeBackend:
    credentials = RuntimeServiceCredentials(url=proxy.url, token=TOKENS["alice"])
    return RuntimeBackend(service="team", credentials=credentials, retry_delay_seconds=0.1)


@pytest.fixture
def program(backend: RuntimeBackend) -> str:
    return upload_program.fn(PROGRAM, name="waiting", backend=backend)


@pytest.fixture
def own_home(tmp_path: Path) -> Iterator[Path]:
    """An embedded service that may be killed."""
    with embedded_home(tmp_path / "home"):
        yield tmp_path


def kill_embedded_service() -> None:
    async def pid() -> int:
        async with embedded_api() as api:
            return (await api.service_status()).pid

    os.kill(asyncio.run(pid()), signal.SIGKILL)


def submissions(proxy: Proxy) -> int:
    return proxy.seen.count("POST /jobs")


def test_a_job_that_its_service_has_lost_is_sent_again(own_home: Path) -> None:
    program, gate = upload_program.fn(PROGRAM, name="waiting"), own_home / "gate"
    seen: list[tuple[str, str]] = []

    def kill_at_the_first(job_id: str, interim: str) -> None:
        if not seen:
            kill_embedded_service()
            gate.touch()
        seen.append((job_id, interim))

    backend = RuntimeBackend(retry_delay_seconds=0.1)
    result = run_program.fn(
        program, {"path": str(gate)}, backend=backend, callback=kill_at_the_first
    )
    second, first = list_jobs.fn(backend="aer_simulator")
    assert result == "done"
    assert seen == [(first.id, "started"), (second.id, "started")]
    assert (first.attempt, first.state.reason_code, second.attempt) == (1, 1500, 2)


def test_one_attempt_is_never_sent_again(own_home: Path) -> None:
    program = upload_program.fn(PROGRAM, name="waiting")
    with pytest.raises(JobInterruptedError):
        run_program.fn(
            program,
            {"path": str(own_home / "never")},
            backend="aer_simulator",
            options={"attempts": 1},
            callback=lambda job_id, interim: kill_embedded_service(),
        )
    assert len(list_jobs.fn(backend="aer_simulator")) == 1


@pytest.mark.parametrize("request_", [r"GET /jobs/\w+/stream", r"GET /jobs/\w+/results"])
def test_a_question_that_fails_is_asked_again_and_submits_nothing(
    proxy: Proxy, backend: RuntimeBackend, program: str, request_: str
) -> None:
    proxy.faults += [
        Fault(request_, "before", 503),
        Fault(request_, "before", 429),
        Fault(request_, "after", "cut"),
    ]
    assert run_program.fn(program, backend=backend) == "done"
    assert submissions(proxy) == 1


def test_requests_for_a_submitted_job_are_retried_too(
    proxy: Proxy, backend: RuntimeBackend, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service is unreachable for longer than one request takes."""
    job = submit_program.fn(program, backend=backend)
    proxy.faults.append(Fault(r"GET /jobs/\w+/results", "before", 503, times=4))
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_REQUEST_TIMEOUT_SECONDS", "1")
    assert job.result() == "done"
    assert submissions(proxy) == 1


@pytest.mark.parametrize("action", ["cut", 500, 503])
def test_a_submission_whose_answer_is_lost_makes_one_job(
    proxy: Proxy, backend: RuntimeBackend, program: str, action: object
) -> None:
    before = {job.id for job in list_jobs.fn(backend=backend, limit=None)}
    proxy.faults.append(Fault(SUBMISSION, "after", action))  # type: ignore[arg-type]
    assert run_program.fn(program, backend=backend) == "done"
    new = [job for job in list_jobs.fn(backend=backend, limit=None) if job.id not in before]
    assert (submissions(proxy), len(new)) == (2, 1)


def test_a_busy_service_is_waited_for_until_the_deadline(
    proxy: Proxy, backend: RuntimeBackend, program: str
) -> None:
    proxy.faults.append(Fault(SUBMISSION, "before", 429, times=100))
    impatient = backend.model_copy(update={"retry_deadline_seconds": 0.1})
    with pytest.raises(RateLimitedError):
        run_program.fn(program, backend=impatient)


def test_a_wrong_token_is_reported_at_once(proxy: Proxy, program: str) -> None:
    credentials = RuntimeServiceCredentials(url=proxy.url, token="wrong")
    proxy.seen.clear()
    with pytest.raises(AuthenticationError, match="Check the token"):
        run_program.fn(program, backend=RuntimeBackend(service="team", credentials=credentials))
    assert proxy.seen == ["POST /jobs"]
