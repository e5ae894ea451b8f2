"""Circuits and options made ready for a device by the settings of the block."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp

from prefect_qiskit_runtime import (
    DryRun,
    IBMQuantumCredentials,
    InvalidInputError,
    RuntimeBackend,
    primitives,
)
from prefect_qiskit_runtime.codec import decode
from tests.circuits import bell
from tests.team import TeamService

run_sampler, submit_sampler = primitives.run_sampler.fn, primitives.submit_sampler.fn
run_estimator, submit_estimator = primitives.run_estimator.fn, primitives.submit_estimator.fn

DEVICE = "fake_manila"


@pytest.fixture
def device(credentials: IBMQuantumCredentials) -> RuntimeBackend:
    return RuntimeBackend(name=DEVICE, service="ibm", credentials=credentials)


def changed(block: RuntimeBackend, **fields: Any) -> RuntimeBackend:
    """The block with other fields, validated as a form would."""
    given = {name: getattr(block, name) for name in ("name", "service", "credentials")}
    return RuntimeBackend(**{**given, **fields})


def num_jobs(ibm: TeamService) -> int:
    with ibm.client() as client:
        return client.get("/jobs").json()["count"]


def sent(ibm: TeamService, job_id: str) -> dict[str, Any]:
    with ibm.client() as client:
        return decode(client.get(f"/jobs/{job_id}").text)["params"]


def test_circuits_are_transpiled_and_observables_get_their_layout(device: RuntimeBackend) -> None:
    circuit = QuantumCircuit(2)
    circuit.ry(Parameter("angle"), 0)
    observables = [SparsePauliOp("IZ"), SparsePauliOp("ZI")]
    pub = (circuit, [[one] for one in observables], [0.0, np.pi])
    block = changed(device, transpile=True, initial_layout=[3, 1], default_shots=1000)
    (result,) = run_estimator([pub], backend=block)
    np.testing.assert_allclose(result.data.evs, [[1, -1], [1, 1]], atol=0.15)


def test_what_is_sent_is_in_the_layout_that_was_asked_for(
    ibm: TeamService, device: RuntimeBackend
) -> None:
    block = changed(device, transpile=True, initial_layout=[3, 4])
    job = submit_sampler([bell(measured=True)], backend=block)
    ((circuit, *_),) = sent(ibm, job.job_id)["pubs"]
    assert circuit.num_qubits == 5
    measured = {circuit.find_bit(i.qubits[0]).index for i in circuit.data if i.name == "measure"}
    assert measured == {3, 4}
    assert job.preparation["transpilation"]["layouts"] == [[3, 4]]
    assert job.preparation["transpilation"]["calibration"]["last_update_date"]
    assert job.preparation["estimate"]["executions"] == 4096
    assert set(job.result()[0].data.meas.get_counts()) <= {"00", "01", "10", "11"}


def test_a_call_may_ask_for_it_where_the_block_does_not(device: RuntimeBackend) -> None:
    result = run_sampler([bell(measured=True)], backend=device, transpile=True, shots=10)
    assert result[0].data.meas.num_shots == 10


def test_a_circuit_outside_of_the_instruction_set_makes_no_job(
    ibm: TeamService, device: RuntimeBackend
) -> None:
    before = num_jobs(ibm)
    with pytest.raises(InvalidInputError, match=r"pubs\[1\]: Circuit 'bell'.*no 'h'") as caught:
        run_sampler([QuantumCircuit(1, 1), bell(measured=True)], backend=device)
    assert caught.value.path == "$.pubs[1]"
    assert num_jobs(ibm) == before


def test_a_circuit_that_cannot_be_transpiled_is_named(device: RuntimeBackend) -> None:
    block = changed(device, transpile=True, initial_layout=[0, 99])
    with pytest.raises(InvalidInputError, match=r"^pubs\[0\]: "):
        run_sampler([bell(measured=True)], backend=block)


def test_options_of_the_block_are_sent_unless_the_call_names_others(
    ibm: TeamService, credentials: IBMQuantumCredentials
) -> None:
    block = RuntimeBackend(
        service="ibm",
        credentials=credentials,
        default_shots=100,
        resilience_level=2,
        twirl_gates=True,
        dynamical_decoupling="XY4",
        estimator_options={"twirling": {"num_randomizations": 8}},
    )
    asked = {"resilience_level": 0, "twirling": {"strategy": "all"}}
    job = submit_estimator([(bell(), "ZZ")], backend=block, options=asked)
    params = sent(ibm, job.job_id)
    assert params["resilience_level"] == 0
    assert params["options"]["default_shots"] == 100
    assert params["options"]["twirling"] == {
        "enable_gates": True,
        "num_randomizations": 8,
        "strategy": "all",
    }
    assert params["options"]["dynamical_decoupling"] == {"enable": True, "sequence_type": "XY4"}
    sampler = submit_sampler([bell(measured=True)], backend=block)
    assert "resilience_level" not in sent(ibm, sampler.job_id)


def test_a_precision_of_the_call_goes_before_shots_of_the_block(
    ibm: TeamService, credentials: IBMQuantumCredentials
) -> None:
    block = RuntimeBackend(service="ibm", credentials=credentials, default_shots=100)
    job = submit_estimator([(bell(), "ZZ")], backend=block, precision=0.1)
    assert sent(ibm, job.job_id)["options"] == {"default_precision": 0.1}


def test_options_of_the_block_are_checked_by_ibms_models_when_used(
    credentials: IBMQuantumCredentials,
) -> None:
    block = RuntimeBackend(
        service="ibm", credentials=credentials, estimator_options={"twirling": {"strategy": "no"}}
    )
    with pytest.raises(InvalidInputError, match="strategy"):
        run_estimator([(bell(), "ZZ")], backend=block)


# --- dry runs ----------------------------------------------------------------------------------


def test_a_dry_run_sends_nothing_and_says_what_it_would(
    ibm: TeamService, device: RuntimeBackend
) -> None:
    before = num_jobs(ibm)
    block = changed(device, transpile=True)
    pubs = [(bell(measured=True), None, 1000), bell(measured=True)]
    dry_run: Any = run_sampler(pubs, backend=block, dry_run=True)
    assert isinstance(dry_run, DryRun)
    assert num_jobs(ibm) == before
    assert (dry_run.backend, dry_run.service, dry_run.num_jobs) == (DEVICE, "ibm", 1)
    assert dry_run.is_accepted
    assert [one.two_qubit_gates for one in dry_run.circuits] == [1, 1]
    assert [one.num_qubits for one in dry_run.circuits] == [5, 5]
    assert dry_run.shots == 5096
    assert dry_run.estimate is not None
    seconds = dry_run.estimate.pubs[0].circuit_seconds
    assert dry_run.estimate.seconds == pytest.approx(2 + (250e-6 + seconds) * 5096)
    shown = str(dry_run)
    assert "nothing was submitted" in shown
    assert "Estimate, not a guarantee: 3.3 s of QPU time for 5,096 executions" in shown


def test_a_dry_run_names_each_circuit_that_would_be_refused(device: RuntimeBackend) -> None:
    dry_run: Any = submit_estimator([(bell(), "ZZ")], backend=device, dry_run=True)
    assert not dry_run.is_accepted
    (fault,) = dry_run.faults
    assert fault.startswith("pubs[0]: Circuit 'bell' is not in the instruction set of fake_manila")
    assert f"The call would be refused: {fault}" in str(dry_run)


def test_the_payload_of_a_dry_run_is_what_is_sent(
    ibm: TeamService, credentials: IBMQuantumCredentials
) -> None:
    import json

    from prefect_qiskit_runtime.codec import encode_inputs

    block = RuntimeBackend(service="ibm", credentials=credentials)
    dry_run: Any = run_sampler([bell(measured=True)], backend=block, dry_run=True)
    job = submit_sampler([bell(measured=True)], backend=block)
    with ibm.client() as client:
        params = client.get(f"/jobs/{job.job_id}").json()["params"]
    assert dry_run.payload_bytes == pytest.approx(len(json.dumps(params)), abs=20)
    assert len(encode_inputs(job.inputs())) == pytest.approx(dry_run.payload_bytes, abs=20)
