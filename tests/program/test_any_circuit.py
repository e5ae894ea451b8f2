"""Random circuits of every construct give what an independent reference says.

In CI there are few circuits, the same each time; `make fuzz` draws many others. All
comparisons of a run together raise a false alarm with chance FALSE_ALARMS at most.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from qiskit.circuit import Clbit, QuantumCircuit
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparsePauliOp

from prefect_qiskit_runtime import codec
from prefect_qiskit_runtime.program import ProgramBackend, UserMessenger
from prefect_qiskit_runtime.program.primitives import Request, run_estimator, run_sampler
from prefect_qiskit_runtime.program.transpiled import PubTranspiler
from tests.program.quantum_programs import execute_item

from .agreement import disagreements, marginal, parity_chances, parity_counts
from .random_circuits import circuits
from .reference import Noise, Reference

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "8"))
SHOTS = 1000
POINTS = np.array([[0.7, -1.3], [2.9, 0.4]])
# Two points, six tests, at most 32 outcomes of five bits, some ways each.
COMPARISONS = EXAMPLES * len(POINTS) * 6 * 4 * 32
OBSERVABLES = ["ZII", "IXZ", "YIY", "XZX"]


def drawn(count: int) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


examples = drawn(EXAMPLES)
fewer_examples = drawn(max(1, EXAMPLES // 4))  # transpiled, on five noisy qubits


@pytest.fixture(scope="module")
def noise(noisy) -> Noise:
    from qiskit_aer.noise import NoiseModel

    return Noise(NoiseModel.from_backend(noisy._device), noisy._device)


def rows_for(circuit: QuantumCircuit) -> list[list[float]]:
    # Qiskit 2.3 takes the parameter of some loops for one of the circuit.
    assume(circuit.num_parameters <= POINTS.shape[1])
    return POINTS[:, : circuit.num_parameters].tolist()


def request(backend: ProgramBackend, pub: Any, **options: Any) -> Request:
    inputs = {"pubs": [pub], "transpile": backend.imitates_device, "options": options}
    return Request.read(inputs, unsupported_options="refuse")


def sampled(circuit: QuantumCircuit, registers: dict[str, Any], row: int) -> Any:
    """Counts of the classical bits that are in a register, and which those are."""
    columns = {}
    for register in circuit.cregs:
        bits = registers[register.name][row]
        for place, bit in enumerate(register):
            columns[circuit.find_bit(bit).index] = bits[:, place]
    chosen = sorted(columns)
    table = np.stack([columns[index] for index in chosen], axis=1).astype(int)
    return Counter(map(tuple, table.tolist())), chosen


def check_samples(circuit: QuantumCircuit, registers: dict[str, Any], wanted: list[Any]) -> None:
    for row, probabilities in enumerate(wanted):
        counts, chosen = sampled(circuit, registers, row)
        expected = marginal(probabilities, chosen)
        assert not disagreements(counts, expected, comparisons=COMPARISONS)


def from_sampler(backend: ProgramBackend, circuit: QuantumCircuit, rows: Any) -> dict[str, Any]:
    pub = (circuit, rows, SHOTS)
    data = run_sampler(backend, request(backend, pub, simulator={"seed_simulator": 5}))[0].data
    return {name: data[name].to_bool_array(order="little") for name in data}


def from_run(backend: ProgramBackend, circuit: QuantumCircuit, rows: Any) -> Any:
    binds = [{p: [row[i] for row in rows] for i, p in enumerate(circuit.parameters)}]
    options = {"parameter_binds": binds} if circuit.parameters else {}
    return backend.run(circuit, shots=SHOTS, seed_simulator=7, **options).result()


def check_run(circuit: QuantumCircuit, result: Any, wanted: list[Any]) -> None:
    for row, probabilities in enumerate(wanted if circuit.parameters else wanted[:1]):
        counts = result.get_counts(row)
        # Registers side by side, of which one shares bits, say less than hexadecimal numbers.
        assert all(len(key.replace(" ", "")) >= circuit.num_clbits for key in counts)
        hexadecimal = result.data(row)["counts"]
        table = {
            tuple(int(key, 16) >> bit & 1 for bit in range(circuit.num_clbits)): count
            for key, count in hexadecimal.items()
        }
        assert not disagreements(table, probabilities, comparisons=COMPARISONS)


def values_of(circuit: QuantumCircuit, noise: Noise | None = None) -> list[Reference]:
    return [Reference(circuit, row, noise) for row in rows_for(circuit)]


@examples
@given(circuit=circuits())
def test_samples_of_any_circuit_are_those_of_the_reference(ideal, circuit):
    rows = rows_for(circuit)
    wanted = [reference.probabilities() for reference in values_of(circuit)]

    check_samples(circuit, from_sampler(ideal, circuit, rows), wanted)
    check_run(circuit, from_run(ideal, circuit, rows), wanted)


@examples
@given(circuit=circuits())
def test_quantum_programs_of_any_circuit_give_samples_of_the_reference(ideal, circuit):
    rows = rows_for(circuit)
    wanted = [reference.probabilities() for reference in values_of(circuit)]

    check_samples(
        circuit, execute_item(ideal, circuit, rows, shots=SHOTS, seed_simulator=6), wanted
    )


@examples
@given(circuit=circuits(branches=False))
def test_exact_values_of_any_unitary_circuit_are_those_of_the_reference(ideal, circuit):
    rows = rows_for(circuit)
    pub = (circuit, [[each] for each in OBSERVABLES], rows)

    evs = run_estimator(ideal, request(ideal, pub))[0].data.evs

    references = values_of(circuit)
    for index, label in enumerate(OBSERVABLES):
        expected = [reference.expectation(SparsePauliOp(label)) for reference in references]
        assert evs[index] == pytest.approx(expected, abs=1e-9)


def check_estimates(backend: ProgramBackend, circuit: QuantumCircuit, wanted: Any) -> None:
    pub = (circuit, [[each] for each in OBSERVABLES], rows_for(circuit))
    options = {"default_shots": SHOTS, "simulator": {"seed_simulator": 8}}
    evs = run_estimator(backend, request(backend, pub, **options))[0].data.evs
    for index, label in enumerate(OBSERVABLES):
        for row, expected in enumerate(wanted(label)):
            counts = parity_counts(evs[index][row], SHOTS)
            assert not disagreements(counts, parity_chances(expected), comparisons=COMPARISONS)


@examples
@given(circuit=circuits())
def test_estimates_from_shots_of_any_circuit_are_those_of_the_reference(ideal, circuit):
    references = values_of(circuit)

    def wanted(label: str) -> list[float]:
        return [reference.expectation(SparsePauliOp(label)) for reference in references]

    check_estimates(ideal, circuit, wanted)


@fewer_examples
@given(circuit=circuits(loops=False))
def test_any_circuit_transpiled_for_a_device_is_the_same_circuit_with_its_noise(
    noisy, noise, circuit
):
    rows = rows_for(circuit)
    (isa,) = transpiled(noisy, circuit)
    for of_isa, of_circuit in zip(values_of(isa), values_of(circuit), strict=True):
        expected = of_circuit.probabilities()
        assert of_isa.probabilities() == pytest.approx(expected, abs=1e-9)
    wanted = [reference.probabilities() for reference in values_of(isa, noise)]

    check_samples(circuit, from_sampler(noisy, circuit, rows), wanted)
    check_run(isa, from_run(noisy, isa, rows), wanted)


def from_program(backend: ProgramBackend, circuit: QuantumCircuit, rows: Any) -> dict[str, Any]:
    """The results of an uploaded program that compiles a circuit and samples it."""

    def main(backend: ProgramBackend, user_messenger: UserMessenger, *, circuit: Any, rows: Any):
        job = backend.sampler(shots=SHOTS, seed=9).run([(circuit, rows)])
        user_messenger.publish({"circuit": circuit})
        return job.result()

    published: list[str] = []
    messenger = UserMessenger(sink=lambda text, _final: published.append(text))
    inputs = codec.decode(codec.encode_inputs({"circuit": circuit, "rows": rows}))
    data = codec.decode(codec.encode(main(backend, messenger, **inputs)))[0].data
    assert codec.fingerprint(codec.decode(published[0])) == codec.fingerprint({"circuit": circuit})
    return {name: data[name].to_bool_array(order="little") for name in data}


@fewer_examples
@given(circuit=circuits(loops=False))
def test_programs_and_quantum_programs_on_a_device_give_samples_of_the_reference_with_its_noise(
    noisy, noise, circuit
):
    rows = rows_for(circuit)
    (isa,) = transpiled(noisy, circuit)
    wanted = [reference.probabilities() for reference in values_of(isa, noise)]

    check_samples(isa, from_program(noisy, isa, rows), wanted)
    check_samples(isa, execute_item(noisy, isa, rows, shots=SHOTS, seed_simulator=6), wanted)


@fewer_examples
@given(circuit=circuits(loops=False))
def test_estimates_on_a_device_are_those_of_the_reference_with_its_noise(noisy, noise, circuit):
    (isa,) = transpiled(noisy, circuit)

    def wanted(label: str) -> list[float]:
        return [measured_parity(isa, row, label, noise) for row in rows_for(isa)]

    check_estimates(noisy, circuit, wanted)


def transpiled(backend: ProgramBackend, circuit: QuantumCircuit) -> list[QuantumCircuit]:
    pub = SamplerPub.coerce((circuit, rows_for(circuit), SHOTS))
    return [PubTranspiler(backend).transpiled(pub).circuit]


def measured_parity(isa: QuantumCircuit, row: list[float], label: str, noise: Noise) -> float:
    """The mean of the outcomes of a Pauli, turned into Z by one SX gate and read with errors."""
    circuit = isa.copy()
    places = isa.layout.final_index_layout()
    letters = [(places[q], letter) for q, letter in enumerate(reversed(label)) if letter != "I"]
    own = circuit.num_clbits
    circuit.add_bits([Clbit() for _ in letters])
    for index, (qubit, letter) in enumerate(letters):
        if letter == "X":
            circuit.rz(np.pi / 2, qubit)
        if letter != "Z":
            circuit.sx(qubit)
        circuit.measure(qubit, own + index)
    chances = Reference(circuit, row, noise).probabilities()
    return sum(chance * (-1) ** sum(outcome[own:]) for outcome, chance in chances.items())
