"""Private jobs: inputs are not shown, results are given out once."""

from __future__ import annotations

import pytest

from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.errors import NotFoundError
from prefect_qiskit_runtime.models import RuntimeOptions
from prefect_qiskit_runtime.service.execution.executor import Exited, Interim, ProgramError, Result

EXPLICIT = {"Result-Acknowledgement": "explicit"}
TODAY = {"IBM-API-Version": "2026-04-15"}
LEGACY = {"X-Qx-Client-Application": "ibmqiskitruntime/0.15.1"}


async def ended(local, client, *events, private: bool = True) -> str:
    job_id = await local.job(
        client, await local.program(client), private=private, params={"secret": 1}
    )
    (await local.executor.next()).send(*events, Exited(0, None, False))
    await local.ended(job_id)
    return job_id


async def test_inputs_are_not_shown(local) -> None:
    async with local.client() as client:
        job_id = await ended(local, client, Result("1"))
        job = (await client.get(f"/jobs/{job_id}")).json()
        assert job["private"] is True
        assert "params" not in job


async def test_a_result_is_given_out_once(local) -> None:
    async with local.client() as client:
        job_id = await ended(local, client, Interim("0"), Result('"the result"'))
        first = await client.get(f"/jobs/{job_id}/results")
        second = await client.get(f"/jobs/{job_id}/results")
        assert (first.status_code, first.text) == (200, '"the result"')
        assert second.status_code == 410
        assert "is no longer available" in second.json()["error"]["message"]
        assert (await client.get(f"/jobs/{job_id}/interim_results")).json() == []


@pytest.mark.parametrize("headers", [LEGACY, TODAY], ids=["legacy", "today"])
async def test_the_second_answer_to_a_client_of_ibm_is_empty(local, headers) -> None:
    async with local.client() as client:
        job_id = await ended(local, client, Result('"the result"'))
        path = f"/jobs/{job_id}/results"
        answers = [await client.get(path, headers=headers) for _ in range(3)]
        assert [(answer.status_code, answer.text) for answer in answers] == [
            (200, '"the result"'), (204, ""), (204, "")
        ]  # fmt: skip


async def test_who_acknowledges_may_ask_again_until_then(local) -> None:
    async with local.client() as client:
        job_id = await ended(local, client, Interim("0"), Result("1"))
        path = f"/jobs/{job_id}/results"
        answers = [await client.get(path, headers=EXPLICIT) for _ in range(3)]
        assert [answer.text for answer in answers] == ["1", "1", "1"]
        assert [(await client.delete(path)).status_code for _ in range(2)] == [204, 204]
        assert (await client.get(path, headers=EXPLICIT)).status_code == 410


async def test_a_link_to_a_bare_result_counts_when_it_is_followed(local) -> None:
    async with local.client() as client:
        job_id = await ended(local, client, Result("7"))
        path = f"/jobs/{job_id}/results"
        link = (await client.get(path, headers=LEGACY)).json()["url"]
        assert (await client.get(link)).text == "7"
        assert (await client.get(link)).status_code == 410


async def test_the_text_of_an_error_stays(local) -> None:
    async with local.client() as client:
        error = ProgramError("ValueError", "no", 90001, "traceback")
        job_id = await ended(local, client, error)
        texts = [(await client.get(f"/jobs/{job_id}/results")).text for _ in range(2)]
        assert texts == ["traceback", "traceback"]


async def test_results_of_other_jobs_stay_acknowledged_or_not(local) -> None:
    async with local.client() as client:
        job_id = await ended(local, client, Result("1"), private=False)
        path = f"/jobs/{job_id}/results"
        assert (await client.delete(path)).status_code == 204
        assert [(await client.get(path)).text for _ in range(2)] == ["1", "1"]


async def test_no_user_acknowledges_anothers_result(local) -> None:
    async with local.client() as client, local.client("bob") as bob:
        job_id = await ended(local, client, Result("1"))
        assert (await bob.delete(f"/jobs/{job_id}/results")).status_code == 404
        assert (await client.get(f"/jobs/{job_id}/results")).text == "1"


async def test_our_client_keeps_it_until_it_is_acknowledged(service, api, counting) -> None:
    async with RuntimeApi(service.discovery.url, service.token) as client:
        options = RuntimeOptions(private=True)
        submitted = await client.submit_job(counting, "{}", options=options)
        await client.wait_for_job(submitted.id)
        assert [await client.job_result(submitted.id) for _ in range(2)] == [b'"done"'] * 2
        await client.acknowledge_result(submitted.id)
        with pytest.raises(NotFoundError, match="is no longer available") as gone:
            await client.job_result(submitted.id)
        assert (gone.value.kind, gone.value.identifier) == ("result", submitted.id)
