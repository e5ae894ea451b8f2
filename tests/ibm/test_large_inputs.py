"""The largest inputs of a job, at the real limit."""

from __future__ import annotations

import re

import pytest

from prefect_qiskit_runtime import IBMQuantumCredentials, InvalidInputError
from prefect_qiskit_runtime.client import LARGEST_BODY_BYTES, RuntimeApi
from tests.team import TeamService


def params_text(num_bytes: int) -> str:
    filled = '{"pubs": [], "version": 2, "options": {"experimental": {"filled": ""}}}'
    return filled.replace('""', f'"{"x" * (num_bytes - len(filled))}"')


async def submit(api: RuntimeApi, num_bytes: int) -> str:
    text = params_text(num_bytes)
    return (await api.submit_job("estimator", text, backend="aer_simulator")).id


def num_jobs(ibm: TeamService) -> int:
    with ibm.client() as client:
        return client.get("/jobs").json()["count"]


async def test_one_byte_more_than_300_mb_is_not_sent(
    ibm: TeamService, credentials: IBMQuantumCredentials
) -> None:
    before = num_jobs(ibm)
    async with credentials.connect() as api:
        with pytest.raises(InvalidInputError, match=r"300,000,000 are allowed\. Nothing was sent"):
            await submit(api, LARGEST_BODY_BYTES)
    assert num_jobs(ibm) == before


@pytest.mark.slow
async def test_300_mb_are_sent_and_taken(
    ibm: TeamService, credentials: IBMQuantumCredentials
) -> None:
    async with credentials.connect() as api:
        with pytest.raises(InvalidInputError) as caught:
            await submit(api, LARGEST_BODY_BYTES)
        found = re.search(r"would have ([\d,]+)", str(caught.value))
        assert found is not None
        over = int(found[1].replace(",", "")) - LARGEST_BODY_BYTES
        assert 0 < over < 1000
        job_id = await submit(api, LARGEST_BODY_BYTES - over)
        with pytest.raises(InvalidInputError, match="too large"):
            await submit(api, LARGEST_BODY_BYTES - over + 1)
        assert (await api.get_job(job_id)).id == job_id
