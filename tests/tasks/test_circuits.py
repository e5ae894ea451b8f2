"""Circuits with every construct, through the real embedded service: run as written, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Duration, Parameter
from qiskit.circuit.classical import expr
from qiskit.circuit.library import AndGate, HalfAdderGate, StatePreparation
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime import QuantumProgram
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from prefect_qiskit_runtime import primitives as tasks, run_program, upload_program
from prefect_qiskit_runtime.codec.circuit_walk import walk

pytestmark = pytest.mark.usefixtures("service_home")

IDEAL, NOISY = "aer_simulator", "fake_manila"
SHOTS = 20_000
run_sampler = tasks.run_sampler.fn
run_estimator = tasks.run_estimator.fn
run_executor = tasks.run_executor.fn


def decaying(duration: Any = 160, unit: str = "us") -> QuantumCircuit:
    """Return a circuit that measures how much of an excitation is left after a delay."""
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.delay(duration, 0, unit)
    circuit.measure_all()
    return circuit


@pytest.fixture(scope="module")
def reference() -> float:
    """Return the fraction of ones that Aer gives for 160 us on the device."""
    simulator = AerSimulator.from_backend(FakeManilaV2())
    counts = simulator.run(decaying(), shots=SHOTS, seed_simulator=11).result().get_counts()
    fraction = counts["1"] / SHOTS
    assert 0.29 < fraction < 0.33  # far from the 0.967 that is left after 160 dt
    return fraction


def ones(result: Any) -> float:
    return result[0].data.meas.get_counts()["1"] / SHOTS


# Five standard deviations of the difference of two fractions of 20,000 shots.
TOLERANCE = 5 * np.sqrt(2 * 0.31 * 0.69 / SHOTS)


@pytest.mark.parametrize(
    ("duration", "unit"), [(160, "us"), (160_000, "ns"), (0.16, "ms"), (1.6e-4, "s")]
)
def test_a_delay_in_real_time_decays_in_the_sampler_as_in_aer(duration, unit, reference):
    result = run_sampler([decaying(duration, unit)], backend=NOISY, shots=SHOTS, seed=1)

    assert abs(ones(result) - reference) < TOLERANCE


def test_a_delay_in_real_time_decays_in_the_estimator(reference):
    circuit = decaying().remove_final_measurements(inplace=False)

    result = run_estimator([(circuit, "Z")], backend=NOISY, shots=SHOTS, seed=1)

    assert abs((1 - float(result[0].data.evs)) / 2 - reference) < 1.5 * TOLERANCE


def test_a_delay_in_real_time_decays_in_the_executor(reference):
    program = QuantumProgram(shots=SHOTS)
    program.append_circuit_item(decaying())

    result = run_executor(program, backend=NOISY, seed=1)

    assert abs(result[0]["meas"].mean() - reference) < TOLERANCE


ECHO = '''
def main(backend, user_messenger, circuit):
    user_messenger.publish(circuit)
    return circuit
'''


def test_delays_come_back_from_a_program_with_their_units():
    program_id = upload_program.fn(ECHO, name="echo-of-a-circuit")
    circuit = QuantumCircuit(1, 1)
    circuit.delay(160, 0, "us")
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.delay(1.5, 0, "ns")
    circuit.delay(Parameter("time"), 0, "ms")
    interim: list[Any] = []

    result = run_program.fn(
        program_id, {"circuit": circuit}, backend=IDEAL, callback=lambda _, one: interim.append(one)
    )

    for arrived in (result, *interim):
        assert arrived == circuit
    assert len(interim) == 1
    found = [visit.operation for visit in walk(result) if visit.name == "delay"]
    assert [each.unit for each in found] == ["us", "ns", "ms"]


@pytest.mark.parametrize(
    "gate", [AndGate(2), HalfAdderGate(1), StatePreparation([0.6, 0.8]).inverse()]
)
def test_gates_of_the_library_run_that_could_not_be_read(gate):
    circuit = QuantumCircuit(gate.num_qubits)
    circuit.x(0)
    circuit.append(gate, circuit.qubits)
    expected = run_sampler_by_qiskit(circuit)
    circuit.measure_all()

    counts = run_sampler([circuit], backend=IDEAL, shots=SHOTS, seed=1)[0].data.meas.get_counts()

    for outcome, probability in expected.items():
        assert counts.get(outcome, 0) / SHOTS == pytest.approx(probability, abs=0.02)


def run_sampler_by_qiskit(circuit: QuantumCircuit) -> dict[str, float]:
    from qiskit.quantum_info import Statevector

    return Statevector(circuit).probabilities_dict()
