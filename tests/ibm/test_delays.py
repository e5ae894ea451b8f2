"""IBM Quantum reads delays in dt only, so they are turned into it, or refused before a job."""

from __future__ import annotations

from typing import Any

import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_ibm_runtime import QuantumProgram
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from prefect_qiskit_runtime import (
    EncodingError,
    IBMQuantumCredentials,
    InvalidInputError,
    RuntimeBackend,
    primitives,
)
from prefect_qiskit_runtime.codec import decode, encode_inputs
from prefect_qiskit_runtime.codec.circuit_walk import walk

from ..team import TeamService  # noqa: TID252 - of two rooms

submit_sampler = primitives.submit_sampler.fn
submit_executor = primitives.submit_executor.fn

DEVICE = "fake_manila"
DT = FakeManilaV2().target.dt


@pytest.fixture
def device(credentials: IBMQuantumCredentials) -> RuntimeBackend:
    return RuntimeBackend(name=DEVICE, service="ibm", credentials=credentials)


def num_jobs(ibm: TeamService) -> int:
    with ibm.client() as client:
        return client.get("/jobs").json()["count"]


def delays_sent(ibm: TeamService, job_id: str) -> list[tuple[Any, str]]:
    with ibm.client() as client:
        ((circuit, *_),) = decode(client.get(f"/jobs/{job_id}").text)["params"]["pubs"]
    operations = [visit.operation for visit in walk(circuit) if visit.name == "delay"]
    return [(each.duration, each.unit) for each in operations]


def waiting(duration: Any, unit: str) -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    circuit.x(0)
    circuit.delay(duration, 0, unit)
    circuit.measure(0, 0)
    return circuit


@pytest.mark.parametrize("transpile", [True, False])
@pytest.mark.parametrize(("duration", "unit"), [(160, "us"), (1.6e-4, "s"), (160_000.0, "ns")])
def test_a_delay_goes_to_ibm_in_the_dt_of_the_device(
    duration: float, unit: str, transpile: bool, ibm: TeamService, device: RuntimeBackend
) -> None:
    job = submit_sampler([waiting(duration, unit)], backend=device, transpile=transpile)

    assert delays_sent(ibm, job.job_id) == [(round(160e-6 / DT), "dt")]


def test_a_delay_in_a_branch_goes_to_ibm_in_dt(ibm: TeamService, device: RuntimeBackend) -> None:
    circuit = waiting(3, "dt")
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.delay(1.5, 0, "us")

    job = submit_sampler([circuit], backend=device)

    assert delays_sent(ibm, job.job_id) == [(3, "dt"), (round(1.5e-6 / DT), "dt")]


def test_a_delay_of_a_parameter_in_real_time_makes_no_job(
    ibm: TeamService, device: RuntimeBackend
) -> None:
    before = num_jobs(ibm)

    with pytest.raises(
        InvalidInputError, match=r"^pubs\[1\]: a delay of time us cannot be turned into .* dt"
    ) as caught:
        submit_sampler(
            [waiting(3, "dt"), (waiting(Parameter("time"), "us"), [1.0])], backend=device
        )

    assert caught.value.path == "$.pubs[1]"
    assert num_jobs(ibm) == before


def test_a_quantum_program_with_a_delay_in_real_time_makes_no_job(
    ibm: TeamService, device: RuntimeBackend
) -> None:
    before = num_jobs(ibm)
    program = QuantumProgram(shots=10)
    program.append_circuit_item(waiting(160, "us"))

    with pytest.raises(
        EncodingError,
        match=r"^The circuit of item 0 .* instruction 1 \('delay'\) waits 160(\.0)? us, and IBM "
        r"Quantum reads delays in dt only",
    ):
        submit_executor(program, backend=device)

    assert num_jobs(ibm) == before


def test_inputs_that_are_encoded_for_ibm_have_no_delay_in_real_time() -> None:
    with pytest.raises(
        EncodingError, match=r"^Cannot encode \$\.pubs\[0\]\[0\]: .* waits 160(\.0)? us, and IBM"
    ):
        encode_inputs({"pubs": [(waiting(160, "us"),)]}, is_for_ibm=True)
