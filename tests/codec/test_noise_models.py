"""Noise models arrive with everything that changes the noise of a circuit, or are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Delay, Measure
from qiskit_aer import AerSimulator
from qiskit_aer.noise import (
    LocalNoisePass,
    NoiseModel,
    ReadoutError,
    RelaxationNoisePass,
    amplitude_damping_error,
    depolarizing_error,
)
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from prefect_qiskit_runtime.codec import decode, encode, fingerprint
from prefect_qiskit_runtime.codec.noise_models import describe_noise_model, read_noise_model
from prefect_qiskit_runtime.errors import EncodingError


def in_json(model: NoiseModel) -> NoiseModel:
    return read_noise_model(json.loads(json.dumps(describe_noise_model(model, is_plain=True))))


def on_the_wire(model: NoiseModel) -> Any:
    return decode(encode({"noise": model}))["noise"]


def local() -> NoiseModel:
    model = NoiseModel(basis_gates=["cz", "rz", "sx"])
    model.add_all_qubit_quantum_error(amplitude_damping_error(0.1), ["sx", "of_mine"])
    model.add_quantum_error(depolarizing_error(0.2, 2), ["cz"], [0, 1])
    model.add_quantum_error(depolarizing_error(0.3, 2), ["cz"], [1, 0])
    model.add_all_qubit_readout_error(ReadoutError([[0.9, 0.1], [0.3, 0.7]]))
    model.add_readout_error(ReadoutError([[0.8, 0.2], [0.1, 0.9]]), [1], warnings=False)
    return model


MODELS: dict[str, Callable[[], NoiseModel]] = {
    "local errors": local,
    "only basis gates": lambda: NoiseModel(basis_gates=["ecr", "rz", "sx", "x"]),
    "fewer basis gates than the default": lambda: NoiseModel(basis_gates=["h"]),
    "the default": NoiseModel,
    "a device": lambda: NoiseModel.from_backend(FakeManilaV2()),
}
READERS = {"on the wire": on_the_wire, "in JSON": in_json}
every_reader = pytest.mark.parametrize("read", READERS.values(), ids=READERS)


@every_reader
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_noise_model_arrives_with_its_errors_and_basis_gates(
    model: Callable[[], NoiseModel], read: Callable[[NoiseModel], NoiseModel]
) -> None:
    sent = model()
    read_back = read(sent)

    assert read_back.basis_gates == sent.basis_gates
    assert read_back.noise_instructions == sent.noise_instructions
    assert read_back == sent


@every_reader
def test_idle_qubits_of_a_device_relax_as_before(
    read: Callable[[NoiseModel], NoiseModel],
) -> None:
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.delay(100, 0, "us")
    circuit.save_density_matrix()

    def state(model: NoiseModel) -> Any:
        simulator = AerSimulator(method="density_matrix", noise_model=model)
        return np.asarray(simulator.run(circuit).result().data(0)["density_matrix"])

    sent = NoiseModel.from_backend(FakeManilaV2())
    assert np.array_equal(state(read(sent)), state(sent))
    assert state(sent)[1, 1].real < 0.6


@every_reader
def test_qubits_without_a_relaxation_time_have_none_afterwards(
    read: Callable[[NoiseModel], NoiseModel],
) -> None:
    model = NoiseModel()
    relaxation = RelaxationNoisePass([np.inf, 1e-4], [np.inf, 5e-5], 1e-9, Delay, [0.1, 0.0])
    model._custom_noise_passes.append(relaxation)

    (found,) = read(model)._custom_noise_passes

    for name in ("_t1s", "_t2s", "_p1s", "_dt", "_ops"):
        assert np.array_equal(getattr(found, name), getattr(relaxation, name)), name


@pytest.mark.parametrize(
    "noise_pass",
    [
        LocalNoisePass(lambda *_: None, Delay),
        RelaxationNoisePass([1e-4], [1e-4], 1e-9, Measure),
        RelaxationNoisePass([1e-4], [1e-4], 1e-9),
    ],
    ids=["a function", "of measurements", "of all gates"],
)
def test_a_noise_model_with_a_pass_that_cannot_travel_is_refused(noise_pass: Any) -> None:
    model = NoiseModel()
    model._custom_noise_passes.append(noise_pass)

    with pytest.raises(EncodingError, match="calls a function for gates") as caught:
        encode({"noise": model})
    assert caught.value.path == "$.noise"


def test_equal_noise_models_have_equal_fingerprints() -> None:
    assert fingerprint(local()) == fingerprint(local())
    assert fingerprint(NoiseModel()) != fingerprint(NoiseModel(basis_gates=["h"]))
