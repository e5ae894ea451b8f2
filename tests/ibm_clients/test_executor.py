"""The executor, and the primitives that today's client builds on it, unmodified."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_ibm_runtime import Executor, IBMBackend, QiskitRuntimeService, QuantumProgram
from qiskit_ibm_runtime.exceptions import RuntimeJobFailureError
from qiskit_ibm_runtime.executor_estimator import Estimator
from qiskit_ibm_runtime.executor_sampler import Sampler
from qiskit_ibm_runtime.options_models import EstimatorOptions, SamplerOptions

OBSERVABLE = SparsePauliOp(["ZZI", "IXX", "ZII", "IYI"], [1, 0.5, 0.3, 0.2])
ANGLES = [[0.0], [0.5], [2.0]]
SEED = {"simulator": {"seed_simulator": 11}}


@pytest.fixture(params=["aer_simulator", "fake_manila"])
def backend(
    request: pytest.FixtureRequest, connect: Callable[..., QiskitRuntimeService]
) -> IBMBackend:
    return connect().backend(request.param)


def ansatz() -> QuantumCircuit:
    circuit = QuantumCircuit(3)
    circuit.ry(Parameter("angle"), 0)
    circuit.cx(0, 1)
    circuit.rx(0.4, 2)
    circuit.cz(1, 2)
    return circuit


def isa(circuit: QuantumCircuit, backend: IBMBackend) -> QuantumCircuit:
    """In gates that the client can twirl; the ideal backend takes any."""
    target = {"backend": backend}
    if backend.name == "aer_simulator":
        target = {"basis_gates": ["rz", "sx", "x", "cx"]}
    return generate_preset_pass_manager(1, seed_transpiler=1, **target).run(circuit)


def expected() -> np.ndarray:
    states = [Statevector(ansatz().assign_parameters(angle)) for angle in ANGLES]
    return np.array([state.expectation_value(OBSERVABLE).real for state in states])


@pytest.mark.parametrize("twirling", [False, True])
def test_sampler(backend: IBMBackend, twirling: bool) -> None:
    options = SamplerOptions(default_shots=1024, experimental=SEED)
    options.twirling.enable_gates = options.twirling.enable_measure = twirling
    circuit = isa(ansatz().measure_all(inplace=False), backend)
    sampler = Sampler(backend, options=options)
    job = sampler.run([(circuit, ANGLES)])
    (result,) = job.result()
    assert (result.data.meas.shape, result.data.meas.num_shots) == ((3,), 1024)
    exact = [Statevector(ansatz().assign_parameters(angle)).probabilities() for angle in ANGLES]
    tolerance = 0.06 if backend.name == "aer_simulator" else 0.2
    for row, probabilities in enumerate(exact):
        counts = result.data.meas.get_int_counts(row)
        measured = [counts.get(outcome, 0) / 1024 for outcome in range(8)]
        assert measured == pytest.approx(probabilities, abs=tolerance)
    again = sampler.run([(circuit, ANGLES)]).result()[0]
    assert again.data.meas.get_counts(1) == result.data.meas.get_counts(1)


@pytest.mark.parametrize("level", [0, 1])
def test_estimator(backend: IBMBackend, level: int) -> None:
    options = EstimatorOptions(resilience_level=level, experimental=SEED)
    options.twirling.num_randomizations = 8
    circuit = isa(ansatz(), backend)
    layout = circuit.layout
    observable = OBSERVABLE if layout is None else OBSERVABLE.apply_layout(layout)
    (result,) = Estimator(backend, options=options).run([(circuit, observable, ANGLES)]).result()
    errors = result.data.evs - expected()
    if backend.name == "aer_simulator":
        assert np.all(np.abs(errors) < 5 * result.data.stds)
    else:
        # Level 1 undoes the errors of readout, which the imitated device has.
        assert np.all(np.abs(errors) < (0.4 if level == 0 else 0.25))


def test_extrapolation_to_zero_noise(connect: Callable[..., QiskitRuntimeService]) -> None:
    backend = connect().backend("fake_manila")
    options = EstimatorOptions(resilience_level=0, default_shots=2048, experimental=SEED)
    options.resilience.zne_mitigation = True
    options.twirling.num_randomizations = 4
    circuit = isa(ansatz(), backend)
    pub = (circuit, OBSERVABLE.apply_layout(circuit.layout), ANGLES[:1])
    (result,) = Estimator(backend, options=options).run([pub]).result()
    assert result.data.evs_noise_factors.shape == (1, 3)


def test_executor(backend: IBMBackend) -> None:
    program = QuantumProgram(shots=40, passthrough_data={"sent": np.arange(2)})
    circuit = isa(ansatz().measure_all(inplace=False), backend)
    program.append_circuit_item(circuit, np.array(ANGLES))
    executor = Executor(backend, options={"experimental": SEED})
    job = executor.run(program)
    result = job.result()
    assert result[0]["meas"].shape == (3, 40, 3)
    assert result.passthrough_data["sent"].tolist() == [0, 1]
    assert result.timing.duration > 0
    fetched = backend.service.job(job.job_id())
    assert fetched.primitive_id == "executor"
    assert np.array_equal(fetched.result()[0]["meas"], result[0]["meas"])


def test_what_the_simulators_lack_stands_in_the_log(
    connect: Callable[..., QiskitRuntimeService],
) -> None:
    backend = connect().backend("aer_simulator")
    circuit = QuantumCircuit(1)
    circuit.measure_all()
    program = QuantumProgram(shots=4)
    program.append_circuit_item(circuit)
    job = Executor(backend, options={"execution": {"scheduler_timing": True}}).run(program)
    assert not job.result()[0]["meas"].any()
    assert "scheduler_timing=True" in job.logs()
    program.meas_level = "kerneled"
    with pytest.raises(RuntimeJobFailureError, match="only 'classified' is supported"):
        Executor(backend).run(program).result()
