"""Quantum programs from a flow, through the real embedded service."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_aer.noise import NoiseModel, ReadoutError
from qiskit_ibm_runtime import QuantumProgram
from qiskit_ibm_runtime.options_models import ExecutorOptions
from qiskit_ibm_runtime.results import QuantumProgramResult
from samplomatic.quantum_program import QuantumProgram as SamplomaticProgram

from prefect_qiskit_runtime import (
    ConfigurationError,
    EncodingError,
    InvalidInputError,
    ProgramFailedError,
    RuntimeBackend,
    primitives as tasks,
)
from prefect_qiskit_runtime.codec import seams

pytestmark = pytest.mark.usefixtures("service_home")

IDEAL = "aer_simulator"
RECORDING = RuntimeBackend(name=IDEAL, unsupported_options="record")
run_executor, submit_executor = tasks.run_executor.fn, tasks.submit_executor.fn


def quantum_program(kind: type = QuantumProgram, **fields: object) -> SamplomaticProgram:
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("angle"), 0)
    circuit.measure_all()
    program = kind(shots=200, **fields)
    program.append_circuit_item(circuit, np.array([[0.0], [1.5], [np.pi]]))
    return program


@pytest.mark.parametrize("kind", [QuantumProgram, SamplomaticProgram])
def test_a_quantum_program_of_either_package_runs(kind: type) -> None:
    result = run_executor(quantum_program(kind), backend=IDEAL, seed=5)
    assert isinstance(result, QuantumProgramResult)
    bits = result[0]["meas"]
    assert (bits.shape, bits.dtype) == ((3, 200, 1), bool)
    assert not bits[0].any()
    assert 0.3 < bits[1].mean() < 0.6
    assert bits[2].all()


def test_a_submitted_job_decodes_likewise_and_a_seed_repeats_it() -> None:
    job = submit_executor(quantum_program(), backend=IDEAL, seed=5)
    again = run_executor(quantum_program(), backend=IDEAL, seed=5)
    assert np.array_equal(job.result()[0]["meas"], again[0]["meas"])
    assert job.program_id == "executor"


def test_options_are_those_of_the_client() -> None:
    noise = NoiseModel()
    noise.add_all_qubit_readout_error(ReadoutError([[0, 1], [1, 0]]))
    options = {
        "simulator": {"noise_model": noise, "seed_simulator": 1},
        "environment": {"job_tags": ["calibration"]},
        "max_execution_time": 60,
    }
    job = submit_executor(quantum_program(), backend=IDEAL, options=options)
    assert job.result()[0]["meas"][0].all()
    assert job.info().tags == ["calibration"]
    given = ExecutorOptions(experimental={"simulator": {"seed_simulator": 5}})
    first, second = (
        run_executor(quantum_program(), backend=IDEAL, **asked)
        for asked in ({"options": given}, {"seed": 5})
    )
    assert np.array_equal(first[0]["meas"], second[0]["meas"])


def test_options_for_hardware_are_refused_before_a_job_is_made_or_ignored() -> None:
    options = {"execution": {"scheduler_timing": True}}
    with pytest.raises(InvalidInputError, match=r"execution\.scheduler_timing"):
        run_executor(quantum_program(), backend=IDEAL, options=options)
    job = submit_executor(quantum_program(), backend=RECORDING, options=options)
    assert job.result()[0]["meas"][2].all()
    assert "scheduler_timing=True" in job.logs()


def test_what_cannot_run_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EncodingError, match="runs a QuantumProgram, not QuantumCircuit"):
        run_executor(QuantumCircuit(1), backend=IDEAL)
    with pytest.raises(ProgramFailedError, match=r"items\[0\].*instruction set of fake_manila"):
        run_executor(quantum_program(), backend="fake_manila")
    with pytest.raises(ProgramFailedError, match="only 'classified' is supported"):
        run_executor(quantum_program(meas_level="kerneled"), backend=IDEAL)
    monkeypatch.setattr(seams, "executor_converter", lambda: None)
    with pytest.raises(ConfigurationError, match="qiskit-ibm-runtime that has Executor"):
        run_executor(quantum_program(), backend=IDEAL)
