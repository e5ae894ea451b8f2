"""prefect-qiskit with this service in place of IBM Quantum: its client, its blocks, its flows."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from circuits import bell
from prefect import flow
from prefect.client.orchestration import get_client
from prefect_qiskit.exceptions import RuntimeJobFailure
from prefect_qiskit.primitives import PrimitiveJob, PrimitiveJobRun
from prefect_qiskit.runtime import QuantumRuntime
from prefect_qiskit.vendors.ibm_quantum import IBMQuantumCredentials
from prefect_qiskit.vendors.ibm_quantum.client import IBMQuantumPlatformClient
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager


def sampled(client: IBMQuantumPlatformClient, backend: str = "aer_simulator") -> str:
    """Run a sampler to its end and return its job."""
    pub = SamplerPub.coerce(bell(measured=True), shots=100)

    async def run() -> str:
        job_id = await client.run_primitive("sampler", [pub], backend, {})
        run = PrimitiveJobRun.model_construct(
            job_id=job_id, job_watch_poll_interval=0.05, credentials=None
        )
        while await client.get_job_status(run.job_id) != "COMPLETED":
            await asyncio.sleep(run.job_watch_poll_interval)
        return job_id

    return asyncio.run(run())


def sampled_in_a_flow(runtime: QuantumRuntime) -> dict[str, int]:
    @flow
    def sample() -> dict[str, int]:
        passes = generate_preset_pass_manager(target=runtime.get_target(), optimization_level=1)
        (result,) = runtime.sampler([(passes.run(bell(measured=True)), [], 10)])
        return result.data.meas.get_counts()

    return sample()


def jobs(api: httpx.Client) -> int:
    return api.get("/jobs").json()["count"]


def test_its_client_reads_backends(client: IBMQuantumPlatformClient) -> None:
    names = asyncio.run(client.get_resources())
    assert {"aer_simulator", "fake_manila", "fake_sherbrooke"} <= set(names)
    assert asyncio.run(client.check_resource_available("fake_manila"))
    target = asyncio.run(client.get_target("fake_manila"))
    assert client.logger.name.startswith("prefect")
    assert (target.num_qubits, "cx" in target) == (5, True)


def test_its_client_runs_a_primitive(client: IBMQuantumPlatformClient) -> None:
    job_id = sampled(client)
    (result,) = asyncio.run(client.get_primitive_result(job_id))
    assert set(result.data.meas.get_counts()) == {"00", "11"}
    metrics = asyncio.run(client.get_job_metrics(job_id))
    assert metrics.timestamp_created <= metrics.timestamp_started <= metrics.timestamp_completed
    assert metrics.qpu_usage >= 0


def test_a_failed_job_is_reported_as_its_own_error(client: IBMQuantumPlatformClient) -> None:
    pub = SamplerPub.coerce(bell(measured=True), shots=100)

    async def fail() -> None:
        options = {"params": {"unsupported_options": "refuse", "options": {"twirling": {}}}}
        # Not in the instruction set of the device.
        job_id = await client.run_primitive("sampler", [pub], "fake_manila", options)
        while await client.get_job_status(job_id) != "COMPLETED":
            await asyncio.sleep(0.05)

    with pytest.raises(RuntimeJobFailure, match="failed"):
        asyncio.run(fail())


def test_an_unknown_job_or_backend_is_an_error(client: IBMQuantumPlatformClient) -> None:
    with pytest.raises(RuntimeJobFailure, match="HTTP 404"):
        asyncio.run(client.get_job_status("nothing"))
    with pytest.raises(RuntimeJobFailure, match="HTTP 404"):
        asyncio.run(client.get_target("nowhere"))


def test_a_block_names_a_backend_that_there_is(credentials: IBMQuantumCredentials) -> None:
    with pytest.raises(ValueError, match="nowhere is not available"):
        QuantumRuntime(resource_name="nowhere", credentials=credentials)


def test_a_wrong_key_is_refused(credentials: IBMQuantumCredentials) -> None:
    wrong = IBMQuantumCredentials(**{**credentials.model_dump(), "api_key": "wrong"})
    with pytest.raises(Exception, match="API key"):
        asyncio.run(wrong.get_client().get_resources())


def test_its_job_block_triggers_waits_and_fetches(credentials: IBMQuantumCredentials) -> None:
    pub = EstimatorPub.coerce((bell(), SparsePauliOp("ZZ")))
    job = PrimitiveJob(
        resource_name="aer_simulator",
        credentials=credentials,
        primitive_blocs=[pub],
        program_type="estimator",
        job_watch_poll_interval=0.05,
    )

    @flow
    async def run() -> float:
        job_run = await job.trigger()
        await job_run.wait_for_completion()
        (result,) = await job_run.fetch_result()
        assert (await job_run.fetch_metrics()).timestamp_completed is not None
        return float(result.data.evs)

    assert asyncio.run(run()) == pytest.approx(1)


def test_a_flow_samples_and_estimates_with_its_runtime_block(runtime: QuantumRuntime) -> None:
    @flow
    def primitives() -> tuple[int, float]:
        passes = generate_preset_pass_manager(target=runtime.get_target(), optimization_level=1)
        measured = passes.run(bell(measured=True))
        (counts,) = runtime.sampler([(measured, [], 100)], tags=["contract"])
        circuit = passes.run(bell())
        observable = SparsePauliOp("ZZ").apply_layout(circuit.layout)
        (energy,) = runtime.estimator([(circuit, observable)])
        return sum(counts.data.meas.get_counts().values()), float(energy.data.evs)

    shots, energy = primitives()
    assert shots == 100
    assert energy == pytest.approx(1, abs=0.25)


def test_its_task_sends_a_job_again_that_ibm_would_take_again(
    runtime: QuantumRuntime, api: httpx.Client
) -> None:
    api.post("/fault-mode/scenarios", json={"fault": "end_job", "reason_code": 1010})
    before = jobs(api)
    assert sum(sampled_in_a_flow(runtime.model_copy(update={"max_retry": 1})).values()) == 10
    assert jobs(api) == before + 2


def test_its_task_sends_no_job_again_whose_program_is_at_fault(
    runtime: QuantumRuntime, api: httpx.Client
) -> None:
    api.post("/fault-mode/scenarios", json={"fault": "end_job", "reason_code": 90001})
    before = jobs(api)
    with pytest.raises(RuntimeJobFailure, match="failed"):
        sampled_in_a_flow(runtime.model_copy(update={"max_retry": 1}))
    assert jobs(api) == before + 1


def test_its_metrics_become_an_artifact(runtime: QuantumRuntime) -> None:
    async def tables() -> list[str]:
        async with get_client() as api:
            return [str(artifact.data) for artifact in await api.read_artifacts()]

    sampled_in_a_flow(runtime)
    assert any("fake_manila" in table for table in asyncio.run(tables()))
