"""`RuntimeClient` with accounts, instances and backends, through a real service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager

from prefect_qiskit_runtime.client import RuntimeClient, SyncRuntimeClient
from prefect_qiskit_runtime.errors import ConfigurationError, EncodingError, NotFoundError
from tests.team import TOKENS, TeamService


@pytest.fixture(params=["ibm_quantum_platform", "ibm_cloud", "ibm_quantum", None])
async def client(ibm: TeamService, request: pytest.FixtureRequest) -> AsyncIterator[RuntimeClient]:
    """One for each channel, and one of a team's service."""
    url = ibm.url if request.param is None else f"{ibm.url}/api"
    async with RuntimeClient(url, TOKENS["alice"], channel=request.param) as client:
        yield client


@pytest.fixture
async def one(ibm: TeamService) -> AsyncIterator[RuntimeClient]:
    async with RuntimeClient(
        f"{ibm.url}/api/v1", TOKENS["alice"], channel="ibm_quantum_platform"
    ) as one:
        yield one


async def test_an_instance_is_known_through_each_channel(client: RuntimeClient) -> None:
    (instance,) = await client.instances()
    assert (instance.name, instance.plan, instance.pricing_type) == ("team", "open", "free")
    assert await client.active_instance() == instance.crn
    assert (await client.usage()).usage_limit_reached is False
    account = await client.active_account()
    assert account is not None
    assert account["token"].get_secret_value() == TOKENS["alice"]
    assert TOKENS["alice"] not in str(account)


async def test_a_primitive_runs_through_each_channel(client: RuntimeClient) -> None:
    circuit = QuantumCircuit(1)
    job = await client.run("estimator", {"pubs": [(circuit, "Z")]}, backend="aer_simulator")
    assert (await job.result())[0].data.evs == 1


async def test_an_instance_is_chosen_by_its_name(ibm: TeamService) -> None:
    for name in ("team", None):
        async with RuntimeClient(
            f"{ibm.url}/api/v1", TOKENS["bob"], channel="ibm_cloud", instance=name
        ) as client:
            assert (await client.active_instance()).startswith("crn:v1:")


async def test_a_backend_tells_what_it_is(one: RuntimeClient) -> None:
    backend = await one.backend("fake_manila")
    assert (backend.name, backend.num_qubits, backend.simulator) == ("fake_manila", 5, False)
    assert set(backend.configuration().basis_gates) == {"id", "rz", "sx", "x", "cx"}
    assert backend.n_qubits == 5  # what its configuration says
    status = await backend.status()
    assert (status.operational, status.pending_jobs, status.status_msg) == (True, 0, "active")
    properties = await backend.properties()
    assert properties is await backend.properties()
    assert properties.t1(0) > 0
    assert (await backend.properties(datetime=datetime.now(UTC))) is not properties
    with pytest.raises(AttributeError, match="has no attribute 'weight'"):
        _ = backend.weight


async def test_circuits_are_transpiled_for_its_target(one: RuntimeClient) -> None:
    target = await (await one.backend("fake_manila")).target()
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.cx(0, 2)
    isa = generate_preset_pass_manager(1, target=target, seed_transpiler=1).run(circuit)
    assert isa.num_qubits == 5
    assert set(isa.count_ops()) <= {"rz", "sx", "x", "cx"}


async def test_an_ideal_backend_has_no_calibration_and_all_its_gates(one: RuntimeClient) -> None:
    backend = await one.backend("aer_simulator")
    assert await backend.properties() is None
    assert {"h", "cx", "rx", "u"} <= set((await backend.target()).operation_names)


async def test_backends_are_filtered_as_ibms_clients_do(one: RuntimeClient) -> None:
    async def names(**asked: object) -> set[str]:
        return {backend.name for backend in await one.backends(**asked)}  # type: ignore[arg-type]

    everything = await names()
    assert await names(name="fake_lima") == {"fake_lima"}
    assert await names(simulator=True) == {"aer_simulator"}
    assert await names(operational=False) == set()
    dynamic = await names(dynamic_circuits=True)
    assert 0 < len(dynamic) < len(everything)
    assert await names(dynamic_circuits=False) == everything - dynamic
    small = await names(filters=lambda one: one.configuration().n_qubits == 5, simulator=False)
    assert "fake_manila" in small and "fake_sherbrooke" not in small
    assert await names(n_qubits=5) == small
    assert await names(processor_type={"family": "Falcon", "revision": "5.11", "segment": "L"})
    assert await names(weight=3) == set()


async def test_the_least_busy_backend_is_one_that_fits(one: RuntimeClient) -> None:
    chosen = await one.least_busy(min_num_qubits=20, filters=lambda one: one.num_qubits < 30)
    assert 20 <= chosen.num_qubits < 30
    with pytest.raises(NotFoundError, match="min_num_qubits=100000"):
        await one.least_busy(min_num_qubits=100_000)


async def test_one_backend_is_got_or_none(one: RuntimeClient) -> None:
    assert (await one.get_backend(simulator=True)).name == "aer_simulator"
    with pytest.raises(ConfigurationError, match=r"Several backends match.*fake_lima.*fake_manila"):
        await one.get_backend(n_qubits=5, simulator=False)
    with pytest.raises(NotFoundError, match="no backend 'nowhere'; backends"):
        await one.get_backend("nowhere")


async def test_a_client_works_in_one_instance(client: RuntimeClient) -> None:
    crn = await client.active_instance()
    assert (await client.backend("fake_lima", instance=crn)).name == "fake_lima"
    with pytest.raises(ConfigurationError, match="make another client with instance='crn:other'"):
        await client.backends(instance="crn:other")


def test_the_blocking_client_has_them_too(ibm: TeamService, tmp_path) -> None:
    file = str(tmp_path / "accounts.json")
    SyncRuntimeClient.save_account(TOKENS["alice"], f"{ibm.url}/api/v1", filename=file)
    with SyncRuntimeClient.from_saved_account(filename=file) as client:
        backend = client.backend("fake_manila")
        assert (backend.name, backend.num_qubits, backend.target.num_qubits) == (
            "fake_manila",
            5,
            5,
        )
        assert backend.status().operational
        assert backend.properties().t1(0) > 0
        assert client.least_busy(simulator=True).name == "aer_simulator"
        assert [one.name for one in client.backends("fake_lima")] == ["fake_lima"]
        assert client.instances()[0].crn == client.active_instance()
        assert "fake_manila" in repr(backend)


async def test_a_delay_in_real_time_is_refused_for_ibm_before_a_job(one: RuntimeClient) -> None:
    circuit = QuantumCircuit(1, 1)
    circuit.delay(160, 0, "us")
    circuit.measure(0, 0)
    before = len(await one.jobs(limit=None))

    with pytest.raises(EncodingError, match=r"waits 160(\.0)? us, and IBM Quantum reads delays"):
        await one.run("sampler", {"pubs": [(circuit,)]}, backend="fake_manila")

    assert len(await one.jobs(limit=None)) == before
