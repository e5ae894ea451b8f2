"""Exact, shots, precision: one meaning, and error bars that hold."""

from __future__ import annotations

import numpy as np
import pytest
import qiskit.circuit.library as gates
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import PauliEvolutionGate, efficient_su2
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import Operator, SparseObservable, SparsePauliOp, Statevector
from qiskit_aer.noise import NoiseModel, depolarizing_error

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program import _exact, sampled as _sampled

HAMILTONIAN = SparsePauliOp(
    ["III", "ZII", "IZZ", "XXI", "YYI", "IXZ", "ZIZ", "IIY"],
    [0.7, -0.4, 0.3, 0.5, 0.25, -0.6, 0.2, 0.35],
)


def ansatz(num_qubits: int = 3) -> QuantumCircuit:
    return efficient_su2(num_qubits, reps=2)


def points(circuit: QuantumCircuit, *shape: int) -> np.ndarray:
    return np.random.default_rng(5).uniform(-3, 3, (*shape, circuit.num_parameters))


def reference(circuit, observables, values=None) -> np.ndarray:
    pub = (circuit, observables) if values is None else (circuit, observables, values)
    return StatevectorEstimator().run([pub]).result()[0].data.evs


# --- exact ---------------------------------------------------------------------------------


def test_without_shots_and_precision_an_ideal_backend_is_exact(ideal):
    circuit = ansatz()
    values = points(circuit, 7)

    result = ideal.estimator().run([(circuit, HAMILTONIAN, values)]).result()[0]

    assert result.data.evs == pytest.approx(reference(circuit, HAMILTONIAN, values), abs=1e-10)
    assert result.data.stds.tolist() == [0] * 7
    assert (result.metadata["path"], result.metadata["shots"]) == ("exact", None)
    assert (ideal.usage.circuits, ideal.usage.shots) == (7, 0)


@pytest.mark.parametrize(
    ("parameter_shape", "observable_shape"),
    [((), ()), ((4,), ()), ((), (2,)), ((2,), (2,)), ((3, 1), (2,)), ((2,), (3, 1)), ((1,), (1,))],
)
def test_shapes_broadcast_as_qiskit_broadcasts_them(ideal, parameter_shape, observable_shape):
    circuit = ansatz()
    values = points(circuit, *parameter_shape)
    some = [HAMILTONIAN, SparsePauliOp("ZXY"), SparsePauliOp(["XII", "IIZ"], [1, 2])]
    count = int(np.prod(observable_shape, dtype=int))
    grid = np.empty(count, dtype=object)
    grid[:] = some[:count]
    observables = grid.reshape(observable_shape).tolist()
    expected = reference(circuit, observables, values)

    exact = ideal.estimator().run([(circuit, observables, values)]).result()[0]
    sampled = ideal.estimator(shots=400, seed=1).run([(circuit, observables, values)]).result()[0]

    assert exact.data.evs.shape == expected.shape
    assert exact.data.evs == pytest.approx(expected, abs=1e-10)
    assert sampled.data.evs.shape == sampled.data.stds.shape == expected.shape
    assert np.all(np.abs(sampled.data.evs - expected) < 5 * sampled.data.stds)


@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")  # of the reference
def test_every_parametrised_gate_of_aer_is_exact_in_a_batch(ideal):
    # The batch binds parameters inside the simulator; each gate does so in its own code.
    a, b, c, d = ParameterVector("p", 4)
    circuit = QuantumCircuit(3, global_phase=a)
    circuit.h([0, 1, 2])
    for gate in (gates.RXGate(a), gates.RYGate(2 * b), gates.RZGate(c - d), gates.PhaseGate(a)):
        circuit.append(gate, [0])
        circuit.append(gate.control(1, annotated=False), [1, 0])
        circuit.append(gate.control(2, annotated=False), [2, 1, 0])
    for gate in (gates.RXXGate(a), gates.RYYGate(b), gates.RZZGate(c), gates.RZXGate(d + a)):
        circuit.append(gate, [0, 2])
    circuit.append(gates.UGate(a, b, c), [1])
    circuit.append(gates.CUGate(a, b, c, d), [1, 2])
    circuit.append(gates.RGate(a, b), [2])
    circuit.append(gates.U2Gate(a, b), [0])
    circuit.append(gates.U3Gate(a, b, c), [0])
    circuit.append(gates.XXPlusYYGate(a, b), [0, 1])
    circuit.append(gates.PauliEvolutionGate(SparsePauliOp(["XYZ", "ZZI"]), d), [0, 1, 2])
    values = points(circuit, 5)

    evs = ideal.estimator().run([(circuit, HAMILTONIAN, values)]).result()[0].data.evs

    assert evs == pytest.approx(reference(circuit, HAMILTONIAN, values), abs=1e-10)


def test_gates_without_matrix_names_are_exact(ideal):
    circuit = QuantumCircuit(3)
    circuit.initialize([0.6, 0.8], 0)
    circuit.prepare_state("+", 1)
    circuit.unitary(Operator(gates.CXGate()), [0, 2])
    circuit.mcx([0, 1], 2)
    circuit.append(gates.CXGate(ctrl_state=0), [0, 1])
    circuit.barrier()

    evs = ideal.estimator().run([(circuit, HAMILTONIAN)]).result()[0].data.evs

    expected = Statevector(circuit).expectation_value(HAMILTONIAN).real
    assert evs == pytest.approx(expected, abs=1e-10)


def test_large_circuits_and_several_batches_are_exact(ideal, monkeypatch):
    monkeypatch.setattr(_exact, "BATCH_AMPLITUDES", 3 * 2**13)
    circuit = ansatz(13)
    values = points(circuit, 4)
    observable = SparsePauliOp(["Z" * 13, "I" * 11 + "XY"], [1, 0.5])

    evs = ideal.estimator().run([(circuit, observable, values)]).result()[0].data.evs

    assert evs == pytest.approx(reference(circuit, observable, values), abs=1e-10)


def test_a_parameter_that_translation_drops_is_no_trouble(ideal):
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(1)
    circuit.rx(a, 0)
    circuit.append(PauliEvolutionGate(SparsePauliOp("Z"), b), [0])
    circuit.append(PauliEvolutionGate(SparsePauliOp("Z"), -b), [0])
    values = [[0.3, 1.0], [0.4, 2.0]]

    exact = ideal.estimator().run([(circuit, "Z", values)]).result()[0]
    circuit.measure_all()
    sampled = ideal.sampler(shots=20).run([(circuit, values)]).result()[0]

    assert exact.data.evs == pytest.approx(np.cos([0.3, 0.4]), abs=1e-10)
    assert sampled.data.meas.shape == (2,)


def test_projectors_are_observables_too(ideal):
    circuit = QuantumCircuit(2)
    circuit.ry(0.5, 0)
    observable = SparseObservable.from_list([("I0", 1.0), ("+Z", 2.0)])

    evs = ideal.estimator().run([(circuit, observable)]).result()[0].data.evs

    expected = np.cos(0.25) ** 2 + 2 * 0.5 * np.cos(0.5)
    assert evs == pytest.approx(expected, abs=1e-10)


def test_a_circuit_that_measures_has_no_exact_value(ideal):
    circuit = QuantumCircuit(1, 1)
    circuit.h(0)
    circuit.measure(0, 0)

    with pytest.raises(InvalidInputError, match="remove_final_measurements"):
        ideal.estimator().run([(circuit, "Z")]).result()
    sampled = ideal.estimator(shots=100, seed=1).run([(circuit, "Z")]).result()[0]
    assert abs(sampled.data.evs) < 5 * sampled.data.stds


# --- shots and precision -------------------------------------------------------------------


def test_precision_means_one_over_its_square_shots_rounded_up(ideal):
    circuit = ansatz()
    pub = (circuit, HAMILTONIAN, points(circuit))

    by_precision = ideal.estimator(precision=0.03, seed=2).run([pub]).result()[0]
    by_shots = ideal.estimator(shots=1112, seed=2).run([pub]).result()[0]

    assert by_precision.metadata["shots"] == 1112
    assert by_precision.data.evs == by_shots.data.evs
    assert by_precision.data.stds > 0


def test_the_precision_of_a_pub_or_of_run_goes_first(ideal):
    circuit = ansatz()
    plain = (circuit, HAMILTONIAN, points(circuit))

    results = ideal.estimator(shots=7).run([plain, (*plain, 0.1)], precision=0.05).result()
    exact = ideal.estimator(shots=7).run([(*plain, 0.0)]).result()

    assert [result.metadata["shots"] for result in results] == [400, 100]
    assert exact[0].metadata["path"] == "exact"


@pytest.mark.parametrize(
    "arguments", [{"shots": 10, "precision": 0.1}, {"shots": 0}, {"precision": -1.0}]
)
def test_what_contradicts_itself_is_refused(ideal, arguments):
    with pytest.raises(InvalidInputError):
        ideal.estimator(**arguments)


def test_a_seed_gives_the_same_sequence_of_different_samples(ideal):
    circuit = ansatz()
    pub = (circuit, HAMILTONIAN, points(circuit))

    def sequence() -> list[float]:
        estimator = ideal.estimator(shots=100, seed=11)
        return [float(estimator.run([pub]).result()[0].data.evs) for _ in range(3)]

    first = sequence()
    assert first == sequence()
    assert len(set(first)) == 3


def test_a_constant_observable_needs_no_measurement(ideal):
    sampled = ideal.estimator(shots=10).run([(ansatz(), "III", points(ansatz()))]).result()[0]

    assert (sampled.data.evs, sampled.data.stds) == (1, 0)
    assert sampled.metadata["num_groups"] == 0


def test_one_shot_has_no_spread(ideal):
    result = ideal.estimator(shots=1).run([(ansatz(), "ZZZ", points(ansatz()))]).result()[0]
    assert abs(result.data.evs) == 1
    assert np.isnan(result.data.stds)


@pytest.mark.parametrize("drawn_from", ["states", "shots"])
def test_one_standard_error_covers_68_percent_and_two_95(ideal, monkeypatch, drawn_from):
    """The stated convention, checked: the pull of the estimates is standard normal."""
    if drawn_from == "shots":
        monkeypatch.setattr(_sampled, "_STATE_QUBITS", 0)
    circuit = ansatz()
    values = points(circuit, 1)
    repeats = 600
    batch = np.repeat(values, repeats, axis=0)

    result = ideal.estimator(shots=256, seed=3).run([(circuit, HAMILTONIAN, batch)]).result()[0]

    pull = (result.data.evs - reference(circuit, HAMILTONIAN, values)) / result.data.stds
    # Binomial errors for 600 repeats: 0.019 and 0.009; the seeds are fixed.
    assert np.mean(np.abs(pull) < 1.0) == pytest.approx(0.683, abs=0.05)
    assert np.mean(np.abs(pull) < 1.96) == pytest.approx(0.95, abs=0.025)
    assert np.mean(pull) == pytest.approx(0, abs=0.12)


def test_covariances_inside_a_group_are_in_the_error(ideal):
    # ZI and IZ are equal in each shot of a Bell state: their difference has no error at all.
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    difference = SparsePauliOp(["ZI", "IZ"], [1, -1])
    total = SparsePauliOp(["ZI", "IZ"], [1, 1])

    result = ideal.estimator(shots=1000, seed=1).run([(circuit, [difference, total])]).result()[0]

    assert (result.data.evs[0], result.data.stds[0]) == (0, 0)
    assert result.data.stds[1] == pytest.approx(2 / np.sqrt(1000), rel=0.01)
    assert result.metadata["num_groups"] == 1


def test_both_sources_of_outcomes_agree(ideal, monkeypatch):
    circuit = ansatz()
    pub = (circuit, [[HAMILTONIAN], [SparsePauliOp("XYZ")]], points(circuit, 3))

    drawn = ideal.estimator(shots=20_000, seed=1).run([pub]).result()[0].data
    monkeypatch.setattr(_sampled, "_STATE_QUBITS", 0)
    measured = ideal.estimator(shots=20_000, seed=1).run([pub]).result()[0].data

    assert measured.stds == pytest.approx(drawn.stds, rel=0.1, abs=1e-4)
    spread = np.sqrt(drawn.stds**2 + measured.stds**2)
    assert np.all(np.abs(measured.evs - drawn.evs) < 4.5 * spread)


# --- noise ---------------------------------------------------------------------------------


def test_a_noisy_backend_takes_4096_shots_by_default(noisy):
    isa = generate_preset_pass_manager(1, backend=noisy, seed_transpiler=1).run(ansatz())
    observable = HAMILTONIAN.apply_layout(isa.layout)
    values = points(isa, 2)

    result = noisy.estimator(seed=4).run([(isa, observable, values)]).result()[0]

    exact = reference(ansatz(), HAMILTONIAN, values)
    assert (result.metadata["path"], result.metadata["shots"]) == ("sampled", 4096)
    assert np.all(np.abs(result.data.evs - exact) < 0.5)
    assert np.all(result.data.stds > 0)


def test_a_noise_model_set_as_an_option_ends_exactness(ideal):
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(depolarizing_error(0.5, 1), ["x"])
    circuit = QuantumCircuit(1)
    circuit.x(0)
    ideal.set_options(noise_model=noise)

    result = ideal.estimator(seed=1).run([(circuit, "Z")]).result()[0]

    assert result.metadata["path"] == "sampled"
    assert result.data.evs == pytest.approx(-0.5, abs=0.1)


def test_a_noisy_backend_is_never_exact(noisy):
    with pytest.raises(InvalidInputError, match="precision=0"):
        noisy.estimator().run([(QuantumCircuit(5), "IIIIZ")], precision=0)


def test_a_noisy_backend_refuses_untranspiled_circuits(noisy):
    with pytest.raises(InvalidInputError, match="apply_layout"):
        noisy.estimator().run([(ansatz(), HAMILTONIAN, points(ansatz()))]).result()


# --- sampler -------------------------------------------------------------------------------


def test_the_sampler_samples_broadcast_parameters(ideal):
    p = Parameter("p")
    circuit = QuantumCircuit(1)
    circuit.append(PauliEvolutionGate(SparsePauliOp("X"), p), [0])
    circuit.measure_all()

    result = ideal.sampler(seed=1).run([(circuit, [[0.0], [np.pi / 2]])]).result()[0]

    assert result.data.meas.get_counts(0) == {"0": 4096}
    assert result.data.meas.get_counts(1) == {"1": 4096}
    assert (result.metadata["path"], result.metadata["shots"]) == ("sampled", 4096)


def test_a_circuit_without_instructions_gives_zeros(ideal):
    result = ideal.sampler(shots=3).run([QuantumCircuit(2, 2, name="empty")]).result()[0]
    assert result.data.c.get_counts() == {"00": 3}


def test_the_sampler_draws_afresh_from_its_seed(ideal):
    circuit = QuantumCircuit(4)
    circuit.h(range(4))
    circuit.measure_all()

    def sequence() -> list[dict[str, int]]:
        sampler = ideal.sampler(shots=100, seed=2)
        return [sampler.run([circuit]).result()[0].data.meas.get_counts() for _ in range(2)]

    first = sequence()
    assert first == sequence()
    assert first[0] != first[1]
    assert ideal.sampler().run([circuit], shots=5).result()[0].data.meas.num_shots == 5
