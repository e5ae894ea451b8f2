"""Noise models of the options: circuits are transpiled to their gates, or a note says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import UnitaryGate
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error
from qiskit_aer.primitives import EstimatorV2

from prefect_qiskit_runtime.codec import decode, encode
from prefect_qiskit_runtime.codec.noise_models import describe_noise_model
from prefect_qiskit_runtime.program._noise import NoiseOfJob
from prefect_qiskit_runtime.program.legacy.primitives import run_legacy_sampler
from prefect_qiskit_runtime.program.primitives import Request, run_estimator, run_sampler
from tests.circuits import bell

LOGGER = "prefect_qiskit_runtime.primitives"


def noise_of(*gates: str, qubits: list[int] | None = None, error: float = 0.5) -> NoiseModel:
    noise = NoiseModel()
    for gate in gates:
        depolarizing = depolarizing_error(error, 2 if gate in {"cx", "cz", "ecr"} else 1)
        if qubits is None:
            noise.add_all_qubit_quantum_error(depolarizing, [gate])
        else:
            noise.add_quantum_error(depolarizing, [gate], qubits)
    return noise


def request(pub: Any, noise: NoiseModel, **inputs: Any) -> Request:
    simulator = {"seed_simulator": 5, "noise_model": noise.to_dict(serializable=True)}
    options = {"simulator": simulator}
    given = {"pubs": [pub], "options": options, **inputs}
    return Request.read(given, unsupported_options="refuse")


def test_a_circuit_in_gates_without_noise_gets_a_note(ideal, caplog):
    (result,) = run_sampler(ideal, request(bell(measured=True), noise_of("ecr", "sx")))

    (note,) = result.metadata["notes"]
    assert note.startswith("No gate of circuit ")
    assert "(cx, h) has noise: simulator.noise_model has errors of ecr, sx only" in note
    assert "transpile=True" in note
    messages = [each.getMessage() for each in caplog.records if each.name == LOGGER]
    assert messages == [f"pubs[0]: {note}"]
    assert set(result.data.meas.get_counts()) == {"00", "11"}


@pytest.mark.parametrize("gate", ["cx", "cz", "ecr"])
def test_transpile_uses_the_gates_of_the_noise_model(ideal, caplog, gate):
    pub = (bell(), ["ZZ"])
    (result,) = run_estimator(ideal, request(pub, noise_of(gate), transpile=True))

    # One entangling gate, of which the noise leaves half of the correlation.
    assert result.data.evs == pytest.approx([0.5], abs=0.1)
    assert "notes" not in result.metadata
    assert not [each for each in caplog.records if each.name == LOGGER]


def test_transpiled_parameters_keep_their_values(ideal):
    angle = Parameter("angle")
    circuit = QuantumCircuit(1)
    circuit.rx(angle, 0)
    pub = (circuit, "Z", [[0.0], [np.pi]])
    noise = noise_of("sx", error=0.1)

    (result,) = run_estimator(ideal, request(pub, noise, transpile=True))

    assert result.data.evs == pytest.approx([0.81, -0.81], abs=0.06)  # two sx gates


def test_gates_that_have_noise_by_their_label_keep_it(ideal):
    noise = noise_of("sx", error=0.01)
    noise.add_all_qubit_quantum_error(depolarizing_error(1, 1), ["marked"])
    circuit = QuantumCircuit(1)
    circuit.append(UnitaryGate(np.eye(2), label="marked"), [0])

    (result,) = run_estimator(ideal, request((circuit, ["Z"]), noise, transpile=True))

    assert result.data.evs == pytest.approx([0], abs=0.1)
    assert "notes" not in result.metadata


def test_noise_on_other_qubits_is_noise_of_no_gate(ideal):
    noise = noise_of("cx", qubits=[1, 0])

    (result,) = run_sampler(ideal, request(bell(measured=True), noise))
    assert len(result.metadata["notes"]) == 1

    (result,) = run_sampler(ideal, request(bell(measured=True), noise_of("cx", qubits=[0, 1])))
    assert "notes" not in result.metadata


def test_noise_of_a_gate_inside_a_block_is_noise_of_the_circuit(ideal):
    circuit = QuantumCircuit(1, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(0)

    (result,) = run_sampler(ideal, request(circuit, noise_of("x")))

    assert "notes" not in result.metadata


def test_a_model_of_readout_errors_alone_gets_no_note_and_changes_no_circuit(ideal):
    noise = NoiseModel()
    noise.add_all_qubit_readout_error(ReadoutError([[0, 1], [1, 0]]))
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.measure_all()

    (result,) = run_sampler(ideal, request(circuit, noise, transpile=True))

    assert "notes" not in result.metadata
    assert result.data.meas.get_counts() == {"0": 4096}


def test_clients_before_2024_find_the_note_in_the_log(ideal, caplog):
    run = {"shots": 5, "noise_model": noise_of("sx").to_dict(serializable=True)}
    run_legacy_sampler(ideal, {"circuits": [bell(measured=True)], "run_options": run})

    (message,) = [each.getMessage() for each in caplog.records if each.name == LOGGER]
    assert message.startswith("circuits[0]: No gate of circuit ")


@pytest.mark.parametrize(("gate", "expected"), [("sx", 1.0), ("h", 0.5)])
def test_rotations_into_the_measured_basis_have_the_noise_of_h_and_sdg_only(ideal, gate, expected):
    plus = QuantumCircuit(1)
    plus.ry(np.pi / 2, 0)
    noise = noise_of(gate)
    (result,) = run_estimator(ideal, request((plus, ["X"]), noise))
    assert result.data.evs == pytest.approx([expected], abs=0.1)
    # Aer's own estimator has no noise in them at all, with any model.
    aer = EstimatorV2(options={"backend_options": {"noise_model": noise}})
    assert aer.run([(plus, ["X"])]).result()[0].data.evs == pytest.approx([1.0], abs=1e-9)


def test_circuits_are_transpiled_to_the_basis_gates_of_a_noise_model_that_was_sent(ideal):
    noise = NoiseModel(basis_gates=["cz", "rz", "sx", "x"])
    noise.add_all_qubit_quantum_error(depolarizing_error(0.1, 1), ["sx"])

    for given in (noise, describe_noise_model(noise, is_plain=True), decode(encode(noise))):
        assert NoiseOfJob.use(ideal, given).basis == ("cz", "rz", "sx", "x")


@pytest.mark.parametrize("gate", ["crx", "cp", "cu"])
def test_a_gate_has_its_noise_with_a_parameter_as_with_a_number(ideal, gate):
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(depolarizing_error(0.6, 2), [gate])
    angle = Parameter("a")
    circuit = QuantumCircuit(2)
    circuit.x(1)
    getattr(circuit, gate)(*[angle, 0.1, 0.2, 0.3][: 4 if gate == "cu" else 1], 0, 1)

    (result,) = run_estimator(ideal, request((circuit, "ZI", [[0.7], [2.0]]), noise))

    # The control is 0, so the gate does nothing but its noise.
    assert result.data.evs == pytest.approx([-0.4, -0.4], abs=0.06)
    assert "notes" not in result.metadata


def test_gates_beside_one_that_is_translated_keep_their_noise(ideal):
    circuit = QuantumCircuit(2)
    circuit.x(0)
    circuit.x(0)  # an optimizer would remove both, and their noise
    circuit.ryy(0.0, 0, 1)
    circuit.iswap(0, 1)

    (result,) = run_estimator(ideal, request((circuit, "ZI"), noise_of("x", error=0.5)))

    assert result.data.evs == pytest.approx(0.25, abs=0.06)
