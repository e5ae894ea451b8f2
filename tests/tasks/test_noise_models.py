"""Noise models in every form, on a call or a block, give the numbers of Aer itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import PauliGate, RZGate
from qiskit.quantum_info import DensityMatrix, Pauli, SuperOp
from qiskit_aer import AerSimulator
from qiskit_aer.noise import (
    NoiseModel,
    QuantumError,
    ReadoutError,
    amplitude_damping_error,
    coherent_unitary_error,
    depolarizing_error,
    phase_damping_error,
    reset_error,
    thermal_relaxation_error,
)
from qiskit_ibm_runtime import QuantumProgram
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from prefect_qiskit_runtime import InvalidInputError, RuntimeBackend, primitives as tasks
from prefect_qiskit_runtime.codec import decode, encode
from prefect_qiskit_runtime.codec.noise_models import read_noise_model

pytestmark = pytest.mark.usefixtures("service_home")

IDEAL = "aer_simulator"
SHOTS = 20_000
# Six standard errors of the fraction of 20,000 shots.
TOLERANCE = 6 * 0.5 / np.sqrt(SHOTS)


def with_error(error: QuantumError, *, readout: bool = False) -> NoiseModel:
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(error, ["x", "sx"])
    noise.add_quantum_error(depolarizing_error(0.2, 2), ["cx"], [0, 1])
    if readout:
        noise.add_readout_error(ReadoutError([[0.9, 0.1], [0.3, 0.7]]), [1])
    return noise


def made_of_gates() -> QuantumError:
    circuit = QuantumCircuit(1)
    circuit.rx(0.6, 0)
    circuit.h(0)
    return QuantumError([(circuit, 0.4), (PauliGate("Y"), 0.2), (RZGate(0.3), 0.4)])


ROTATION = np.array([[np.cos(0.3), -1j * np.sin(0.3)], [-1j * np.sin(0.3), np.cos(0.3)]])
NOISES: dict[str, Callable[[], NoiseModel]] = {
    "Kraus operators": lambda: with_error(amplitude_damping_error(0.3), readout=True),
    "phases": lambda: with_error(phase_damping_error(0.4)),
    "relaxation by Kraus operators": lambda: with_error(thermal_relaxation_error(50, 80, 30)),
    "relaxation by resets": lambda: with_error(thermal_relaxation_error(50, 30, 30)),
    "a unitary": lambda: with_error(coherent_unitary_error(ROTATION)),
    "resets": lambda: with_error(reset_error(0.1, 0.2)),
    "gates with parameters": lambda: with_error(made_of_gates()),
    "a device": lambda: NoiseModel.from_backend(FakeManilaV2()),
}
FORMS: dict[str, Callable[[NoiseModel], Any]] = {
    "the object": lambda noise: noise,
    "its dict": lambda noise: noise.to_dict(),
    "its dict through JSON": lambda noise: json.loads(json.dumps(noise.to_dict(serializable=True))),
}
all_noises = pytest.mark.parametrize("noise", NOISES)


def circuit(*, measured: bool) -> QuantumCircuit:
    built = QuantumCircuit(2)
    built.sx(0)
    built.x(1)
    built.cx(0, 1)
    built.sx(1)
    if measured:
        built.measure_all()
    return built


def probabilities(noise: NoiseModel) -> dict[str, float]:
    simulator = AerSimulator(method="density_matrix", noise_model=noise, seed_simulator=3)
    counts = simulator.run(circuit(measured=True), shots=200_000).result().get_counts()
    return {key: count / 200_000 for key, count in counts.items()}


def expectation(noise: NoiseModel, observable: str) -> float:
    """Return the value in the state before its measurement, whose rotation has no noise here."""
    simulator = AerSimulator(method="density_matrix", noise_model=noise)
    saving = circuit(measured=False)
    saving.save_density_matrix()
    state = DensityMatrix(simulator.run(saving).result().data(0)["density_matrix"])
    return float(np.real(state.expectation_value(Pauli(observable))))


def assert_counts(counts: dict[str, int], expected: dict[str, float]) -> None:
    for key in expected.keys() | counts.keys():
        assert counts.get(key, 0) / SHOTS == pytest.approx(expected.get(key, 0), abs=TOLERANCE)


@all_noises
@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_a_noise_model_is_the_same_channel(noise: str, form: str) -> None:
    model = NOISES[noise]()
    given = FORMS[form](model)

    arrived = decode(encode({"noise_model": given}))["noise_model"]
    read = arrived if isinstance(arrived, NoiseModel) else read_noise_model(arrived)

    assert read.noise_qubits == model.noise_qubits
    assert set(read.noise_instructions) == set(model.noise_instructions)
    ours, theirs = _channels(read), _channels(model)
    assert ours.keys() == theirs.keys()
    for key, channel in theirs.items():
        np.testing.assert_allclose(ours[key], channel, atol=1e-9)


def _channels(model: NoiseModel) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for name, error in model._default_quantum_errors.items():
        found[name] = SuperOp(error).data
    for name, errors in model._local_quantum_errors.items():
        found |= {(name, qubits): SuperOp(error).data for qubits, error in errors.items()}
    found |= {q: error.probabilities for q, error in model._local_readout_errors.items()}
    return found


@all_noises
@pytest.mark.parametrize("form", ["the object", "its dict through JSON"])
def test_the_executor_samples_with_the_noise_of_the_model(noise: str, form: str) -> None:
    model = NOISES[noise]()
    program = QuantumProgram(shots=SHOTS)
    program.append_circuit_item(circuit(measured=True))

    result = tasks.run_executor.fn(
        program,
        backend=IDEAL,
        seed=5,
        options={"simulator": {"noise_model": FORMS[form](model)}},
    )

    bits = result[0]["meas"].reshape(SHOTS, 2).astype(int)
    keys, numbers = np.unique(bits @ [1, 2], return_counts=True)
    counts = {f"{key:02b}": int(number) for key, number in zip(keys, numbers, strict=True)}
    assert_counts(counts, probabilities(model))


@all_noises
def test_the_sampler_takes_the_noise_of_its_block(noise: str) -> None:
    model = NOISES[noise]()
    simulator = {"simulator": {"noise_model": FORMS["its dict through JSON"](model)}}
    block = RuntimeBackend(name=IDEAL, sampler_options=simulator)

    (sampled,) = tasks.run_sampler.fn([circuit(measured=True)], backend=block, shots=SHOTS, seed=5)
    assert_counts(sampled.data.meas.get_counts(), probabilities(model))


@pytest.mark.parametrize("noise", sorted(NOISES.keys() - {"Kraus operators", "a device"}))
def test_the_estimator_takes_the_noise_of_its_block(noise: str) -> None:
    model = NOISES[noise]()  # one without readout errors, which the values would contain
    simulator = {"simulator": {"noise_model": FORMS["its dict through JSON"](model)}}
    block = RuntimeBackend(name=IDEAL, estimator_options=simulator)
    observables = ["IZ", "YI", "XX", "ZZ"]

    (estimated,) = tasks.run_estimator.fn(
        [(circuit(measured=False), observables)], backend=block, shots=SHOTS, seed=5
    )

    expected = [expectation(model, label) for label in observables]
    assert estimated.data.evs == pytest.approx(np.array(expected), abs=2 * TOLERANCE)


def test_a_dict_that_is_not_a_noise_model_is_refused_by_its_first_fault() -> None:
    unknown = {"type": "qerror", "operations": ["x"], "probabilities": [1.0]}
    unknown["instructions"] = [[{"name": "wobble", "qubits": [0]}]]
    with pytest.raises(
        InvalidInputError, match="Error 0 of the noise model cannot be read: it has"
    ):
        read_noise_model({"errors": [unknown]})
    with pytest.raises(InvalidInputError, match="its type is 'other', not 'qerror' or 'roerror'"):
        read_noise_model({"errors": [{"type": "other"}]})
