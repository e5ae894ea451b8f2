"""Many flows submit to one IBM account: together they stay within its limits."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prefect import flow, get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
)
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from qiskit import QuantumCircuit

from prefect_qiskit_runtime import RuntimeBackend, arun_sampler, asubmit_sampler
from prefect_qiskit_runtime.evaluation import submission_line
from prefect_qiskit_runtime.testing import OfflineService
from tests.evaluation.line import limits_of, set_pace
from tests.simulated_ibm import ibm_backend


@pytest.fixture(autouse=True)
def nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission_line, "_most_pending", {})


@pytest.fixture
def backend(cloud: OfflineService) -> RuntimeBackend:
    return ibm_backend(cloud.url, cloud.token)


def circuit(number: int) -> QuantumCircuit:
    made = QuantumCircuit(1, name=f"c{number}")
    made.rx(number, 0)
    made.measure_all()
    return made


@flow(persist_result=False)
async def sampling(number: int, backend: RuntimeBackend) -> int:
    result = await arun_sampler([circuit(number)], backend=backend, shots=10 + number)
    return result[0].data["meas"].num_shots


def submissions(cloud: OfflineService) -> list[int]:
    """The answers to all submissions."""
    return [request["status"] for request in cloud.requests("POST", "/jobs")]


async def set_limit(name: str, **fields: Any) -> None:
    async with get_client() as client:
        found = {limit.name for limit in await client.read_global_concurrency_limits(100)}
        if name in found:
            update = GlobalConcurrencyLimitUpdate(**fields)
            await client.update_global_concurrency_limit(name, update)
        else:
            create = GlobalConcurrencyLimitCreate(name=name, **fields)
            await client.create_global_concurrency_limit(create)


async def get_limit(name: str) -> GlobalConcurrencyLimitResponse:
    async with get_client() as client:
        return await client.read_global_concurrency_limit_by_name(name)


@pytest.mark.usefixtures("prefect_server")
async def test_flows_wait_in_line_for_the_pending_jobs_of_their_account(
    cloud: OfflineService, backend: RuntimeBackend
) -> None:
    await set_pace(backend, 0.001)
    cloud.add("pending_limit", jobs=1)
    held = cloud.add("hold_job")
    await asubmit_sampler.fn([circuit(0)], backend=backend)
    flows = asyncio.gather(*(sampling(number, backend) for number in range(3)))
    while 400 not in submissions(cloud):
        await asyncio.sleep(0.05)
    cloud.remove(held)
    assert await flows == [10, 11, 12]
    answers = submissions(cloud)
    assert (answers.count(200), answers.count(400), len(answers)) == (4, 1, 5)
    assert (await get_limit(f"{await limits_of(backend)}-turn")).active_slots == 0


@pytest.mark.usefixtures("prefect_server")
async def test_places_that_the_dead_have_left_come_back(backend: RuntimeBackend) -> None:
    """The state after a worker was killed in its turn, with the minute's submissions used up."""
    name = await limits_of(backend)
    await set_limit(f"{name}-turn", limit=1, active_slots=1, slot_decay_per_second=1)
    await set_pace(backend, 2.0)
    for number in range(1, 6):
        await set_limit(f"{name}-submission-{number}", active_slots=1)
    assert await sampling(1, backend) == 11


@pytest.mark.usefixtures("prefect_server")
async def test_one_fault_of_prefects_api_costs_no_place_in_line(
    cloud: OfflineService, backend: RuntimeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission_line, "_AWAY_SECONDS", 0.1)
    monkeypatch.setattr(submission_line, "time", SimpleNamespace(monotonic=lambda: 0.0))
    name = f"{await limits_of(backend)}-turn"
    await set_limit(name, limit=1, active_slots=1, slot_decay_per_second=1e-6)
    await set_pace(backend, 0.001)
    read, asked, failed = PrefectClient.read_global_concurrency_limit_by_name, [], asyncio.Event()

    async def read_or_fail(client: PrefectClient, name: str) -> GlobalConcurrencyLimitResponse:
        asked.append(name)
        if len(asked) == 3:
            raise httpx.ConnectError("for a moment")
        if len(asked) == 4:
            failed.set()
        return await read(client, name)

    monkeypatch.setattr(PrefectClient, "read_global_concurrency_limit_by_name", read_or_fail)
    waiting = asyncio.create_task(sampling(1, backend))
    await failed.wait()
    assert set(asked[:4]) == {name}
    assert submissions(cloud) == []
    await set_limit(name, limit=1, active_slots=0)
    assert await waiting == 11


@pytest.mark.usefixtures("prefect_server")
async def test_the_minute_of_a_submission_begins_when_it_was_answered(
    cloud: OfflineService, backend: RuntimeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next is sent a minute after arrival at the service, however long that took."""
    hold, held = submission_line._Slot.hold, []

    async def seen(slot: submission_line._Slot) -> None:
        held.append((slot.name, submissions(cloud)))
        await hold(slot)

    monkeypatch.setattr(submission_line._Slot, "hold", seen)
    name = await limits_of(backend)
    await set_pace(backend, 1e6)
    for number in range(1, 6):
        await set_limit(f"{name}-submission-{number}", active_slots=0)
    await sampling(1, backend)
    slot = f"{name}-submission-1"
    assert (slot, [200]) in held
    assert (await get_limit(slot)).active_slots == 1


async def test_outside_of_flows_the_service_says_when(
    cloud: OfflineService, backend: RuntimeBackend
) -> None:
    cloud.add("pending_limit", jobs=1)
    held = cloud.add("hold_job")
    await asubmit_sampler.fn([circuit(1)], backend=backend)
    running = asyncio.create_task(arun_sampler.fn([circuit(2)], backend=backend, shots=10))
    while len(submissions(cloud)) < 2:
        await asyncio.sleep(0.05)
    cloud.remove(held)
    result = await running
    assert result[0].data["meas"].num_shots == 10
    assert submissions(cloud) == [200, 400, 200]
