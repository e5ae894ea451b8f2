"""The primitives of 0.11 and 0.15, unmodified: lists of circuits in, quasi-distributions out."""

from __future__ import annotations

import math

import pytest
from circuits import bell
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter
from qiskit.circuit.library import RealAmplitudes
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import Estimator, Options, QiskitRuntimeService, Sampler, Session
from qiskit_ibm_runtime.exceptions import RuntimeJobFailureError

SECONDS = 120
IDEAL, NOISY = "aer_simulator", "fake_manila"


def rotation(*, measured: bool = False) -> QuantumCircuit:
    """An expression of a parameter: its text is that of sympy."""
    angle = Parameter("angle")
    circuit = QuantumCircuit(1)
    circuit.ry(2 * angle, 0)
    if measured:
        circuit.measure_all()
    return circuit


def test_the_classic_sample_runs_in_a_session(service: QiskitRuntimeService) -> None:
    ansatz = RealAmplitudes(num_qubits=2, reps=2)
    first = SparsePauliOp.from_list([("II", 1), ("IZ", 2), ("XI", 3)])
    second = SparsePauliOp.from_list([("IZ", 1)])
    third = SparsePauliOp.from_list([("ZI", 1), ("ZZ", 1)])
    theta = [0, 1, 1, 2, 3, 5]
    options = Options(optimization_level=1, execution={"shots": None})
    with Session(service=service, backend=IDEAL) as session:
        estimator = Estimator(session=session, options=options)
        alone = estimator.run(circuits=[ansatz], observables=[first], parameter_values=[theta])
        assert session.session_id == alone.job_id()
        both = estimator.run(
            circuits=[ansatz, ansatz], observables=[second, third], parameter_values=[theta] * 2
        )
        sampled = (
            Sampler(session=session).run(bell(measured=True), shots=1024).result(timeout=SECONDS)
        )
        # The values in the documentation of the class.
        assert alone.result(timeout=SECONDS).values == pytest.approx([1.5555572817900956])
        assert both.result(timeout=SECONDS).values == pytest.approx(
            [-0.5516530027638437, 0.07535238795415422]
        )
    (distribution,) = sampled.quasi_dists
    assert distribution.shots == 1024
    assert sorted(distribution.binary_probabilities()) == ["00", "11"]
    assert sum(distribution.values()) == pytest.approx(1)


def test_without_shots_the_ideal_backend_is_exact(service: QiskitRuntimeService) -> None:
    options = Options(execution={"shots": None})
    backend = service.backend(IDEAL)
    circuit = rotation(measured=True)
    sampled = Sampler(backend=backend, options=options).run([circuit] * 2, [[0.3], [0.0]])
    result = sampled.result(timeout=SECONDS)
    assert result.quasi_dists[0] == pytest.approx({0: math.cos(0.3) ** 2, 1: math.sin(0.3) ** 2})
    assert result.quasi_dists[1] == {0: 1.0}
    assert result.quasi_dists[0].stddev_upper_bound == 0
    estimated = Estimator(backend=backend, options=options).run(
        [rotation()] * 2, [SparsePauliOp("Z"), SparsePauliOp("X")], [[0.3], [0.2]]
    )
    result = estimated.result(timeout=SECONDS)
    assert result.values == pytest.approx([math.cos(0.6), math.sin(0.4)])
    assert [(each["variance"], each["path"]) for each in result.metadata] == [(0, "exact")] * 2


def test_shots_and_seed_are_the_clients(service: QiskitRuntimeService) -> None:
    options = Options(execution={"shots": 500}, simulator={"seed_simulator": 7})
    backend = service.backend(IDEAL)

    def sample() -> object:
        return (
            Sampler(backend=backend, options=options)
            .run(bell(measured=True))
            .result(timeout=SECONDS)
        )

    first = sample()
    assert first.metadata[0]["shots"] == 500
    assert first.quasi_dists == sample().quasi_dists
    estimator = Estimator(backend=backend, options=options)
    result = estimator.run(rotation(), SparsePauliOp("Z"), [0.3]).result(timeout=SECONDS)
    error = math.sqrt(result.metadata[0]["variance"] / result.metadata[0]["shots"])
    assert result.values[0] == pytest.approx(math.cos(0.6), abs=5 * error)
    assert 0 < error < 0.05


def test_a_backend_with_noise_transpiles_and_says_what_it_ignored(
    service: QiskitRuntimeService,
) -> None:
    backend = service.backend(NOISY)
    options = Options(simulator={"seed_simulator": 3})
    observable = SparsePauliOp("ZZ")
    job = Estimator(backend=backend, options=options).run(bell(), observable)
    result = job.result(timeout=SECONDS)
    assert 0.75 < result.values[0] < 1
    # The options that these clients send by default.
    assert result.metadata[0]["unsupported_options"] == {"resilience_settings.level": 1}
    assert "resilience_settings.level=1" in job.logs()
    plain = Options(resilience_level=0, optimization_level=0)
    sampled = (
        Sampler(backend=backend, options=plain).run(bell(measured=True)).result(timeout=SECONDS)
    )
    assert "unsupported_options" not in sampled.metadata[0]
    assert sampled.metadata[0]["shots"] == 4000
    assert sampled.quasi_dists[0][0] + sampled.quasi_dists[0][3] > 0.8


def test_what_is_transpiled_already_is_taken_as_it_is(service: QiskitRuntimeService) -> None:
    backend = service.backend(NOISY)
    options = Options(transpilation={"skip_transpilation": True}, resilience_level=0)
    sampler = Sampler(backend=backend, options=options)
    isa = transpile(bell(measured=True), backend, optimization_level=1, seed_transpiler=1)
    assert sampler.run(isa).result(timeout=SECONDS).quasi_dists[0][0] > 0.4
    with pytest.raises(RuntimeJobFailureError, match=r"(?i)circuits\[0\].*instruction set"):
        sampler.run(bell(measured=True)).result(timeout=SECONDS)


def test_an_imitated_coupling_is_respected(service: QiskitRuntimeService) -> None:
    options = Options(
        execution={"shots": None},
        simulator={"coupling_map": [[0, 1], [1, 2]], "basis_gates": ["rz", "sx", "cx"]},
        transpilation={"initial_layout": [2, 0], "routing_method": "sabre"},
    )
    circuit = QuantumCircuit(2)
    circuit.x(0)
    circuit.cx(0, 1)
    estimator = Estimator(backend=service.backend(IDEAL), options=options)
    result = estimator.run(
        [circuit] * 2, [SparsePauliOp("IZ"), SparsePauliOp("ZZ")]
    ).result(timeout=SECONDS)  # fmt: skip
    assert result.values == pytest.approx([-1, 1])


def test_a_callback_gets_the_result(service: QiskitRuntimeService) -> None:
    received: list[object] = []
    options = Options(environment={"callback": lambda *message: received.append(message)})
    job = Sampler(backend=service.backend(IDEAL), options=options).run(
        bell(measured=True), shots=100
    )
    result = job.result(timeout=SECONDS)
    job._ws_client_future.result(SECONDS)
    ((job_id, delivered),) = received
    assert job_id == job.job_id()
    # As it travelled: these clients decode only what `result()` returns.
    assert delivered["metadata"] == result.metadata
    assert delivered["quasi_dists"] == [result.quasi_dists[0].binary_probabilities()]
