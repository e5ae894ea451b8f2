"""Equal values have one fingerprint, wherever they were built; others have another."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from qiskit.circuit import (
    AnnotatedOperation,
    Annotation,
    ClassicalRegister,
    Clbit,
    ControlModifier,
    Duration,
    InverseModifier,
    Parameter,
    ParameterVector,
    QuantumCircuit,
    QuantumRegister,
    Qubit,
)
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import MCXVChain, PauliEvolutionGate, QFTGate, SXGate, XGate
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparsePauliOp, random_clifford
from qiskit_ibm_runtime import QuantumProgram

from prefect_qiskit_runtime.codec import (
    fingerprint,
    quantum_program_identity,
    quantum_program_inputs,
)


class Twirled(Annotation):
    """An annotation as add-ons have them."""

    namespace = "tests.twirled"

    def __init__(self, group: str) -> None:
        self.group = group


def parameters() -> QuantumCircuit:
    angle, vector = Parameter("angle"), ParameterVector("v", 12)
    circuit = QuantumCircuit(2)
    circuit.rx((2 * angle + vector[10] ** 2).sin() - vector[2] / 3, 0)
    circuit.ry(angle, 1)
    circuit.global_phase = angle
    return circuit


def custom_gates() -> QuantumCircuit:
    inner = QuantumCircuit(2)
    inner.rz(Parameter("inner"), 0)
    inner.cx(0, 1)
    gate = inner.to_gate()
    circuit = QuantumCircuit(3)
    circuit.append(gate, [0, 2])
    circuit.append(gate.inverse(), [0, 1])
    circuit.append(gate.control(1), [0, 1, 2])
    return circuit


def control_flow() -> QuantumCircuit:
    qubits, bits = QuantumRegister(3), ClassicalRegister(3)
    circuit = QuantumCircuit(qubits, bits)
    circuit.measure(qubits, bits)
    with circuit.if_test((bits, 3)) as otherwise:
        circuit.cx(0, 1)
    with otherwise, circuit.while_loop((bits[0], 1)):
        circuit.rx(0.5, 1)
        circuit.measure(1, 0)
    with circuit.for_loop(range(3)) as index, circuit.for_loop((1, 5)) as inner:
        circuit.rx(index * 2 + inner, 0)
    with circuit.switch(bits) as case:
        with case(0, 1):
            circuit.x(0)
        with case(case.DEFAULT):
            circuit.cz(2, 1)
    return circuit


def classical_expressions() -> QuantumCircuit:
    bits = ClassicalRegister(3, "bits")
    circuit = QuantumCircuit(QuantumRegister(2), bits)
    count = circuit.add_var("count", expr.lift(5, types.Uint(8)))
    with circuit.if_test(expr.less(count, expr.lift(9, types.Uint(8)))):
        circuit.store(count, expr.bit_xor(count, count))
    with circuit.if_test(expr.logic_and(bits[1], expr.equal(bits, 5))):
        circuit.z(0)
    return circuit


def annotated() -> QuantumCircuit:
    circuit = QuantumCircuit(3)
    with circuit.box(annotations=[Twirled("pauli")]):
        circuit.cz(0, 1)
    modifiers = [ControlModifier(1), InverseModifier()]
    circuit.append(AnnotatedOperation(SXGate(), modifiers), [0, 1])
    return circuit


def library() -> QuantumCircuit:
    circuit = QuantumCircuit(3)
    operator = SparsePauliOp(["ZZ", "XX"], [1, 2])
    circuit.append(PauliEvolutionGate(operator, time=Parameter("t")), [0, 1])
    circuit.append(QFTGate(2), [0, 1])
    circuit.append(XGate().control(2, ctrl_state=1), [0, 1, 2])
    circuit.append(random_clifford(2, seed=3), [0, 1])
    circuit.unitary(np.eye(4), [0, 1])
    circuit.initialize([1, 0], 0)
    circuit.delay(100, 0, "ns")
    circuit.measure_all()
    return circuit


def loose_bits() -> QuantumCircuit:
    circuit = QuantumCircuit([Qubit(), Qubit()], [Clbit()])
    circuit.measure(1, 0)
    return circuit


def pubs() -> list[object]:
    circuit = parameters()
    observable = SparsePauliOp(["ZZ", "XI"], [0.5, 1.0])
    values = np.linspace(0, 1, circuit.num_parameters)
    measured = circuit.measure_all(inplace=False)
    return [
        EstimatorPub.coerce((circuit, observable, values)),
        SamplerPub.coerce((measured, values, 100)),
    ]


def quantum_program() -> dict[str, object]:
    program = QuantumProgram(shots=10)
    program.append_circuit_item(custom_gates(), circuit_arguments=np.zeros((1, 1)))
    return quantum_program_identity(quantum_program_inputs(program, execution={}, experimental={}))


def plain() -> dict[str, object]:
    return {
        "set": {"a", "b", ("c", 1)},
        "array": np.arange(6).reshape(2, 3),
        "expression": 2 * Parameter("x"),
        "number": np.float64(0.1),
        "complex": [1 + 2j],
        "nothing": None,
    }


BUILDERS: tuple[Callable[[], object], ...] = (
    *(parameters, custom_gates, control_flow, classical_expressions, annotated, library),
    *(loose_bits, pubs, quantum_program, plain),
)


@pytest.mark.parametrize("build", BUILDERS)
def test_equal_values_that_were_built_twice_have_one_fingerprint(
    build: Callable[[], object],
) -> None:
    first, second = fingerprint(build()), fingerprint(build())
    assert first == second
    assert len(first) == 64


@pytest.mark.slow
def test_another_process_finds_the_same_fingerprints() -> None:
    script = (
        "import test_fingerprint as t\n"
        "t.QuantumCircuit(1); t.ClassicalRegister(1); t.control_flow()\n"  # count names up
        "print([t.fingerprint(build()) for build in t.BUILDERS])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={
            **os.environ,
            "PYTHONPATH": os.path.dirname(__file__),  # noqa: PTH120
            "PYTHONHASHSEED": "7",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    # The class of the annotation is in a module of another name there.
    here = [fingerprint(build()) for build in BUILDERS]
    differing = [
        build
        for build, mine, theirs in zip(BUILDERS, here, eval(done.stdout), strict=True)
        if mine != theirs
    ]
    assert differing == [annotated]


def test_names_metadata_and_register_names_of_qiskit_do_not_count() -> None:
    first = QuantumCircuit(QuantumRegister(2), ClassicalRegister(2), name="a", metadata={"k": 1})
    second = QuantumCircuit(QuantumRegister(2, "other"), ClassicalRegister(2), name="b")
    assert fingerprint(first) == fingerprint(second)


def test_the_order_of_a_mapping_does_not_count() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({1: "a", "b": 2}) == fingerprint({1: "a", "b": 2})


def _add_switch(made: QuantumCircuit, *labels: int) -> None:
    with made.switch(made.cregs[0]) as case, case(*labels):
        made.x(0)


def _add_loop(made: QuantumCircuit, indices: range) -> None:
    with made.for_loop(indices):
        made.x(0)


def _add_if(made: QuantumCircuit, condition: Any, qubit: int = 0) -> None:
    with made.if_test(condition):
        made.x(qubit)


def _add_box(made: QuantumCircuit, group: str) -> None:
    with made.box(annotations=[Twirled(group)]):
        made.x(0)


def _add_evolution(made: QuantumCircuit, weight: float) -> None:
    made.append(PauliEvolutionGate(SparsePauliOp(["ZZ"], [weight]), time=1), [0, 1])


def _add_custom_gate(made: QuantumCircuit, turn: float) -> None:
    inner = QuantumCircuit(1, name="same")
    inner.rx(turn, 0)
    made.append(inner.to_gate(), [0])


Change = Callable[[QuantumCircuit], object]


def _different_gates() -> Iterator[Change]:
    yield lambda made: made.x(0)
    yield lambda made: made.x(1)
    yield lambda made: made.x(0, label="noisy")
    yield lambda made: made.cx(0, 1)
    yield lambda made: made.cx(1, 0)
    yield lambda made: made.cx(0, 1, ctrl_state=0)
    yield lambda made: made.measure(0, 0)
    yield lambda made: made.measure(0, 1)
    yield lambda made: made.delay(10, 0, "ns")
    yield lambda made: made.delay(10, 0, "us")
    yield lambda made: made.barrier()
    yield lambda made: made.unitary(np.eye(2), [0])
    yield lambda made: made.unitary(np.diag([1, -1]), [0])
    for weight in (1.0, 2.0):
        yield partial(_add_evolution, weight=weight)
        yield partial(_add_custom_gate, turn=weight)


def _different_angles() -> Iterator[Change]:
    a, b, c = Parameter("a"), Parameter("b"), Parameter("c")
    angles = [0.1, np.nextafter(0.1, 1), a, 2 * a, a + 2, a**2, a.sin(), b, Parameter("v[0]")]
    angles += [ParameterVector("v", 1)[0], a - (2 * b - c), a - 2 * b - c]
    for angle in angles:
        yield lambda made, angle=angle: made.rx(angle, 0)


def _different_control_flow() -> Iterator[Change]:
    for value in (1, 2):
        yield lambda made, value=value: _add_if(made, (made.cregs[0], value))
        yield lambda made, value=value: _add_if(made, expr.equal(made.cregs[0], value))
        yield lambda made, value=value: _add_if(made, (made.clbits[0], value - 1))
        yield lambda made, value=value: _add_switch(made, value)
        yield lambda made, value=value: _add_loop(made, range(value))
    yield lambda made: _add_if(made, (made.clbits[1], 0))
    yield lambda made: _add_if(made, (made.clbits[1], 0), 1)
    yield lambda made: _add_switch(made, 1, 2)
    yield lambda made: _add_box(made, "pauli")
    yield lambda made: _add_box(made, "local_c1")


def _circuits_that_differ() -> Iterator[QuantumCircuit]:
    changes = [*_different_gates(), *_different_angles(), *_different_control_flow()]
    for change in (*changes, lambda made: setattr(made, "global_phase", 0.5)):
        made = QuantumCircuit(QuantumRegister(3), ClassicalRegister(2, "bits"))
        change(made)
        yield made
    yield QuantumCircuit(QuantumRegister(3), ClassicalRegister(2, "bits"))
    yield QuantumCircuit(3, 2)
    yield QuantumCircuit(4, 2)


def test_circuits_that_differ_in_one_thing_have_other_fingerprints() -> None:
    circuits = list(_circuits_that_differ())
    assert len({fingerprint(circuit) for circuit in circuits}) == len(circuits)


def test_values_that_travel_differently_have_other_fingerprints() -> None:
    values: list[object] = [
        *(1, 1.0, True, "1", None, [1], {"1": 1}, [[1]], [1, 1], {"a": None}, 1j),
        *(np.arange(3), np.arange(3.0), np.arange(3).reshape(3, 1), np.arange(3, dtype="int32")),
    ]
    assert len({fingerprint(value) for value in values}) == len(values)


def test_byte_order_and_layout_of_an_array_do_not_count() -> None:
    array = np.arange(6.0).reshape(2, 3)
    assert fingerprint(array) == fingerprint(np.asfortranarray(array))
    assert fingerprint(array) == fingerprint(array.astype(">f8"))


@pytest.mark.parametrize("build", BUILDERS[:6])
def test_the_value_is_not_changed(build: Callable[[], QuantumCircuit]) -> None:
    circuit = build()
    circuit.metadata = {"mine": 1}
    before, name = copy.deepcopy(circuit), circuit.name
    fingerprint(circuit)
    assert (circuit, circuit.name, circuit.metadata) == (before, name, {"mine": 1})
    assert list(circuit.parameters) == list(before.parameters)


def test_what_has_no_encoding_is_refused() -> None:
    with pytest.raises(TypeError):
        fingerprint({"a": object()})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_gate_that_is_right_up_to_phases_only_has_another_fingerprint() -> None:
    exact = MCXVChain(4, dirty_ancillas=True)
    relative = MCXVChain(4, dirty_ancillas=True, relative_phase=True)

    assert fingerprint(exact) != fingerprint(relative)


def test_durations_of_all_units_have_fingerprints() -> None:
    keys = set()
    for duration in (Duration.us(1.0), Duration.ns(1.0), Duration.us(2.0), Duration.dt(1)):
        circuit = QuantumCircuit(1)
        circuit.delay(expr.lift(duration), 0)
        keys.add(fingerprint(circuit))

    assert len(keys) == 4
