"""A broker whose submissions have no clear outcome, or whose jobs are not found by their tags."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from prefect_qiskit_runtime import ProgramFailedError, submit_program
from prefect_qiskit_runtime.broker import _submission
from prefect_qiskit_runtime.broker._budget import Budget, Limits
from prefect_qiskit_runtime.broker._journal import Journal
from prefect_qiskit_runtime.broker._line import BrokerLine
from prefect_qiskit_runtime.broker._session import HardwareSession
from prefect_qiskit_runtime.broker._submission import Account, Asked, HardwareCall, Patience
from prefect_qiskit_runtime.client import IbmApi
from prefect_qiskit_runtime.errors import ServiceUnavailableError, SubmissionUnclearError
from prefect_qiskit_runtime.settings import Settings
from tests.hardware.conftest import Cloud
from tests.proxy import Fault, Proxy
from tests.simulated_ibm import ibm_credentials

DEVICE = "fake_manila"
SUBMISSION = r"POST /api/v1/jobs$"


@asynccontextmanager
async def calling(
    cloud: Cloud, proxy: Proxy, folder: Path, notes: list[str], seconds: int = 60
) -> AsyncIterator[HardwareCall]:
    """A call of a broker that reaches IBM through a proxy, for a program with a time limit."""
    credentials = ibm_credentials(proxy.url, cloud.service.token)
    settings = Settings(submission_grace_seconds=0.2)
    with Journal(folder / "one.jsonl") as journal:
        async with IbmApi(credentials.account(), settings=settings) as api:
            budget = Budget(api, DEVICE, "label", Limits(max_execution_seconds=60))
            session = HardwareSession(api, DEVICE, journal, budget, "job")
            line = BrokerLine(api, folder)
            patience = Patience.within(seconds)
            account = Account(
                api, DEVICE, "label", journal, session, line, settings, patience, notes.append
            )
            yield HardwareCall(account, Asked("sampler", "f", "{}"))


async def test_submissions_that_never_have_a_clear_outcome_end(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_submission, "_UNCLEAR_SECONDS", 0.1)
    proxy = Proxy(cloud.service.url)
    proxy.faults.append(Fault(SUBMISSION, "before", 503, times=1000))
    try:
        async with asyncio.timeout(30), calling(cloud, proxy, tmp_path, []) as call:
            with pytest.raises(SubmissionUnclearError, match="no request to submit this job had a"):
                await call.result()
    finally:
        proxy.close()
    assert proxy.seen.count("POST /api/v1/jobs") == 2


FULL = b'{"errors": [{"code": 1012, "message": "The account has too many pending jobs."}]}'
BUSY = b'{"errors": [{"code": 1202, "message": "Too many requests."}]}'


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault(SUBMISSION, "before", 429, BUSY, times=1000), "Too many requests"),
        (Fault(SUBMISSION, "before", 400, FULL, times=1000), "too many pending jobs"),
    ],
    ids=["429", "pending jobs"],
)
async def test_refusals_without_end_end_before_the_time_limit_of_the_program_with_the_reason(
    cloud: Cloud, tmp_path: Path, fault: Fault, why: str
) -> None:
    proxy, notes = Proxy(cloud.service.url), []
    proxy.faults.append(fault)
    try:
        async with asyncio.timeout(40), calling(cloud, proxy, tmp_path, notes, 8) as call:
            with pytest.raises(ServiceUnavailableError, match=why) as caught:
                await call.result()
    finally:
        proxy.close()
    assert "max_execution_time=8 s" in str(caught.value)
    assert f"Waiting to submit a job to {DEVICE}: " in notes[0]


def test_a_program_whose_submissions_are_refused_without_end_fails_with_the_reason_in_its_state(
    cloud: Cloud, vqe: str
) -> None:
    when = {"method": "POST", "path": "/jobs", "times": None}
    cloud.service.add("refuse", when=when, status=429, code=1202)
    backend = cloud.backend(hardware_mode="job")
    job = submit_program.fn(vqe, {}, backend=backend, options={"max_execution_time": 30})
    with pytest.raises(ProgramFailedError, match="No job was submitted to fake_manila before"):
        job.result(timeout_seconds=90)
    assert "Waiting to submit a job to fake_manila: A submission was refused" in job.logs()
