"""Values with every construct that fingerprints are made of, built the same way each time."""

from __future__ import annotations

from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ClassicalRegister, Duration, Parameter, ParameterVector, QuantumRegister
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import AndGate, PauliEvolutionGate, QFTGate, UnitaryGate
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparsePauliOp


def parametrised() -> QuantumCircuit:
    angle, vector = Parameter("angle"), ParameterVector("v", 12)
    circuit = QuantumCircuit(2, global_phase=angle / 2)
    circuit.rx((2 * angle + vector[10] ** 2).sin() - vector[2] / 3, 0)
    circuit.ry(angle, 1)
    circuit.cp(0.25, 0, 1)
    circuit.measure_all()
    return circuit


def controlled_flow() -> QuantumCircuit:
    bits = ClassicalRegister(2, "bits")
    circuit = QuantumCircuit(QuantumRegister(3, "q"), bits)
    circuit.h(0)
    circuit.measure(0, bits[0])
    with circuit.if_test((bits, 1)) as otherwise:
        circuit.x(1)
        with circuit.for_loop(range(0, 6, 2)) as index:
            circuit.rz(index * 0.5, 2)
    with otherwise:
        circuit.reset(1)
    with circuit.switch(bits) as case:
        with case(0, 1):
            circuit.y(2)
        with case(case.DEFAULT):
            circuit.delay(100, 2, "dt")
    with circuit.while_loop(expr.logic_not(bits[1])):
        circuit.measure(2, bits[1])
        circuit.break_loop()
    return circuit


def variables() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    count = circuit.add_input("count", types.Uint(4))
    seen = circuit.add_var("seen", expr.lift(False))
    circuit.measure(0, 0)
    circuit.store(seen, expr.bit_or(seen, circuit.clbits[0]))
    with circuit.if_test(expr.logic_and(seen, expr.less(count, 3))):
        circuit.x(0)
    return circuit


def real_time() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 1)
    circuit.delay(160, 0, "us")
    circuit.delay(1.5, 1, "ns")
    circuit.delay(Parameter("time"), 0, "ms")
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.delay(2, 1, "s")
    with circuit.box(duration=300, unit="ns"):
        circuit.x(0)
    circuit.delay(expr.add(circuit.add_stretch("wide"), Duration.us(2.0)), 1)
    return circuit


def custom_gates() -> QuantumCircuit:
    inner = QuantumCircuit(2, name="inner")
    inner.rz(Parameter("turn"), 0)
    inner.cx(0, 1)
    circuit = QuantumCircuit(3)
    circuit.append(inner.to_gate(label="mine"), [0, 2])
    circuit.append(inner.to_gate().control(1, ctrl_state=0), [2, 0, 1])
    circuit.append(inner.to_gate().inverse(annotated=True), [1, 2])
    return circuit


def library() -> QuantumCircuit:
    circuit = QuantumCircuit(3, 1)
    circuit.append(QFTGate(3), range(3))
    circuit.append(AndGate(2, [1, -1]), range(3))
    circuit.append(UnitaryGate(np.diag([1, 1j])), [1])
    operator = SparsePauliOp(["XX", "ZI"], [0.5, -0.25])
    circuit.append(PauliEvolutionGate(operator, Parameter("t")), [0, 2])
    circuit.mcx([0, 1], 2)
    circuit.initialize([0.6, 0.8], 0)
    return circuit


def wide() -> QuantumCircuit:
    circuit = QuantumCircuit(40)
    circuit.h(range(40))
    for qubit in range(39):
        circuit.cz(qubit, qubit + 1)
    circuit.measure_active()
    return circuit


def without_measurements(circuit: QuantumCircuit) -> QuantumCircuit:
    return circuit.remove_final_measurements(inplace=False)


def sampler_pubs() -> list[Any]:
    circuit = parametrised()
    values = np.linspace(0, 1, 2 * circuit.num_parameters).reshape(2, -1)
    return [SamplerPub.coerce((circuit, values, 100)), SamplerPub.coerce(wide())]


def estimator_pubs() -> list[Any]:
    circuit = without_measurements(parametrised())
    observables = [[SparsePauliOp(["ZZ", "XI"], [0.5, -2.0])], [SparsePauliOp("IY")]]
    values = np.linspace(0, 1, circuit.num_parameters)
    return [EstimatorPub.coerce((circuit, observables, values, 0.01))]


def arrays() -> dict[str, Any]:
    return {
        "floats": np.linspace(-1, 1, 7).reshape(7, 1),
        "integers": np.arange(6, dtype=np.int32).reshape(2, 3),
        "complex": np.array([1 + 2j, -1j]),
        "empty": np.zeros((0, 4)),
        "flags": np.array([True, False]),
        "numbers": [np.float64(0.1), np.int64(3), 1e300, -0.0],
        "text": "Grüße",
        "nested": {"b": [1, None, True], "a": {"x": (1, 2)}},
    }


VALUES = {
    "parametrised circuit": parametrised,
    "control flow": controlled_flow,
    "variables": variables,
    "real time": real_time,
    "custom gates": custom_gates,
    "gates of the library": library,
    "wide circuit": wide,
    "PUBs of the sampler": sampler_pubs,
    "PUBs of the estimator": estimator_pubs,
    "observable": lambda: SparsePauliOp(["XYZ", "IIZ"], [1.5, -0.5j]),
    "arrays": arrays,
}
