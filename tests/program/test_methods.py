"""Simulation methods: the automatic choice, exact values of wide circuits, and the refusals."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_type_hints

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import UnitaryGate
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_aer.noise import NoiseModel, amplitude_damping_error

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.models import Simulation
from prefect_qiskit_runtime.program import ProgramBackend
from prefect_qiskit_runtime.program.primitives import Request, run_estimator, run_sampler
from prefect_qiskit_runtime.program.simulation import SimulationSettings

WIDTH = 60
MPS = "matrix_product_state"


def request(*pubs: Any, **simulator: Any) -> Request:
    inputs = {"pubs": list(pubs), "options": {"simulator": simulator}}
    return Request.read(inputs, unsupported_options="refuse")


def ghz(num_qubits: int = WIDTH, angle: float | Parameter = np.pi / 2) -> QuantumCircuit:
    """cos(angle/2) |00...0> + sin(angle/2) |11...1>, without Clifford gates unless it is bound."""
    circuit = QuantumCircuit(num_qubits, name="ghz")
    circuit.ry(angle, 0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    return circuit


def cluster(angles: np.ndarray) -> QuantumCircuit:
    """A line of cz gates after ry gates: <X_i> is sin(a_i) cos(a_(i-1)) cos(a_(i+1))."""
    circuit = QuantumCircuit(len(angles), name="cluster")
    for qubit, angle in enumerate(angles):
        circuit.ry(angle, qubit)
    for qubit in range(len(angles) - 1):
        circuit.cz(qubit, qubit + 1)
    return circuit


def pauli(num_qubits: int, **places: int) -> SparsePauliOp:
    terms = [(name[0], [place], 1.0) for name, place in places.items()]
    label, qubits = "".join(term[0] for term in terms), [term[1][0] for term in terms]
    return SparsePauliOp.from_sparse_list([(label, qubits, 1.0)], num_qubits=num_qubits)


def entangled(num_qubits: int, layers: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits, name="entangled")
    for layer in range(layers):
        for qubit in range(num_qubits):
            circuit.ry(0.4 + 0.1 * qubit + layer, qubit)
        for qubit in range(num_qubits - 1):
            circuit.cx(qubit, qubit + 1)
    return circuit


# --- the automatic choice ------------------------------------------------------------------


def test_a_wide_shallow_circuit_is_sampled_as_a_matrix_product_state_with_a_note(ideal, caplog):
    circuit = ghz(angle=2 * np.arccos(np.sqrt(0.9)))
    circuit.measure_all()

    (result,) = run_sampler(ideal, request((circuit, None, 4000), seed_simulator=7))

    counts = result.data.meas.get_counts()
    assert set(counts) == {"0" * WIDTH, "1" * WIDTH}
    assert abs(counts["0" * WIDTH] / 4000 - 0.9) < 5 * np.sqrt(0.09 / 4000)
    assert result.metadata["simulation_methods"] == [MPS]
    (note,) = result.metadata["notes"]
    assert note.startswith(
        "Simulated as a matrix product state, because a state vector of 60 qubits needs 16 EiB, and"
    )
    assert "'ghz' is simulated as a matrix product state" in caplog.text


@pytest.mark.parametrize("qubits", [3, WIDTH])
def test_clifford_circuits_are_sampled_as_stabilizers(ideal, qubits):
    circuit = QuantumCircuit(qubits)
    circuit.h(0)
    for qubit in range(qubits - 1):
        circuit.cx(qubit, qubit + 1)
    circuit.measure_all()

    (result,) = run_sampler(ideal, request((circuit, None, 100)))

    assert set(result.data.meas.get_counts()) == {"0" * qubits, "1" * qubits}
    assert result.metadata["simulation_methods"] == ["stabilizer"]
    assert "notes" not in result.metadata


def test_exact_values_of_a_wide_clifford_circuit_are_those_of_its_stabilizers(ideal):
    circuit = cluster(np.full(WIDTH, np.pi / 2))
    generators = [pauli(WIDTH, Zleft=i - 1, X=i, Zright=i + 1) for i in range(1, WIDTH - 1)]

    (result,) = run_estimator(ideal, request((circuit, [*generators, "Z" * WIDTH])))

    assert result.data.evs.tolist() == [1] * (WIDTH - 2) + [0]
    assert result.data.stds.tolist() == [0] * (WIDTH - 1)
    assert (result.metadata["path"], result.metadata["shots"]) == ("exact", None)
    assert result.metadata["simulation_methods"] == ["stabilizer"]


def test_exact_values_of_a_wide_circuit_with_any_angles_are_right(ideal):
    angles = np.random.default_rng(1).uniform(0, np.pi, WIDTH)
    observables = [pauli(WIDTH, X=i) for i in range(1, WIDTH - 1)]

    (result,) = run_estimator(ideal, request((cluster(angles), observables)))

    expected = np.sin(angles[1:-1]) * np.cos(angles[:-2]) * np.cos(angles[2:])
    assert result.data.evs == pytest.approx(expected, abs=1e-9)
    assert (result.metadata["path"], result.metadata["simulation_methods"]) == ("exact", [MPS])


def test_each_row_of_parameter_values_has_its_method(ideal):
    angle = Parameter("angle")
    rows = [[0.3], [np.pi / 2], [np.pi]]
    observables = [[pauli(WIDTH, Z=WIDTH - 1)], ["X" * WIDTH]]

    (result,) = run_estimator(ideal, request((ghz(angle=angle), observables, rows)))

    cosines, sines = [np.cos(0.3), 0, -1], [np.sin(0.3), 1, 0]
    assert result.data.evs == pytest.approx(np.array([cosines, sines]), abs=1e-9)
    assert result.metadata["simulation_methods"] == [MPS, "stabilizer"]


def test_clifford_gates_of_any_name_are_clifford_gates(ideal):
    circuit = QuantumCircuit(WIDTH)
    circuit.rx(np.pi / 2, 0)
    circuit.append(UnitaryGate(np.array([[1, 1], [1, -1]]) / np.sqrt(2)), [1])
    for qubit in range(WIDTH - 1):
        circuit.dcx(qubit, qubit + 1)
    circuit.rzz(-np.pi / 2, 3, 20)
    bell = QuantumCircuit(2, name="bell")
    bell.h(0)
    bell.cx(0, 1)
    circuit.append(bell.to_gate(), [5, 7])
    forth_and_back = circuit.compose(circuit.inverse())

    (result,) = run_estimator(ideal, request((forth_and_back, ["Z" * WIDTH]), method="stabilizer"))

    assert result.data.evs.tolist() == [1]
    assert result.metadata["simulation_methods"] == ["stabilizer"]


def test_the_parts_of_a_circuit_have_their_methods_and_independent_random_numbers(ideal):
    # 1 MiB holds the state vector of 16 qubits.
    circuit = QuantumCircuit(21, name="parts")
    for first, last in ((0, 16), (17, 20)):
        circuit.ry(1.1, first)
        for qubit in range(first, last):
            circuit.cx(qubit, qubit + 1)
    circuit.measure_all()

    (result,) = run_sampler(
        ideal, request((circuit, None, 4000), max_memory_mb=1, seed_simulator=5)
    )

    assert result.metadata["simulation_methods"] == [MPS, "statevector"]
    bits = result.data.meas.to_bool_array(order="little")
    wide, narrow = bits[:, 0], bits[:, 17]
    assert (bits[:, :17] == wide[:, np.newaxis]).all()
    assert (bits[:, 17:] == narrow[:, np.newaxis]).all()
    one = np.sin(0.55) ** 2
    for seen, chance in ((wide, one), (narrow, one), (wide & narrow, one**2)):
        assert abs(seen.mean() - chance) < 5 * np.sqrt(chance * (1 - chance) / 4000)


def test_circuits_of_several_methods_keep_their_order_in_one_run(ideal):
    ideal.set_options(max_memory_mb=1)
    circuits = [ghz(n, angle=np.pi) for n in (2, 18, 3, 17)]
    for circuit in circuits:
        circuit.t(0)  # not a Clifford gate
        circuit.measure_all()

    result = ideal.run(circuits, shots=5).result()

    assert result.success
    assert [result.get_counts(i) for i in range(4)] == [{"1" * n: 5} for n in (2, 18, 3, 17)]


# --- each method ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["automatic", "statevector", "density_matrix", MPS])
def test_exact_values_agree_with_the_state_vector(ideal, method):
    circuit = entangled(7, layers=3)
    observable = SparsePauliOp(["ZZIIIII", "XIXIYII", "IIIIIII"], [0.5, -2.0, 0.25])

    (result,) = run_estimator(ideal, request((circuit, [observable]), method=method))

    expected = np.real(Statevector(circuit).expectation_value(observable))
    assert result.data.evs == pytest.approx([expected], abs=1e-9)
    used = "statevector" if method == "automatic" else method
    assert (result.metadata["path"], result.metadata["simulation_methods"]) == ("exact", [used])
    assert ideal.usage.simulation_methods == {used}


@pytest.mark.parametrize("method", ["density_matrix", MPS])
def test_sampling_agrees_with_the_state_vector(ideal, method):
    circuit = entangled(4, layers=2)
    circuit.ccz(0, 1, 3)
    circuit.mcp(0.3, [0, 1], 2)
    circuit.cu(0.3, 0.1, 0.4, 0.2, 1, 2)
    circuit.h(range(4))
    expected = Statevector(circuit).probabilities()
    circuit.measure_all()

    (result,) = run_sampler(ideal, request((circuit, None, 4000), method=method, seed_simulator=11))

    counts = result.data.meas.get_int_counts()
    seen = np.array([counts.get(outcome, 0) for outcome in range(16)]) / 4000
    assert seen == pytest.approx(expected, abs=5 * np.sqrt(0.25 / 4000))
    assert result.metadata["simulation_methods"] == [method]


def test_the_extended_stabilizer_method_runs_gates_that_it_does_not_know(ideal):
    circuit = QuantumCircuit(1)
    circuit.rx(0.9, 0)
    circuit.measure_all()

    (result,) = run_sampler(
        ideal, request((circuit, None, 200), method="extended_stabilizer", seed_simulator=11)
    )

    # The method is approximate, to 0.05 unless a program chooses otherwise.
    ones = result.data.meas.get_int_counts().get(1, 0) / 200
    assert abs(ones - np.sin(0.45) ** 2) < 5 * np.sqrt(0.25 / 200)
    assert result.metadata["simulation_methods"] == ["extended_stabilizer"]


def test_the_noise_of_a_device_acts_in_a_matrix_product_state():
    noisy = ProgramBackend.from_name("fake_manila")
    circuit = ghz(3)
    circuit.measure_all()
    asked = Request.read(
        {
            "pubs": [(circuit, None, 2000)],
            "options": {"simulator": {"method": MPS, "seed_simulator": 3}},
            "transpile": True,
        },
        unsupported_options="refuse",
    )

    (result,) = run_sampler(noisy, asked)

    counts = result.data.meas.get_counts()
    assert 0.02 < 1 - (counts["000"] + counts["111"]) / 2000 < 0.4
    assert result.metadata["simulation_methods"] == [MPS]


def test_limited_bonds_are_not_called_exact(ideal):
    pub = (entangled(8, layers=4), ["Z" * 8])

    (cut,) = run_estimator(ideal, request(pub, method=MPS, bond_dimension=2))
    (enough,) = run_estimator(ideal, request(pub, method=MPS, bond_dimension=16))

    exact = np.real(Statevector(pub[0]).expectation_value(SparsePauliOp("Z" * 8)))
    assert cut.data.evs != pytest.approx([exact], abs=1e-3)
    assert enough.data.evs == pytest.approx([exact], abs=1e-9)
    for result in (cut, enough):
        assert result.metadata["path"] == "approximate"
        (note,) = result.metadata["notes"]
        assert note.startswith("The bonds of the matrix product state are limited")


# --- refusals ------------------------------------------------------------------------------


def test_a_wide_entangled_circuit_needs_a_limit_that_the_user_names(ideal):
    circuit = entangled(WIDTH, layers=30)
    circuit.measure_all()

    with pytest.raises(InvalidInputError) as caught:
        run_sampler(ideal, request((circuit, None, 10)))
    (limited,) = run_sampler(ideal, request((circuit, None, 10), bond_dimension=4))

    text = str(caught.value)
    assert text.startswith("pubs[0]: The simulator did not run the circuit 'entangled': a state")
    assert "a bond dimension of 2**30, more than the 2**10 that" in text
    assert "{'simulator': {'method': 'matrix_product_state', 'bond_dimension': 64}}" in text
    assert caught.value.rule == "circuits fit in memory"
    assert limited.data.meas.num_shots == 10
    assert len(limited.metadata["notes"]) == 2


def test_the_stabilizer_method_refuses_other_gates_by_name(ideal):
    circuit = ghz(3, angle=0.3)

    with pytest.raises(InvalidInputError) as caught:
        run_estimator(ideal, request((circuit, "ZZZ"), method="stabilizer"))

    assert "only Clifford gates and Clifford noise, and circuit 'ghz' has ry." in str(caught.value)
    assert caught.value.rule == "operations that the method stabilizer simulates"


def test_the_stabilizer_method_refuses_other_noise_by_name(ideal):
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(amplitude_damping_error(0.1), ["x"])
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.measure_all()

    with pytest.raises(InvalidInputError, match="has kraus in its noise"):
        run_sampler(ideal, request(circuit, method="stabilizer", noise_model=noise))


def test_the_extended_stabilizer_method_has_no_exact_values(ideal):
    with pytest.raises(InvalidInputError, match="is approximate and has no exact expectation"):
        run_estimator(ideal, request((ghz(3), "ZZZ"), method="extended_stabilizer"))


def test_a_missing_gpu_is_refused_with_the_devices_that_there_are(ideal):
    circuit = ghz(2)
    circuit.measure_all()

    with pytest.raises(InvalidInputError, match=r"device 'GPU' is not available: .* on CPU\."):
        run_sampler(ideal, request(circuit, device="GPU"))


@pytest.mark.parametrize(
    ("simulator", "name", "words"),
    [
        ({"method": "mps"}, "method", "'simulator.method' must be one of automatic, statevector"),
        ({"device": "QPU"}, "device", "'simulator.device' must be one of CPU, GPU, not 'QPU'"),
        ({"bond_dimension": 0}, "bond_dimension", "must be a whole number of 1 or more, not 0"),
        ({"max_memory_mb": True}, "max_memory_mb", "a whole number of 1 or more, not True"),
        ({"truncation": 1}, "truncation", "must be a number above 0 and below 1, not 1"),
        (
            {"method": "statevector", "bond_dimension": 8},
            "bond_dimension",
            "limits matrix product states, but the simulation method is 'statevector'",
        ),
        (
            {"method": "stabilizer", "device": "GPU"},
            "device",
            "The simulation method 'stabilizer' runs on the CPU only",
        ),
    ],
)
def test_settings_are_checked(ideal, simulator, name, words):
    circuit = ghz(2)
    circuit.measure_all()

    with pytest.raises(InvalidInputError) as caught:
        run_sampler(ideal, request(circuit, **simulator))

    assert words in str(caught.value)
    assert caught.value.path == f"$.options.simulator.{name}"


def test_the_settings_of_a_request_are_those_that_a_job_reads():
    of_job = {each.name: each.default for each in fields(SimulationSettings)}
    assert {name: field.default for name, field in Simulation.model_fields.items()} == of_job
    hints, read = get_type_hints(Simulation), get_type_hints(SimulationSettings)
    assert (hints["method"], hints["device"]) == (read["method"], read["device"])
