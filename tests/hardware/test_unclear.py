"""A broker whose submissions have no clear outcome, or whose jobs are not found by their tags."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from prefect_qiskit_runtime.broker import _submission
from prefect_qiskit_runtime.broker._budget import Budget, Limits
from prefect_qiskit_runtime.broker._journal import Journal
from prefect_qiskit_runtime.broker._line import BrokerLine
from prefect_qiskit_runtime.broker._session import HardwareSession
from prefect_qiskit_runtime.broker._submission import Account, Asked, HardwareCall
from prefect_qiskit_runtime.client import IbmApi
from prefect_qiskit_runtime.errors import SubmissionUnclearError
from prefect_qiskit_runtime.settings import Settings
from tests.hardware.conftest import Cloud
from tests.proxy import Fault, Proxy
from tests.simulated_ibm import ibm_credentials

DEVICE = "fake_manila"
SUBMISSION = r"POST /api/v1/jobs$"


@asynccontextmanager
async def calling(cloud: Cloud, proxy: Proxy, folder: Path) -> AsyncIterator[HardwareCall]:
    """A call of a broker that reaches IBM through a proxy."""
    credentials = ibm_credentials(proxy.url, cloud.service.token)
    settings = Settings(submission_grace_seconds=0.2)
    with Journal(folder / "one.jsonl") as journal:
        async with IbmApi(credentials.account(), settings=settings) as api:
            budget = Budget(api, DEVICE, "label", Limits(max_execution_seconds=60))
            session = HardwareSession(api, DEVICE, journal, budget, "job")
            line = BrokerLine(api, folder)
            account = Account(api, DEVICE, "label", journal, session, line, settings)
            yield HardwareCall(account, Asked("sampler", "f", "{}"))


async def test_submissions_that_never_have_a_clear_outcome_end(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_submission, "_UNCLEAR_SECONDS", 0.1)
    proxy = Proxy(cloud.service.url)
    proxy.faults.append(Fault(SUBMISSION, "before", 503, times=1000))
    try:
        async with asyncio.timeout(30), calling(cloud, proxy, tmp_path) as call:
            with pytest.raises(SubmissionUnclearError, match="no request to submit this job had a"):
                await call.result()
    finally:
        proxy.close()
    assert proxy.seen.count("POST /api/v1/jobs") == 2
