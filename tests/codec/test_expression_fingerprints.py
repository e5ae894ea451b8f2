"""Circuits with parameter expressions keep their fingerprint on the way."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter

from prefect_qiskit_runtime.codec import decode, encode, fingerprint


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_expressions_that_qpy_writes_in_another_order_are_the_same(level: int) -> None:
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(2, global_phase=-a)
    circuit.rz(-a, 0)
    circuit.ry(-b / (a + 1.5), 0)
    circuit.rzz(2 * b + a + b + 1, 0, 1)
    isa = transpile(circuit, basis_gates=["rz", "sx", "cx"], optimization_level=level)
    shifted = isa.assign_parameters({a: a + np.pi / 2})
    assert fingerprint(decode(encode(shifted))) == fingerprint(shifted)
    assert fingerprint(shifted) != fingerprint(isa)
    assert fingerprint(shifted) != fingerprint(isa.assign_parameters({a: a + np.pi / 2 + 1e-6}))
