"""Classical expressions have the values that the types of Qiskit give them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from qiskit.circuit import ClassicalRegister, Clbit, QuantumCircuit, Qubit
from qiskit.circuit.classical import expr, types

from .reference import Reference

BOOL = types.Bool()
COMPARISONS: list[Callable[[Any, Any], expr.Expr]] = [
    expr.less, expr.less_equal, expr.greater, expr.greater_equal, expr.equal, expr.not_equal,
]  # fmt: skip


def numbers(n: expr.Var, m: expr.Var, wide: expr.Var, flag: expr.Var) -> list[expr.Expr]:
    """Each way to compute a number, and some ways in which they follow each other."""
    return [
        n, expr.bit_not(n), expr.bit_and(n, m), expr.bit_or(n, m), expr.bit_xor(n, m),
        *(expr.cast(n, types.Uint(width)) for width in (1, 2, 5, 64)),
        *(expr.cast(expr.bit_not(n), types.Uint(width)) for width in (1, 2, 5)),
        expr.bit_not(expr.cast(n, types.Uint(5))), expr.bit_xor(expr.bit_not(n), m),
        expr.cast(flag, types.Uint(3)), expr.bit_not(expr.cast(flag, types.Uint(3))),
        expr.cast(expr.bit_not(wide), types.Uint(3)), expr.cast(expr.less(n, m), types.Uint(3)),
    ]  # fmt: skip


def truths(n: expr.Var, m: expr.Var, wide: expr.Var, flag: expr.Var) -> list[expr.Expr]:
    """Each way to decide something."""
    less = expr.less(n, m)
    found = [
        flag, less, expr.bit_not(flag), expr.logic_not(n), expr.logic_not(expr.bit_not(flag)),
        expr.logic_and(n, m), expr.logic_and(n, flag), expr.logic_or(n, flag),
        expr.bit_and(flag, less), expr.bit_or(flag, less), expr.bit_xor(flag, less),
        expr.equal(flag, less), expr.not_equal(flag, less), expr.cast(flag, BOOL),
    ]  # fmt: skip
    for number in numbers(n, m, wide, flag):
        found += [expr.cast(number, BOOL), expr.index(number, 0)]
        found += [expr.index(number, number.type.width - 1)]
        found += [compare(number, wide) for compare in COMPARISONS]
        found += [compare(m, number) for compare in COMPARISONS]
    return found


@pytest.mark.parametrize(("first", "second"), [*product([0, 1, 2, 4, 7], [0, 2, 3])])
def test_an_expression_in_a_condition_has_its_value(ideal, first, second):
    circuit = QuantumCircuit(1)
    n = circuit.add_var("n", expr.lift(first, types.Uint(3)))
    m = circuit.add_var("m", expr.lift(second, types.Uint(3)))
    wide = circuit.add_var("wide", expr.lift(second, types.Uint(5)))
    flag = circuit.add_var("flag", expr.lift(bool(second & 1), BOOL))
    for condition in truths(n, m, wide, flag):
        circuit.add_register(ClassicalRegister(1))
        with circuit.if_test(condition):
            circuit.x(0)
        circuit.measure(0, circuit.num_clbits - 1)
        circuit.reset(0)

    (outcome,) = Reference(circuit).probabilities()

    (bits,) = ideal.run(circuit, shots=5).result().get_counts()
    assert [int(bit) for bit in reversed(bits.replace(" ", ""))] == list(outcome)


@pytest.mark.parametrize(("first", "second"), [*product([0, 2, 5, 7], [0, 3])])
def test_an_expression_that_is_stored_has_its_value(ideal, first, second):
    circuit = QuantumCircuit(1)
    n = circuit.add_var("n", expr.lift(first, types.Uint(3)))
    m = circuit.add_var("m", expr.lift(second, types.Uint(3)))
    wide = circuit.add_var("wide", expr.lift(second, types.Uint(5)))
    flag = circuit.add_var("flag", expr.lift(bool(second & 1), BOOL))
    for number in numbers(n, m, wide, flag):
        register = ClassicalRegister(number.type.width)
        circuit.add_register(register)
        circuit.store(register, number)

    (outcome,) = Reference(circuit).probabilities()

    (bits,) = ideal.run(circuit, shots=5).result().get_counts()
    assert [int(bit) for bit in reversed(bits.replace(" ", ""))] == list(outcome)


WIDTHS = [8, 32, 33, 64, 65, 130]


def wide_truths(n: Any, value: int, width: int) -> list[expr.Expr]:
    """Decisions on a wide number, with numbers that differ from it in one bit."""
    masks = [0, 1, 1 << (width - 1), 1 << (width // 2)]
    found = [compare(n, value ^ mask) for mask in masks for compare in COMPARISONS]
    found += [compare(value ^ mask, expr.bit_not(expr.bit_not(n))) for mask in masks[:3]
              for compare in COMPARISONS]  # fmt: skip
    found += [expr.cast(n, BOOL), expr.logic_not(n), expr.logic_not(expr.bit_xor(n, value))]
    for number in (n, expr.bit_not(n), expr.bit_and(n, masks[2]), expr.bit_or(n, masks[3])):
        found += [expr.index(number, 0), expr.index(number, width - 1)]
        found += [
            expr.equal(expr.cast(number, types.Uint(each)), value) for each in (width + 3, 260)
        ]
        found += [expr.equal(expr.cast(number, types.Uint(5)), value & 31)]
    return found


@pytest.mark.parametrize("width", WIDTHS)
def test_a_condition_on_a_number_of_many_bits_has_its_value(ideal, width):
    for value in (0, 1, 1 << (width - 1), (1 << (width - 1)) + 5, (1 << width) - 1):
        circuit = QuantumCircuit(1)
        n = circuit.add_var("n", expr.lift(value, types.Uint(width)))
        circuit.add_register(ClassicalRegister(width, "r"))
        circuit.store(circuit.cregs[0], n)
        for number in (n, circuit.cregs[0]):
            for condition in wide_truths(number, value, width):
                circuit.add_register(ClassicalRegister(1))
                with circuit.if_test(condition):
                    circuit.x(0)
                circuit.measure(0, circuit.num_clbits - 1)
                circuit.reset(0)

        (outcome,) = Reference(circuit).probabilities()

        (bits,) = ideal.run(circuit, shots=5).result().get_counts()
        assert [int(bit) for bit in reversed(bits.replace(" ", ""))] == list(outcome)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_stored_number_of_many_bits_has_its_value(ideal, width):
    value = (1 << (width - 1)) + 5
    circuit = QuantumCircuit([Qubit()], [Clbit() for _ in range(width + 7)])
    bits = circuit.clbits[: width + 7]
    low, high = ClassicalRegister(bits=bits[:width]), ClassicalRegister(bits=bits[7:])
    circuit.add_register(low, high, ClassicalRegister(width, "r"), ClassicalRegister(260, "far"))
    n = circuit.add_var("n", expr.lift(value, types.Uint(width)))
    circuit.store(circuit.cregs[-2], expr.bit_xor(n, 6))
    circuit.store(circuit.cregs[-1], expr.cast(expr.bit_not(n), types.Uint(260)))
    circuit.store(low, n)
    circuit.store(high, low)  # they share bits: all are read before one is written
    with circuit.switch(high) as case:
        with case(value, value ^ 1):
            circuit.x(0)
        with case(case.DEFAULT):
            pass
    circuit.measure_all()

    (outcome,) = Reference(circuit).probabilities()

    job = ideal.run(circuit, shots=5)
    (number,) = job.result().data()["counts"]
    assert [int(number, 16) >> place & 1 for place in range(circuit.num_clbits)] == list(outcome)
