"""Random circuits with every construct arrive equivalent: a property, on bounded examples.

Gates without a form in QPY arrive unrolled, so they are kept in parts that are gates only: those
are compared by their unitary, and all else instruction by instruction.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings, strategies as st
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Duration, Parameter
from qiskit.circuit.classical import expr
from qiskit.circuit.library import (
    AndGate,
    DiagonalGate,
    HalfAdderGate,
    PhaseOracleGate,
    QFTGate,
    StatePreparation,
    UCRZGate,
)
from qiskit.quantum_info import Operator

from prefect_qiskit_runtime.codec import decode, encode

QUBITS, BITS = 3, 2
# `make fuzz` asks for more.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))

ANGLE, TIME = Parameter("angle"), Parameter("time")
numbers = st.floats(-3, 3).map(lambda value: round(value, 3))
qubits = st.permutations(range(QUBITS))
units = st.sampled_from(["s", "ms", "us", "ns", "ps"])

LIBRARY: list[Callable[[], Any]] = [
    lambda: AndGate(2),
    lambda: AndGate(2, [1, -1]),
    lambda: HalfAdderGate(1),
    lambda: PhaseOracleGate("a & (b | c)"),
    lambda: QFTGate(2).inverse(),
    lambda: StatePreparation([0.6, 0.8j]).inverse(),
    lambda: DiagonalGate([1, -1, 1j, 1]).control(1),
    lambda: UCRZGate([0.1, 0.2]).inverse(),
    lambda: AndGate(1).control(1, ctrl_state=0),
    lambda: AndGate(2).inverse(annotated=True),
]


@st.composite
def gates_only(draw: Any) -> QuantumCircuit:
    """Draw a circuit of gates, of the library and of a user."""
    circuit = QuantumCircuit(QUBITS, global_phase=draw(numbers))
    for _ in range(draw(st.integers(1, 3))):
        order = draw(qubits)
        kind = draw(st.sampled_from(["standard", "library", "custom"]))
        if kind == "standard":
            circuit.rx(draw(numbers), order[0])
            circuit.cp(draw(numbers), *order[:2])
            continue
        gate = draw(st.sampled_from(LIBRARY))()
        if kind == "custom":
            around = QuantumCircuit(gate.num_qubits, name=draw(st.sampled_from(["mine", "cx"])))
            around.append(gate, around.qubits)
            around.s(0)
            gate = around.to_gate(label=draw(st.sampled_from([None, "named"])))
        circuit.append(gate, order[: gate.num_qubits])
    return circuit


def _measure(draw: Any, circuit: QuantumCircuit) -> None:
    circuit.measure(draw(st.integers(0, QUBITS - 1)), draw(st.integers(0, BITS - 1)))


def _wait(draw: Any, circuit: QuantumCircuit) -> None:
    qubit = draw(st.integers(0, QUBITS - 1))
    kind = draw(st.sampled_from(["dt", "number", "parameter", "expression"]))
    if kind == "dt":
        circuit.delay(draw(st.integers(0, 10_000)), qubit, "dt")
    elif kind == "number":
        circuit.delay(draw(st.floats(0, 1e6)), qubit, draw(units))
    elif kind == "parameter":
        circuit.delay(draw(st.sampled_from([TIME, 2 * TIME + ANGLE])), qubit, draw(units))
    else:
        circuit.delay(expr.lift(Duration.us(draw(st.floats(0, 1e6)))), qubit)


def _rotate(draw: Any, circuit: QuantumCircuit) -> None:
    circuit.rz(draw(st.sampled_from([ANGLE, ANGLE / 2, 0.5])), draw(st.integers(0, QUBITS - 1)))


def _nest(draw: Any, circuit: QuantumCircuit, body: QuantumCircuit) -> None:
    """Append a construct with a body to a circuit."""
    bits = circuit.clbits
    kind = draw(st.sampled_from(["if", "if else", "for", "while", "switch", "box"]))
    if kind == "if":
        circuit.if_test(expr.logic_not(bits[0]), body, circuit.qubits, bits)
    elif kind == "if else":
        circuit.if_else((bits[0], 1), body, body.copy(), circuit.qubits, bits)
    elif kind == "for":
        circuit.for_loop(range(draw(st.integers(1, 3))), None, body, circuit.qubits, bits)
    elif kind == "while":
        circuit.while_loop((circuit.cregs[0], 1), body, circuit.qubits, bits)
    elif kind == "switch":
        circuit.switch(bits[1], [(0, body), (1, body.copy())], circuit.qubits, bits)
    else:
        duration = draw(st.sampled_from([None, (300, "dt"), (1.5, "us"), (20.0, "ns")]))
        length, unit = duration or (None, "dt")
        circuit.box(body, circuit.qubits, bits, duration=length, unit=unit)


@st.composite
def circuits(draw: Any, depth: int = 2) -> QuantumCircuit:
    """Draw a circuit with measurements, delays and nested blocks."""
    circuit = QuantumCircuit(QuantumRegister(QUBITS, "q"), ClassicalRegister(BITS, "bits"))
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["measure", "wait", "rotate", "gates", "nest"]))
        if kind == "nest" and depth:
            _nest(draw, circuit, draw(circuits(depth - 1)))
        elif kind == "gates":
            body = QuantumCircuit(circuit.qubits, circuit.clbits, *circuit.cregs)
            body.compose(draw(gates_only()), body.qubits, inplace=True)
            _nest(draw, circuit, body)
        elif kind != "nest":
            {"measure": _measure, "wait": _wait, "rotate": _rotate}[kind](draw, circuit)
    return circuit


def require_equivalent(sent: QuantumCircuit, arrived: QuantumCircuit) -> None:
    assert arrived.num_clbits == sent.num_clbits
    if sent.data and not any(_has_more_than_a_gate(each) for each in sent.data):
        phase = Operator(arrived).data - Operator(sent).data
        np.testing.assert_allclose(phase, 0, atol=1e-9)
        return
    assert len(arrived.data) == len(sent.data)
    for one, other in zip(sent.data, arrived.data, strict=True):
        assert other.name == one.name
        assert [sent.find_bit(bit).index for bit in one.qubits] == [
            arrived.find_bit(bit).index for bit in other.qubits
        ]
        blocks = getattr(one.operation, "blocks", ())
        if not blocks:
            assert other.params == one.params
        assert getattr(other.operation, "unit", None) == getattr(one.operation, "unit", None)
        assert getattr(other.operation, "duration", None) == getattr(
            one.operation, "duration", None
        )
        for block, arrived_block in zip(
            blocks, getattr(other.operation, "blocks", ()), strict=True
        ):
            require_equivalent(block, arrived_block)


def _has_more_than_a_gate(instruction: Any) -> bool:
    return (
        bool(instruction.clbits)
        or instruction.name in ("delay", "measure")
        or instruction.is_control_flow()
        or instruction.is_parameterized()
    )


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(circuits())
def test_a_random_circuit_arrives_equivalent(circuit: QuantumCircuit) -> None:
    untouched = circuit.copy()

    arrived = decode(encode(circuit))

    require_equivalent(circuit, arrived)
    assert circuit == untouched
    # A circuit that has been decoded is encoded again without a change.
    require_equivalent(arrived, decode(encode(arrived)))
