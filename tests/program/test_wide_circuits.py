"""Circuits too wide for the simulator's memory: its verdict in words, and the ones that do run."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import PauliEvolutionGate
from qiskit.quantum_info import SparsePauliOp

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.loops import EstimatorObjective
from prefect_qiskit_runtime.program import ProgramBackend
from prefect_qiskit_runtime.program.legacy.primitives import run_legacy_sampler
from prefect_qiskit_runtime.program.legacy.runner_result import run_circuits
from prefect_qiskit_runtime.program.primitives import Request, run_estimator, run_sampler

WIDTH = 60


def chain(num_qubits: int = WIDTH, *, clifford: bool, measured: bool = True) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits, name=f"chain{num_qubits}")
    circuit.h(0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    if not clifford:
        circuit.t(range(num_qubits))
        circuit.h(range(num_qubits))
    if measured:
        circuit.measure_all()
    return circuit


def request(*pubs, **simulator) -> Request:
    inputs = {"pubs": list(pubs), "options": {"simulator": simulator}}
    return Request.read(inputs, unsupported_options="refuse")


# --- too wide ------------------------------------------------------------------------------


def test_a_sampler_without_the_memory_reports_the_simulators_figures(ideal):
    with pytest.raises(InvalidInputError) as caught:
        pubs = chain(2, clifford=True), chain(clifford=False)
        run_sampler(ideal, request(*pubs, method="statevector"))

    text = str(caught.value)
    assert text.startswith("pubs[1]: The simulator did not run the circuit: 60 qubits need 16 EiB")
    assert "method 'statevector'" in text
    assert "are available, which is enough for " in text
    assert "'stabilizer' runs Clifford circuits of any width" in text
    assert "options={'simulator': {'method': 'matrix_product_state', 'bond_dimension': 64}}" in text
    assert (caught.value.path, caught.value.rule) == ("$.pubs[1]", "circuits fit in memory")


def test_the_available_memory_is_that_of_the_simulator(ideal):
    ideal.set_options(method="statevector", max_memory_mb=64)  # 2**22 amplitudes of 16 bytes

    with pytest.raises(InvalidInputError) as caught:
        ideal.sampler(shots=5).run([chain(24, clifford=False)]).result()

    assert "24 qubits need 256 MiB" in str(caught.value)
    assert "64 MiB are available, which is enough for 22 qubits" in str(caught.value)
    assert ideal.sampler(shots=5).run([chain(22, clifford=False)]).result()[0].data.meas.num_shots


def test_a_density_matrix_needs_the_square_of_the_memory(ideal):
    ideal.set_options(method="density_matrix", max_memory_mb=64)

    with pytest.raises(InvalidInputError) as caught:
        ideal.sampler(shots=5).run([chain(12, clifford=False)]).result()

    assert "12 qubits need 256 MiB" in str(caught.value)
    assert "its method 'density_matrix'" in str(caught.value)
    assert "enough for 11 qubits" in str(caught.value)


def test_memory_beyond_64_bits_is_computed(ideal):
    ideal.set_options(method="statevector")
    with pytest.raises(InvalidInputError, match=r"100 qubits need 1\.8e\+13 EiB"):
        ideal.sampler(shots=5).run([chain(100, clifford=False)]).result()


@pytest.mark.parametrize("precision", [None, 0.1])
def test_an_estimator_without_the_memory_reports_the_same(ideal, precision):
    pub = (chain(clifford=False, measured=False), "Z" * WIDTH, None, precision)

    with pytest.raises(InvalidInputError) as caught:
        run_estimator(ideal, request(pub, method="statevector"))

    assert str(caught.value).startswith(
        "pubs[0]: The simulator did not run the circuit: 60 qubits need 16 EiB"
    )
    assert caught.value.rule == "circuits fit in memory"


def test_several_pubs_in_a_program_are_named_as_well(ideal):
    ideal.set_options(method="statevector")
    small, wide = chain(2, clifford=True), chain(clifford=False)

    with pytest.raises(InvalidInputError, match=r"^pubs\[1\]: The simulator did not run"):
        ideal.sampler(shots=5).run([small, wide]).result()
    with pytest.raises(InvalidInputError, match=r"^pubs\[1\]: The simulator did not run"):
        pubs = [
            (c.remove_final_measurements(inplace=False), "Z" * c.num_qubits) for c in (small, wide)
        ]
        ideal.estimator().run(pubs).result()


def test_the_other_primitives_report_the_verdict_too(ideal):
    ideal.set_options(method="statevector")
    wide = chain(clifford=False)

    with pytest.raises(InvalidInputError, match=r"^circuits\[0\]: The simulator did not run"):
        run_legacy_sampler(ideal, {"circuits": [wide], "run_options": {"shots": 5}})
    with pytest.raises(InvalidInputError, match=r"^circuits\[1\]: The simulator did not run"):
        run_circuits(ideal, [chain(2, clifford=True), wide], {"shots": 5}, mitigate=False)


def test_a_program_reads_the_status_of_a_circuit_with_variables_that_did_not_run(ideal):
    circuit = chain(clifford=False)
    circuit.add_var("seen", False)

    result = ideal.run(circuit, shots=5, method="statevector").result()

    assert not result.success
    assert "Insufficient memory" in result.results[0].status


def test_a_failure_for_another_reason_is_reported_in_the_simulators_words():
    noisy = ProgramBackend.from_name("fake_manila")
    noisy.set_options(method="extended_stabilizer")  # which has only quarter turns of rz
    circuit = QuantumCircuit(1)
    circuit.rz(0.3, 0)
    circuit.measure_all()

    with pytest.raises(InvalidInputError) as caught:
        noisy.sampler(shots=5).run([circuit]).result()

    assert str(caught.value).startswith(
        "The simulator did not run the circuit: it reports 'ERROR: "
    )
    assert caught.value.rule == "circuits that the simulator runs"


# --- wide enough ---------------------------------------------------------------------------


def test_clifford_circuits_run_at_any_width(ideal):
    sampled = run_sampler(ideal, request((chain(clifford=True), None, 200)))
    pub = (chain(clifford=True, measured=False), ["Z" * WIDTH, "X" * WIDTH], None, 0.1)
    estimated = run_estimator(ideal, request(pub))

    assert set(sampled[0].data.meas.get_counts()) == {"0" * WIDTH, "1" * WIDTH}
    assert estimated[0].data.evs.tolist() == [1, 1]


def test_a_program_chooses_matrix_product_states_for_a_circuit_with_little_entanglement():
    backend = ProgramBackend.from_name("aer_simulator")
    backend.set_options(method="matrix_product_state")
    circuit = QuantumCircuit(WIDTH)
    circuit.rx(0.3, 0)
    for qubit in range(WIDTH - 1):
        circuit.cx(qubit, qubit + 1)

    pub = (circuit, "I" * (WIDTH - 1) + "Z")
    (result,) = backend.estimator(shots=4000, seed=3).run([pub]).result()

    assert abs(result.data.evs - 0.9553364891256060) < 5 * result.data.stds  # cos(0.3)


def test_a_wide_circuit_with_a_gate_that_is_translated_runs(ideal):
    circuit = QuantumCircuit(60)
    for qubit in range(0, 60, 2):
        circuit.x(qubit)
        evolution = PauliEvolutionGate(SparsePauliOp("XX"), time=np.pi / 2)  # flips both
        circuit.append(evolution, [qubit, qubit + 1])
    circuit.measure_all()

    (result,) = ideal.sampler(shots=10).run([circuit]).result()

    assert result.data.meas.get_counts() == {"10" * 30: 10}


# --- projectors ----------------------------------------------------------------------------


@pytest.mark.parametrize("shots", [None, 100])
def test_an_observable_whose_projectors_are_too_many_pauli_strings_is_refused(ideal, shots):
    pub = (QuantumCircuit(WIDTH), {"0" * WIDTH: 1.0})

    with pytest.raises(InvalidInputError, match=r"2\*\*n Pauli strings, and at most 65,536"):
        ideal.estimator(shots=shots).run([pub]).result()


def test_projectors_on_few_of_many_qubits_have_exact_values(ideal):
    circuit = chain(clifford=True, measured=False)

    (result,) = ideal.estimator().run([(circuit, {"I" * (WIDTH - 3) + "000": 1.0})]).result()

    assert result.data.evs == pytest.approx(0.5)


def test_projectors_of_a_loop_are_counted_before_they_are_expanded():
    circuit = QuantumCircuit(WIDTH)
    circuit.ry(Parameter("angle"), 0)

    with pytest.raises(InvalidInputError, match="up to 60 in one"):
        EstimatorObjective(circuit, "0" * WIDTH)
