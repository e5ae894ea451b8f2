"""Today's qiskit-ibm-runtime, unmodified, against a real service."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import EstimatorV2, IBMBackend, QiskitRuntimeService, SamplerV2
from qiskit_ibm_runtime.exceptions import (
    RuntimeInvalidStateError,
    RuntimeJobFailureError,
    RuntimeJobNotFound,
    RuntimeProgramNotFound,
)
from qiskit_ibm_runtime.noise_learner import NoiseLearner

from prefect_qiskit_runtime.client import RuntimeClient
from prefect_qiskit_runtime.models import RuntimeOptions
from tests.team import TOKENS, TeamService

PROGRAM = """
import time

def main(backend, user_messenger, values, fail=False, wait=0):
    print("a line of the log")
    user_messenger.publish("interim")
    time.sleep(wait)
    if fail:
        raise ValueError("asked to fail")
    return {"values": values * 2, "complex": 1j, "backend": backend.name}
"""


@pytest.fixture(params=["ibm_quantum_platform", "ibm_cloud"])
def channel(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def service(connect: Callable[..., QiskitRuntimeService]) -> QiskitRuntimeService:
    return connect()


@pytest.fixture
async def ours(team: TeamService) -> AsyncIterator[RuntimeClient]:
    async with RuntimeClient(team.url, TOKENS["alice"]) as client:
        yield client


@pytest.fixture
async def submit(ours: RuntimeClient) -> Callable[..., object]:
    program_id = await ours.upload_program(PROGRAM, {"name": "doubling"})

    async def submit(*tags: str, wait_for_end: bool = True, **inputs: object) -> str:
        options = RuntimeOptions(tags=tags)
        job = await ours.run(
            program_id, {"values": np.arange(3), **inputs}, backend="fake_manila", options=options
        )
        if wait_for_end:
            await job.wait_for_final_state()
        return job.job_id

    return submit


def test_it_connects_through_each_channel(connect, channel) -> None:
    service = connect(channel=channel)
    (instance,) = service.instances()
    assert (instance["name"], instance["plan"], instance["pricing_type"]) == (
        "team",
        "open",
        "free",
    )
    assert service.active_instance() == instance["crn"]
    assert connect(channel=channel, instance=instance["crn"]).active_account()["channel"] == channel


def test_a_wrong_token_is_refused(connect) -> None:
    with pytest.raises(Exception, match="valid API token"):
        connect("wrong")


def test_backends_are_listed_and_filtered(service) -> None:
    names = [backend.name for backend in service.backends()]
    assert names[0] == "aer_simulator" and len(names) > 50
    large = service.backends(min_num_qubits=100, simulator=False)
    assert "fake_sherbrooke" in {backend.name for backend in large}
    assert all(backend.num_qubits >= 100 for backend in large)


def test_a_backend_has_its_target_and_status(service) -> None:
    backend = service.backend("fake_manila")
    assert isinstance(backend, IBMBackend)
    assert backend.target.num_qubits == backend.physical_qubits == 5
    assert backend.properties().qubits
    assert (backend.status().operational, backend.status().pending_jobs) == (True, 0)


@pytest.mark.filterwarnings("ignore:No gate definition:RuntimeWarning")
def test_circuits_are_transpiled_for_the_ideal_simulator(service) -> None:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    transpiled = transpile(circuit, service.backend("aer_simulator"))
    assert transpiled.count_ops() == {"measure": 2, "h": 1, "cx": 1, "barrier": 1}


def test_the_least_busy_backend_is_found(service) -> None:
    assert service.least_busy(simulator=False, min_num_qubits=5).num_qubits >= 5


async def test_a_job_that_our_client_submitted_is_read(service, submit) -> None:
    job = service.job(await submit("mine"))
    result = job.result()
    np.testing.assert_array_equal(result["values"], [0, 2, 4])
    assert (result["complex"], result["backend"]) == (1j, "fake_manila")
    assert (job.status(), job.done(), job.error_message()) == ("DONE", True, None)
    assert job.logs() == "a line of the log\n"
    assert (job.tags, job.backend().name, job.session_id) == (["mine"], "fake_manila", None)
    np.testing.assert_array_equal(job.inputs["values"], [0, 1, 2])
    assert job.metrics()["timestamps"]["finished"] is not None
    assert service.usage()["usage_limit_reached"] is False


async def test_the_usage_of_a_job_is_that_of_the_service(
    service: QiskitRuntimeService, submit: Callable[..., object], team: TeamService
) -> None:
    job = service.job(await submit())
    job.wait_for_final_state(timeout=60)
    assert job.metrics()["usage"] == {"qpu_charge_time_seconds": 0.0, "status": "complete"}
    assert (job.usage(), job.usage(partial=True)) == (0.0, 0.0)
    # No device can be used here: the time that its job has used is written into the database.
    with closing(sqlite3.connect(team.home / "runtime.db")) as database, database:
        used = "UPDATE jobs SET quantum_seconds = 12.5 WHERE id = ?"
        assert database.execute(used, [job.job_id()]).rowcount == 1
    assert (job.usage(), job.usage(partial=True)) == (12.5, 12.5)
    assert job.metrics()["circuits_execution_time_ns"] == 12_500_000_000


async def test_a_failed_job_tells_why(service, submit) -> None:
    job = service.job(await submit(fail=True))
    with pytest.raises(RuntimeJobFailureError, match="asked to fail"):
        job.result()
    assert job.status() == "ERROR"
    assert "ValueError: asked to fail" in job.error_message()


async def test_jobs_are_found_by_what_they_are(service, submit) -> None:
    job_id, other = [await submit("sweep", tag) for tag in ("a", "b")]

    def found(**wanted: object) -> list[str]:
        return [job.job_id() for job in service.jobs(limit=None, **wanted)]

    assert found(job_tags=["sweep"]) == [other, job_id]
    assert found(job_tags=["sweep"], descending=False) == [job_id, other]
    assert found(job_tags=["sweep", "a"]) == [job_id]
    assert found(job_tags=["sweep"], backend_name="fake_vigo") == []
    assert found(job_tags=["sweep"], pending=True) == []
    program_id = service.job(job_id).primitive_id
    assert found(program_id=program_id)[:2] == [other, job_id]
    assert found(program_id="another") == []
    # IBM's documentation includes both times.
    created, later = [service.job(one).creation_date for one in (job_id, other)]
    assert found(job_tags=["sweep"], created_before=created) == [job_id]
    assert found(job_tags=["sweep"], created_after=later) == [other]
    assert len(service.jobs(limit=1, skip=1, job_tags=["sweep"])) == 1


async def test_a_job_is_cancelled_tagged_and_deleted(service, submit) -> None:
    job = service.job(await submit(wait_for_end=False, wait=120))
    assert job.update_tags(["new"]) == ["new"]
    job.cancel()
    assert (job.status(), job.cancelled()) == ("CANCELLED", True)
    with pytest.raises(RuntimeInvalidStateError):
        job.cancel()
    service.delete_job(job.job_id())
    with pytest.raises(RuntimeJobNotFound):
        service.job(job.job_id())


async def test_a_running_job_is_deleted(service, submit) -> None:
    job_id = await submit(wait_for_end=False, wait=120)
    service.delete_job(job_id)
    with pytest.raises(RuntimeJobNotFound):
        service.job(job_id)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # NoiseLearner since 0.51
def test_the_noise_learner_is_refused_with_the_reason(service: QiskitRuntimeService) -> None:
    circuit = QuantumCircuit(2)
    circuit.cz(0, 1)
    learner = NoiseLearner(service.backend("fake_fez"))
    with pytest.raises(RuntimeProgramNotFound, match="noise of the gates of a quantum device"):
        learner.run([circuit])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # IBM's V2 primitives since 0.50
@pytest.mark.filterwarnings("ignore:No gate definition:RuntimeWarning")
def test_randomizations_and_their_shots_set_the_shots(service: QiskitRuntimeService) -> None:
    twirling = {"num_randomizations": 16, "shots_per_randomization": 100}
    options = {"default_precision": 0.05, "default_shots": 400, "twirling": twirling}
    circuit = QuantumCircuit(1)
    estimator = EstimatorV2(service.backend("aer_simulator"), options=options)
    assert estimator.run([(circuit, "Z")]).result()[0].metadata["shots"] == 1600


async def test_another_user_sees_nothing_of_it(connect, submit) -> None:
    job_id = await submit()
    bob = connect("bob")
    assert bob.jobs(limit=None) == []
    with pytest.raises(RuntimeJobNotFound):
        bob.job(job_id)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # IBM's V2 primitives since 0.50
@pytest.mark.filterwarnings("ignore:No gate definition:RuntimeWarning")
def test_the_result_of_a_private_job_is_given_out_once(service: QiskitRuntimeService) -> None:
    circuit = QuantumCircuit(1)
    circuit.measure_all()
    sampler = SamplerV2(
        service.backend("aer_simulator"), options={"environment": {"private": True}}
    )
    job = sampler.run([circuit], shots=10)
    assert job.result()[0].data.meas.get_counts() == {"0": 10}
    fetched = service.job(job.job_id())
    assert (fetched.private, fetched.inputs) == (True, {})
    assert fetched.result() is None  # an empty answer, as from IBM's service


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # IBM's V2 primitives since 0.50
@pytest.mark.filterwarnings("ignore:No gate definition:RuntimeWarning")
@pytest.mark.parametrize("name", ["aer_simulator", "fake_manila"])
def test_primitives(service: QiskitRuntimeService, name: str) -> None:
    backend = service.backend(name)
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    isa = transpile(circuit, backend, optimization_level=1, seed_transpiler=1)
    observable = SparsePauliOp("ZZ").apply_layout(isa.layout)
    estimator = EstimatorV2(backend, options={"resilience_level": 1, "seed_estimator": 3})
    job = estimator.run([(isa, observable)])
    result = job.result()
    assert result[0].data.evs == pytest.approx(1, abs=0.2)
    assert (result[0].data.stds == 0) == (name == "aer_simulator")
    assert result.metadata["unsupported_options"] == {"resilience_level": 1}
    assert "resilience_level=1" in job.logs()

    measured = transpile(
        circuit.measure_all(inplace=False), backend, optimization_level=1, seed_transpiler=1
    )
    (sampled,) = SamplerV2(backend).run([measured], shots=100).result()
    assert sum(sampled.data.meas.get_counts().values()) == 100
    fetched = service.job(job.job_id())
    assert fetched.primitive_id == "estimator"
    assert fetched.result()[0].data.evs == result[0].data.evs
