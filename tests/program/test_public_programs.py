"""The public programs with circuits whose gates or measurements are inside instructions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import qiskit
from packaging.version import Version
from qiskit import transpile
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program import ProgramBackend, UserMessenger, require_success
from prefect_qiskit_runtime.runner.programs import circuit_runner, qasm3_runner, vqe
from tests.circuits import too_wide

MESSENGER = UserMessenger(sink=lambda text, is_final: None)
SHOTS = 4000


def at_the_top() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    circuit.x(0)
    circuit.measure([0, 1], [0, 1])
    return circuit


def one_in_a_box() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    circuit.x(0)
    with circuit.box():
        circuit.measure(0, 0)
    circuit.measure(1, 1)
    return circuit


def all_in_a_definition_in_a_box() -> QuantumCircuit:
    part = QuantumCircuit(2, 2)
    part.measure([0, 1], [1, 0])
    circuit = QuantumCircuit(2, 2)
    circuit.x(0)
    with circuit.box():
        circuit.append(part.to_instruction(), [0, 1], [1, 0])
    return circuit


@pytest.mark.parametrize(
    ("build", "is_compiled"),
    [(one_in_a_box, True), (one_in_a_box, False), (all_in_a_definition_in_a_box, False)],
)
def test_measurements_inside_instructions_are_mitigated(
    noisy: ProgramBackend, build: Any, is_compiled: bool
) -> None:
    found, expected = (
        circuit_runner.main(
            noisy,
            MESSENGER,
            circuits=circuit,
            skip_transpilation=is_compiled,
            measurement_error_mitigation=True,
            shots=SHOTS,
            seed_simulator=3,
            seed_transpiler=1,
            initial_layout=None if is_compiled else [0, 1],
        )["results"][0]
        for circuit in (build(), at_the_top())
    )

    assert found["header"]["final_measurement_mapping"] == {"0": 0, "1": 1}
    quasi = {"0x1": 0.0} | found["data"]["quasiprobabilities"]
    assert quasi["0x1"] == pytest.approx(expected["data"]["quasiprobabilities"]["0x1"], abs=0.02)
    assert quasi["0x1"] > 0.97


def test_a_measurement_before_a_condition_is_not_mitigated(noisy: ProgramBackend) -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.x(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    circuit.measure(1, 1)

    result = circuit_runner.main(
        noisy, MESSENGER, circuits=circuit, measurement_error_mitigation=True,
        initial_layout=[0, 1], seed_transpiler=1, seed_simulator=3,
    )  # fmt: skip

    assert result["results"][0]["header"]["final_measurement_mapping"] == {"1": 1}


def flips_named_cx() -> Any:
    flips = QuantumCircuit(2, name="cx")
    flips.x([0, 1])
    return flips.to_gate()


@pytest.mark.parametrize("program", [circuit_runner, qasm3_runner])
def test_a_gate_is_compiled_by_its_definition_not_by_its_name(
    noisy: ProgramBackend, program: Any
) -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.append(flips_named_cx(), [0, 1])
    circuit.measure([0, 1], [0, 1])

    result = program.main(noisy, MESSENGER, circuits=[circuit], shots=SHOTS, seed_simulator=3)

    assert result["results"][0]["data"]["counts"]["0x3"] > 0.85 * SHOTS


@pytest.mark.parametrize("name", ["aer_simulator", "fake_manila"])
def test_vqe_takes_an_ansatz_with_such_a_gate_and_a_box(name: str) -> None:
    angle = Parameter("angle")
    ansatz = QuantumCircuit(2)
    with ansatz.box():
        ansatz.ry(angle, 0)
    ansatz.append(flips_named_cx(), [0, 1])

    result = vqe.main(
        ProgramBackend.from_name(name),
        MESSENGER,
        ansatz=ansatz,
        operator=SparsePauliOp("ZI"),
        initial_point=[0.0],
        optimizer={"name": "COBYLA", "maxiter": 1},
        shots=SHOTS,
        seed=1,
    )

    assert result["optimal_value"] == pytest.approx(-1, abs=0.15)  # the second qubit is flipped


def test_vqe_says_why_the_simulator_did_not_run_a_circuit(ideal: ProgramBackend) -> None:
    ansatz = QuantumCircuit(1)
    ansatz.ry(Parameter("angle"), 0)
    problem = vqe.Problem(ideal, MESSENGER, ansatz, shots=10, seed=1, initial_layout=None)

    with pytest.raises(InvalidInputError, match=r"60 qubits needs .* are available\. It has other"):
        problem._sample([too_wide()])


def test_programs_check_their_own_results_with_the_same_words(ideal: ProgramBackend) -> None:
    result = ideal.run(too_wide(), shots=10, method="statevector").result()

    with pytest.raises(InvalidInputError, match=r"60 qubits need .* are available"):
        require_success(result)
    require_success(ideal.run(at_the_top(), shots=10).result())


def ladder(width: int) -> QuantumCircuit:
    circuit = QuantumCircuit(width)
    circuit.x(0)
    for qubit in range(width - 1):
        circuit.cx(qubit, qubit + 1)
    return circuit


def test_the_circuit_runner_compiles_circuits_wider_than_a_state_vector(
    ideal: ProgramBackend,
) -> None:
    circuit = ladder(40)
    circuit.measure_all()

    result = circuit_runner.main(ideal, MESSENGER, circuits=circuit, shots=10)

    assert result["results"][0]["data"]["counts"] == {hex(2**40 - 1): 10}


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_circuits_wider_than_a_state_vector_are_transpiled_for_the_target_of_the_ideal_backend(
    ideal: ProgramBackend, level: int
) -> None:
    circuit = ladder(40)
    circuit.delay(100, 0)
    circuit.measure_all()
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.ry(0.3, 39)

    compiled = transpile(circuit, target=ideal.target, optimization_level=level)

    assert compiled.num_qubits == 40
    assert {"measure", "if_else", "delay"} <= set(compiled.count_ops())


@pytest.mark.parametrize("level", [0, 1, 2, 3])
@pytest.mark.parametrize("angle", [np.pi / 2, 2.0], ids=["clifford", "other"])
def test_a_program_transpiles_circuits_wider_than_a_state_vector_for_its_backend(
    ideal: ProgramBackend, angle: float, level: int
) -> None:
    circuit = QuantumCircuit(60)
    circuit.ry(angle, 0)
    for qubit in range(59):
        circuit.cx(qubit, qubit + 1)
    circuit.measure_all()

    compiled = transpile(circuit, ideal, optimization_level=level)
    counts = ideal.run(compiled, shots=200).result().get_counts()

    assert compiled.num_qubits == 60
    assert set(counts) == {"0" * 60, "1" * 60}


def test_a_transpiled_circuit_has_no_more_qubits_than_before(ideal: ProgramBackend) -> None:
    assert generate_preset_pass_manager(2, backend=ideal).run(ladder(3)).num_qubits == 3
    assert [each.num_qubits for each in transpile([ladder(3), ladder(4)], ideal)] == [3, 4]


@pytest.mark.parametrize("level", range(4))
def test_basis_gates_of_the_caller_hold_for_wide_circuits_too(
    ideal: ProgramBackend, level: int
) -> None:
    if level >= 2 and Version(qiskit.__version__) < Version("2.4"):
        pytest.skip("then Qiskit compiles for the coupling map alone, which has 30 qubits")
    gates = ["cz", "rz", "sx"]
    with pytest.warns(UserWarning, match="along with `backend`"):
        compiled = transpile(ladder(60), ideal, basis_gates=gates, optimization_level=level)

    assert set(compiled.count_ops()) == {"cz", "rz", "sx"}
