"""Random circuits of every construct that Qiskit has, for hypothesis to draw and to shrink."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import qiskit.circuit.library as gates
from hypothesis import strategies as st
from qiskit.circuit import (
    AnnotatedOperation,
    BoxOp,
    ClassicalRegister,
    Clbit,
    ControlModifier,
    Gate,
    IfElseOp,
    InverseModifier,
    Parameter,
    QuantumCircuit,
    QuantumRegister,
    Qubit,
    SwitchCaseOp,
)
from qiskit.circuit.classical import expr, types
from qiskit.quantum_info import Clifford, SparsePauliOp

PARAMETERS = (Parameter("a"), Parameter("b"))

_FIXED = (
    gates.HGate(), gates.XGate(), gates.SGate(), gates.TdgGate(), gates.SXGate(), gates.YGate(),
    gates.CXGate(), gates.CXGate(ctrl_state=0), gates.CZGate(), gates.SwapGate(), gates.ECRGate(),
    gates.CHGate(), gates.CSXGate(), gates.DCXGate(), gates.iSwapGate(), gates.CSGate(),
    gates.CCXGate(), gates.CCXGate(ctrl_state=1), gates.CSwapGate(), gates.CCZGate(),
    gates.RCCXGate(), gates.PauliGate("XY"), gates.PermutationGate([2, 0, 1]),
    gates.DiagonalGate([1, 1j]), gates.UnitaryGate(np.array([[0.6, 0.8], [-0.8, 0.6]])),
    gates.StatePreparation([0.6, 0.8j]), gates.QFTGate(2), gates.SXGate().control(1, ctrl_state=0),
    AnnotatedOperation(gates.SGate(), [ControlModifier(1), InverseModifier()]),
    Clifford.from_label("H"), gates.XGate().control(2, annotated=True),
)  # fmt: skip
_ROTATIONS: tuple[Callable[..., Gate], ...] = (
    gates.RXGate, gates.RYGate, gates.RZGate, gates.PhaseGate, gates.CRXGate, gates.CRYGate,
    gates.CRZGate, gates.CPhaseGate, gates.CU1Gate, gates.RXXGate, gates.RZZGate, gates.RZXGate,
    lambda t: gates.UGate(t, 0.3, -t), lambda t: gates.CUGate(0.2, t, 0.1, t),
    lambda t: gates.CU3Gate(t, 0.4, t), lambda t: gates.XXPlusYYGate(t, 0.5),
    lambda t: gates.CRYGate(t, ctrl_state=0), lambda t: gates.MCPhaseGate(t, 2),
    lambda t: gates.PauliEvolutionGate(SparsePauliOp(["XY", "ZZ"]), t), gates.GlobalPhaseGate,
    lambda t: gates.RXGate(t).control(2, annotated=False), lambda t: gates.RGate(t, 0.2),
)  # fmt: skip
# Of gates that are something else.
_NAMES = (
    "bell", "cx", "h", "diagonal", "cry", "unitary", "rz", "sx", "measure", "clifford", "barrier",
)  # fmt: skip


def custom_gate(name: str, angle: Any = 0.4, *, qubits: int = 2, inner: str = "") -> Gate:
    """A gate with a definition, whatever its name says."""
    circuit = QuantumCircuit(qubits, name=name, global_phase=angle)
    circuit.h(0)
    circuit.ry(angle, 0)
    if qubits > 1:
        circuit.cx(0, 1)
        circuit.crz(angle, 1, 0)
    if inner:
        circuit.append(custom_gate(inner, 2 * angle, qubits=qubits), range(qubits))
    circuit.rx(0.7, qubits - 1)
    return circuit.to_gate()


class Drawing:
    """Draws one circuit, instruction by instruction."""

    def __init__(
        self, draw: Callable[[Any], Any], *, qubits: int, size: int, branches: bool, loops: bool
    ) -> None:
        self._draw = draw
        self._left = size
        self._branches = branches
        self._with_loops = loops
        a, b = PARAMETERS
        self._angles = [0.3, -1.1, 2.4, a, b, 2 * a - b, a * b + 0.2]
        registers = [QuantumRegister(qubits, "q")]
        self._loops = 0
        if not branches:
            self.circuit = QuantumCircuit(*registers)
            return
        # A register of the name that measurements get elsewhere, one that shares a bit, and a
        # loose bit.
        first, second = ClassicalRegister(2, "c0"), ClassicalRegister(1, "data")
        shared = ClassicalRegister(name="shared", bits=[first[1], second[0]])
        self.circuit = QuantumCircuit(*registers, first, second, shared, [Clbit()])
        self._number = self.circuit.add_var("number", expr.lift(2, types.Uint(3)))
        self._flag = self.circuit.add_var("flag", False)

    def pick(self, options: Any) -> Any:
        return self._draw(st.sampled_from(list(options)))

    def fill(self, depth: int = 0) -> None:
        """Add some instructions, in blocks of control flow too."""
        for _ in range(self.pick(range(1, 7 if depth == 0 else 4))):
            if self._left <= 0:
                return
            self._left -= 1
            kinds: list[Callable[[int], None]] = [self._gate, self._rotation, self._custom]
            kinds += [self._rotation, self._others]
            if self._branches:
                kinds += [self._measure, self._measure, self._reset, self._store]
                if depth < 2:
                    kinds += [self._if, self._if, self._switch, self._manual_body]
                if depth < 2 and self._with_loops:
                    kinds += [self._for, self._while]
                if depth > 0 and self._loops:
                    kinds += [self._leave]
            if depth < 2:
                kinds += [self._box]
            self.pick(kinds)(depth)

    # --- gates -----------------------------------------------------------------------------

    def _append(self, gate: Any) -> None:
        order = self._draw(st.permutations(range(self.circuit.num_qubits)))
        self.circuit.append(gate, order[: gate.num_qubits])

    def _gate(self, _: int) -> None:
        self._append(self.pick(_FIXED))

    def _rotation(self, _: int) -> None:
        self._append(self.pick(_ROTATIONS)(self.pick(self._angles)))

    def _custom(self, _: int) -> None:
        angle, qubits = self.pick(self._angles), self.pick([1, 2])
        if self.pick([True, True, False]):
            name, inner = self.pick(_NAMES), self.pick(["", *_NAMES])
            self._append(custom_gate(name, angle, qubits=qubits, inner=inner))
        else:  # Qiskit itself controls gates by their name
            self._append(custom_gate("bell", angle, qubits=1).control(1))

    def _others(self, _: int) -> None:
        kind = self.pick(["barrier", "delay", "phase"])
        if kind == "barrier":
            self.circuit.barrier()
        elif kind == "delay":
            self.circuit.delay(160, self.pick(range(self.circuit.num_qubits)), "dt")
        else:
            self._append(gates.GlobalPhaseGate(self.pick(self._angles)))

    # --- classical -------------------------------------------------------------------------

    def _measure(self, _: int) -> None:
        qubit, bit = self.pick(self.circuit.qubits), self.pick(self.circuit.clbits)
        if self.pick([True, True, False]):
            self.circuit.measure(qubit, bit)
        else:
            self.circuit.append(_measured_composite(), [qubit], [bit])

    def _reset(self, _: int) -> None:
        qubit = self.pick(self.circuit.qubits)
        if self.pick([True, False]):
            self.circuit.reset(qubit)
        else:
            self.circuit.append(gates.Initialize([0.6, 0.8]), [qubit])

    def _store(self, _: int) -> None:
        if self.pick([True, False]):
            self.circuit.store(self._number, self._integer())
        else:
            self.circuit.store(self._flag, self._truth())

    def _integer(self) -> expr.Expr:
        c0 = self.circuit.cregs[0]
        number = self._number
        return self.pick([
            expr.bit_xor(number, 1), expr.bit_not(number), expr.lift(5, number.type),
            expr.bit_or(expr.cast(c0, number.type), 4),
            expr.cast(self._flag, number.type),
        ])  # fmt: skip

    def _truth(self) -> expr.Expr:
        c0, number = self.circuit.cregs[0], self._number
        bits = self.circuit.clbits
        return self.pick([
            expr.lift(bits[0]), expr.logic_not(self._flag), expr.less(c0, 2),
            expr.equal(number, 3), expr.logic_and(bits[0], expr.logic_not(bits[-1])),
            expr.not_equal(number, 2), expr.index(number, 1), expr.index(c0, 1),
            expr.greater_equal(expr.bit_and(number, 6), 4), expr.bit_xor(bits[1], bits[2]),
            expr.logic_or(self._flag, bits[1]), expr.cast(number, types.Bool()),
        ])  # fmt: skip

    # --- control flow ----------------------------------------------------------------------

    def _condition(self) -> Any:
        bit, register = self.pick(self.circuit.clbits), self.pick(self.circuit.cregs)
        value = self.pick(range(2 ** len(register)))
        return self.pick([(bit, 0), (bit, 1), (register, value), self._truth()])

    def _if(self, depth: int) -> None:
        with self.circuit.if_test(self._condition()) as otherwise:
            self.fill(depth + 1)
        if self.pick([True, False]):
            with otherwise:
                self.fill(depth + 1)

    def _for(self, depth: int) -> None:
        indices = self.pick([range(2), range(3, 0, -2), (1, 4, 1), range(0)])
        named = self.pick([None, Parameter(f"loop{depth}")])
        with self.circuit.for_loop(indices, named) as step:
            if step is not None:
                self._append(self.pick([gates.RYGate, gates.CRXGate])(0.4 * step))
            self._loops += 1
            self.fill(depth + 1)
            self._loops -= 1

    def _while(self, depth: int) -> None:
        qubit, bit = self.pick(self.circuit.qubits), self.pick(self.circuit.clbits)
        with self.circuit.while_loop((bit, 1)):
            self._loops += 1
            self.circuit.reset(qubit)  # with chance 1/2, this time is the last
            self.circuit.h(qubit)
            self.circuit.measure(qubit, bit)
            outer, self._loops = self._loops, 0
            self.fill(depth + 1)
            self._loops = outer - 1
            self.circuit.reset(qubit)
            self.circuit.h(qubit)
            self.circuit.measure(qubit, bit)

    def _leave(self, _: int) -> None:
        condition = self._condition()
        with self.circuit.if_test(condition):
            self.pick([self.circuit.break_loop, self.circuit.continue_loop])()

    def _switch(self, depth: int) -> None:
        target = self.pick([*self.circuit.cregs, self.circuit.clbits[0], self._number])
        with self.circuit.switch(target) as case:
            with case(0):
                self.fill(depth + 1)
            if self.pick([True, False]):
                with case(1):
                    self.fill(depth + 1)
            if self.pick([True, False]):
                with case(case.DEFAULT):
                    self.fill(depth + 1)

    def _box(self, depth: int) -> None:
        with self.circuit.box():
            outer, self._loops = self._loops, 0
            self.fill(depth + 1)
            self._loops = outer

    def _manual_body(self, _: int) -> None:
        """A body with bits that only it has, and in it branches that are controlled by them."""
        own = ClassicalRegister(2, "own")
        body = QuantumCircuit([Qubit(), Qubit()], own)
        body.append(custom_gate(self.pick(_NAMES), self.pick(self._angles)), [1, 0])
        for _ in range(self.pick([1, 2])):
            self._own_branch(body)
        qubits = self._draw(st.permutations(self.circuit.qubits))[:2]
        bits = self._draw(st.permutations(self.circuit.clbits))[:2]
        operation = self.pick([
            IfElseOp((bits[0], self.pick([0, 1])), body), BoxOp(body),
            SwitchCaseOp(bits[1], [((0, 1), body)]),
        ])  # fmt: skip
        self.circuit.append(operation, qubits, bits)

    def _own_branch(self, body: QuantumCircuit) -> None:
        inner = QuantumCircuit([Qubit(), Clbit()])
        inner.append(gates.RXGate(self.pick(self._angles)), [0])
        with_branch = QuantumCircuit([Qubit(), Clbit()])
        with_branch.append(IfElseOp((with_branch.clbits[0], 1), inner), [0], [0])
        block = self.pick([inner, with_branch])
        (own,) = body.cregs
        operation = self.pick([
            IfElseOp((own[1], 1), block), IfElseOp((own, self.pick(range(4))), block),
            IfElseOp(expr.less(own, 2), block, block), SwitchCaseOp(own, [((0, 2), block)]),
            IfElseOp(expr.logic_not(own[0]), block), BoxOp(block),
        ])  # fmt: skip
        body.append(operation, [0], [own[1]])


def _measured_composite() -> Any:
    circuit = QuantumCircuit(1, 1, name="measure")
    circuit.x(0)
    circuit.measure(0, 0)
    return circuit.to_instruction()


@st.composite
def circuits(
    draw: Any, *, branches: bool = True, loops: bool = True, size: int = 12, qubits: int = 3
) -> QuantumCircuit:
    """Draw a circuit.

    Args:
        draw: Of hypothesis.
        branches: Whether it measures, resets, computes and branches.
        loops: Whether it has loops, which devices do not have.
        size: Instructions at most.
        qubits: Its width.
    """
    drawing = Drawing(draw, qubits=qubits, size=size, branches=branches, loops=loops)
    for qubit in range(qubits - 1):
        drawing.circuit.ry(0.8 + qubit, qubit)
    drawing.fill()
    if branches:
        for index, bit in enumerate(drawing.circuit.clbits[:2]):
            drawing.circuit.measure(index, bit)
    return drawing.circuit
