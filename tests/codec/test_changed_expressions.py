"""An angle arrives with the value that it has, or is not sent."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import pytest
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import Parameter, ParameterVector

from prefect_qiskit_runtime.codec import decode, encode
from prefect_qiskit_runtime.errors import EncodingError

A, B, C = (Parameter(name) for name in "abc")
MINUS_A_SQUARED = (1j * A) ** 2


def turned(angle: Any) -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.rz(angle, 0)
    return circuit


def in_a_loop(angle: Any) -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    with circuit.for_loop(range(3)):
        circuit.rz(angle, 0)
    circuit.reset(0)
    circuit.barrier()
    circuit.measure(0, 0)
    return circuit


def in_a_gate(angle: Any, **controlled: Any) -> QuantumCircuit:
    gate: Any = turned(angle).to_gate()
    if controlled:
        gate = gate.control(1, **controlled)
    circuit = QuantumCircuit(gate.num_qubits)
    circuit.append(gate, range(gate.num_qubits))
    return circuit


PLACES: dict[str, Callable[[Any], Any]] = {
    "angle": turned,
    "phase": lambda angle: QuantumCircuit(1, global_phase=angle),
    "loop": in_a_loop,
    "gate": in_a_gate,
    "controlled gate": lambda angle: in_a_gate(angle, annotated=False),
    "annotated gate": lambda angle: in_a_gate(angle, annotated=True),
    "by itself": lambda angle: angle,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_complex_constant_is_refused_wherever_it_stands(place):
    # Qiskit 2.4 to 2.6 read (1i*a)**2, which is -a**2, as a**2.
    encode(PLACES[place](2 * A + B))
    with pytest.raises(
        EncodingError, match=r"expression of a would .* complex constants"
    ) as caught:
        encode({"what": [PLACES[place](MINUS_A_SQUARED)]})
    assert caught.value.path == "$.what[0]"


def test_a_parameter_may_be_called_like_a_complex_number():
    named = Parameter("2i")
    assert decode(encode(2 * named + A)) == 2 * named + A
    with pytest.raises(EncodingError, match="complex constants"):
        encode((1j * named) ** 2)


EXPRESSIONS = {
    "quotient": C / (A * B),
    "quotient of a shifted one": (B / (A + C)).assign(A, A + 1),
    "difference": C - A * C,
    "power": C ** (-A),
    "by its own tangent": C / C.tan(),
    "constants folded": ((1 + 1j) * A) * ((1 - 1j) * B),
    "one assigned": A.cos() + B.sin().assign(B, 0.5),
    "all but one assigned": (B.cos() * A + C).assign(B, 2).assign(C, 0.3),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_keeps_its_value_or_is_refused(name):
    expression = EXPRESSIONS[name]
    try:
        text = encode(turned(expression))
    except EncodingError as exc:
        # Qiskit 2.3 to 2.5 cannot read the last two.
        assert "assigned" in name and "does not read it back" in str(exc)
        return
    [instruction] = decode(text).data
    point = {"a": 0.7, "b": 1.3, "c": 0.4}
    values = [
        complex(each.bind({parameter: point[parameter.name] for parameter in each.parameters}))
        for each in (expression, instruction.operation.params[0])
    ]
    assert values[1] == pytest.approx(values[0], rel=1e-12)


def test_a_sum_of_hundreds_of_parameters_takes_as_long_as_writing_it():
    # Qiskit expands expressions to compare them: it took 100 s for this one.
    angles = ParameterVector("angle", 400)
    circuit = QuantumCircuit(4, global_phase=sum(angles, 0) / 2)
    for number, angle in enumerate(angles):
        circuit.ry(angle, number % 4)
    began = time.process_time()
    qpy.dump(circuit, io.BytesIO())
    writing = time.process_time() - began

    text = encode(circuit)

    assert time.process_time() - began < 10 * writing + 1
    values = [number / 400 for number in range(400)]
    arrived = decode(text).assign_parameters(values)
    assert arrived.global_phase == pytest.approx(sum(values) / 2 % (2 * 3.141592653589793))
