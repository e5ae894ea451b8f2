"""An independent reference: what circuits do, worked out by the rules of Qiskit's circuit model.

It keeps one density matrix for each state of the classical bits and variables, and walks through
the circuit as it is written: no transpiler, no simulator of others, no translation. So it can
disagree with all of them. Meant for few qubits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from qiskit.circuit import (
    CASE_DEFAULT,
    AnnotatedOperation,
    Barrier,
    ClassicalRegister,
    Clbit,
    Gate,
    Instruction,
    QuantumCircuit,
)
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import Initialize
from qiskit.quantum_info import Operator, SparsePauliOp, SuperOp

# Weights below this are what rounding left of zero.
_NEGLIGIBLE = 1e-13
_MOST_ROUNDS = 60

# Of the classical memory: a value for each bit of the outermost circuit and for each variable.
Memory = tuple[tuple[int, ...], tuple[tuple[Any, int], ...]]
States = dict[Memory, np.ndarray]


@dataclass
class Ends:
    """Where shots are after some instructions: at their end, or on the way out of a loop."""

    normal: States = field(default_factory=dict)
    broken: States = field(default_factory=dict)
    continued: States = field(default_factory=dict)


class Reference:
    """Runs one circuit.

    It binds parameters itself, gate by gate: `assign_parameters` of Qiskit 2.6 changes gates of
    users in blocks of the circuit that it is called on as well.

    Attributes:
        states: The density matrix, of the qubits that are used, for each classical memory.
    """

    def __init__(
        self, circuit: QuantumCircuit, values: Iterable[float] = (), noise: Noise | None = None
    ) -> None:
        self.circuit = circuit
        self._values: dict[Any, float] = dict(zip(circuit.parameters, values, strict=True))
        self._noise = noise
        used = {
            circuit.find_bit(bit).index for inst in circuit.data for bit in inst.qubits
            if not isinstance(inst.operation, Barrier)
        }  # fmt: skip
        self._used = sorted(used) or [0]
        self._place = {qubit: index for index, qubit in enumerate(self._used)}
        self._width = len(self._used)
        ground = np.zeros((2,) * (2 * self._width), dtype=complex)
        ground[(0,) * (2 * self._width)] = 1
        start: States = {((0,) * circuit.num_clbits, ()): ground}
        bits = {bit: index for index, bit in enumerate(circuit.clbits)}
        qubits = {bit: index for index, bit in enumerate(circuit.qubits)}
        self.states = self._block(circuit, qubits, bits, start).normal

    def probabilities(self) -> dict[tuple[int, ...], float]:
        """The probability of each state of the classical bits, the first bit first."""
        found: dict[tuple[int, ...], float] = defaultdict(float)
        for (bits, _), rho in self.states.items():
            found[bits] += float(np.real(self._trace(rho)))
        return {bits: weight for bits, weight in found.items() if weight > _NEGLIGIBLE}

    def expectation(self, observable: SparsePauliOp) -> float:
        """The expectation value at the end, of all shots together."""
        side = 2**self._width
        total: Any = sum(rho.reshape(side, side) for rho in self.states.values())
        value = 0.0
        for label, coefficient in observable.to_list():
            letters = label[::-1]
            if any(letters[q] in "XY" for q in range(len(letters)) if q not in self._place):
                continue  # the other qubits are in 0
            inner = "".join(letters[qubit] for qubit in reversed(self._used))
            matrix = Operator.from_label(inner).data if inner else np.eye(1)
            value += float(np.real(coefficient * np.trace(matrix @ total)))
        return value

    def _trace(self, rho: np.ndarray) -> complex:
        return np.trace(rho.reshape(2**self._width, -1))

    # --- instructions ----------------------------------------------------------------------

    def _block(
        self, block: QuantumCircuit, qubits: Mapping[Any, int], bits: Mapping[Any, int],
        states: States,
    ) -> Ends:  # fmt: skip
        ends = Ends(states)
        for instruction in block.data:
            there = [qubits[bit] for bit in instruction.qubits]
            slots = [bits[bit] for bit in instruction.clbits]
            step = self._instruction(instruction.operation, there, slots, bits, ends.normal)
            ends.normal = step.normal
            _add(ends.broken, step.broken)
            _add(ends.continued, step.continued)
        return ends

    def _instruction(
        self, op: Any, qubits: list[int], slots: list[int], bits: Mapping[Any, int], states: States
    ) -> Ends:
        handlers: dict[str, Callable[[], Ends]] = {
            "IfElseOp": lambda: self._if(op, qubits, slots, bits, states),
            "WhileLoopOp": lambda: self._while(op, qubits, slots, bits, states),
            "ForLoopOp": lambda: self._for(op, qubits, slots, bits, states),
            "SwitchCaseOp": lambda: self._switch(op, qubits, slots, bits, states),
            "BoxOp": lambda: self._inner(op.blocks[0], qubits, slots, bits, states),
            "BreakLoopOp": lambda: Ends(broken=states),
            "ContinueLoopOp": lambda: Ends(continued=states),
            "Store": lambda: Ends(self._store(op, bits, states)),
            "Measure": lambda: Ends(self._measure(qubits[0], slots[0], states)),
            "Reset": lambda: Ends(self._reset(qubits, states)),
            "Barrier": lambda: Ends(states),
            "Delay": lambda: Ends(self._delay(op, qubits, states)),
        }
        if handler := handlers.get(getattr(op, "base_class", type(op)).__name__):
            return handler()
        if isinstance(op, Initialize):
            states = self._reset(qubits, states)
            column = op.definition.data[-1].operation  # the state's preparation, after the resets
            return Ends(self._gate(column, qubits, states))
        if isinstance(op, Gate | AnnotatedOperation) or not isinstance(op, Instruction):
            return Ends(self._gate(op, qubits, states))
        return self._inner(op.definition, qubits, slots, {}, states)

    def _inner(
        self, body: QuantumCircuit, qubits: list[int], slots: list[int], bits: Mapping[Any, int],
        states: States,
    ) -> Ends:  # fmt: skip
        inside = {**bits, **dict(zip(body.clbits, slots, strict=True))}
        return self._block(body, dict(zip(body.qubits, qubits, strict=True)), inside, states)

    def _gate(self, op: Any, qubits: list[int], states: States) -> States:
        channel = _unitary_channel(matrix_of(op, self._values))
        states = {key: self._apply(rho, channel, qubits) for key, rho in states.items()}
        return self._disturb(op.name, qubits, states)

    def _disturb(self, name: str, qubits: list[int], states: States) -> States:
        for channel, where in self._noise.after(name, tuple(qubits)) if self._noise else ():
            states = {key: self._apply(rho, channel, where) for key, rho in states.items()}
        return states

    def _delay(self, op: Any, qubits: list[int], states: States) -> States:
        if self._noise is None:
            return states
        channel = self._noise.relaxation(qubits[0], op)
        return {key: self._apply(rho, channel, qubits) for key, rho in states.items()}

    def _measure(self, qubit: int, slot: int, states: States) -> States:
        states = self._disturb("measure", [qubit], states)
        confusion = self._noise.readout(qubit) if self._noise else np.eye(2)
        after: States = {}
        for (bits, variables), rho in states.items():
            for value in range(2):
                kept = self._projected(rho, qubit, value)
                for read in range(2):
                    new = (*bits[:slot], read, *bits[slot + 1 :])
                    _add(after, {(new, variables): kept * confusion[value][read]})
        return _likely(after, self._trace)

    def _reset(self, qubits: list[int], states: States) -> States:
        for qubit in qubits:
            flip = _unitary_channel(np.array([[0, 1], [1, 0]]))
            states = {
                key: self._projected(rho, qubit, 0)
                + self._apply(self._projected(rho, qubit, 1), flip, [qubit])
                for key, rho in states.items()
            }
            states = self._disturb("reset", [qubit], states)
        return states

    def _projected(self, rho: np.ndarray, qubit: int, value: int) -> np.ndarray:
        kept = np.zeros_like(rho)
        row = self._width - 1 - self._place[qubit]
        where: list[Any] = [slice(None)] * (2 * self._width)
        where[row] = where[self._width + row] = value
        kept[tuple(where)] = rho[tuple(where)]
        return kept

    def _apply(self, rho: np.ndarray, channel: np.ndarray, qubits: Iterable[int]) -> np.ndarray:
        """Apply a channel, a matrix on density matrices stacked by columns."""
        rows = [self._width - 1 - self._place[qubit] for qubit in reversed(list(qubits))]
        axes = [self._width + row for row in rows] + rows
        tensor = channel.reshape((2,) * (2 * len(axes)))
        moved = np.tensordot(tensor, rho, (range(len(axes), 2 * len(axes)), axes))
        return np.moveaxis(moved, range(len(axes)), axes)

    # --- control flow ----------------------------------------------------------------------

    def _if(self, op, qubits, slots, bits, states: States) -> Ends:
        taken, left = _split(states, lambda memory: bool(_condition(op.condition, memory, bits)))
        ends = self._inner(op.blocks[0], qubits, slots, bits, taken)
        if len(op.blocks) > 1:
            return _joined(ends, self._inner(op.blocks[1], qubits, slots, bits, left))
        return _joined(ends, Ends(left))

    def _while(self, op, qubits, slots, bits, states: States) -> Ends:
        done: States = {}
        for _ in range(_MOST_ROUNDS):
            taken, left = _split(
                states, lambda memory: bool(_condition(op.condition, memory, bits))
            )
            _add(done, left)
            if sum(abs(self._trace(rho)) for rho in taken.values()) < _NEGLIGIBLE:
                return Ends(done)
            ends = self._inner(op.blocks[0], qubits, slots, bits, taken)
            _add(done, ends.broken)
            states = ends.normal
            _add(states, ends.continued)
        raise AssertionError("a loop does not end")

    def _for(self, op, qubits, slots, bits, states: States) -> Ends:
        indices, parameter, body = op.params
        done: States = {}
        for index in indices:
            if parameter is not None:
                self._values[parameter] = index
            ends = self._inner(body, qubits, slots, bits, states)
            _add(done, ends.broken)
            states = ends.normal
            _add(states, ends.continued)
        _add(done, states)
        return Ends(done)

    def _switch(self, op, qubits, slots, bits, states: States) -> Ends:
        ends = Ends()
        for labels, body in op.cases_specifier():
            chosen, states = _split(
                states,
                lambda memory, labels=labels: (
                    CASE_DEFAULT in labels or _condition(op.target, memory, bits) in labels
                ),
            )
            ends = _joined(ends, self._inner(body, qubits, slots, bits, chosen))
        return _joined(ends, Ends(states))

    def _store(self, op, bits, states: States) -> States:
        after: States = {}
        for (values, variables), rho in states.items():
            value = int(_value(op.rvalue, (values, variables), bits))
            target = op.lvalue
            memory = list(values)
            known = dict(variables)
            if isinstance(target, expr.Index):
                memory[bits[target.target.var[target.index.value]]] = value
            elif isinstance(target.var, Clbit):
                memory[bits[target.var]] = value
            elif isinstance(target.var, ClassicalRegister):
                for place, bit in enumerate(target.var):
                    memory[bits[bit]] = value >> place & 1
            else:
                known[target.var] = value
            key = (tuple(memory), tuple(sorted(known.items(), key=lambda item: str(item[0]))))
            _add(after, {key: rho})
        return after


class Noise:
    """The errors of a noise model of Aer, as channels."""

    def __init__(self, model: Any, device: Any = None) -> None:
        self._model = model
        self._device = device
        self._kept: dict[Any, list[tuple[np.ndarray, list[int]]]] = {}

    def after(self, name: str, qubits: tuple[int, ...]) -> list[tuple[np.ndarray, list[int]]]:
        """The channels that follow an instruction."""
        if (name, qubits) not in self._kept:
            local = self._model._local_quantum_errors.get(name, {})
            error = local.get(qubits) or self._model._default_quantum_errors.get(name)
            self._kept[name, qubits] = (
                [] if error is None else [(SuperOp(error).data, list(qubits))]
            )
        return self._kept[name, qubits]

    def readout(self, qubit: int) -> np.ndarray:
        """P(read | true), row by true value."""
        error = self._model._local_readout_errors.get((qubit,))
        error = error or self._model._default_readout_error
        return np.eye(2) if error is None else np.asarray(error.probabilities)

    def relaxation(self, qubit: int, delay: Any) -> np.ndarray:
        """The effect of a delay on a qubit."""
        from qiskit_aer.noise import thermal_relaxation_error

        seconds = self._seconds(delay)
        properties = self._device.target.qubit_properties[qubit]
        t1, t2 = properties.t1, min(properties.t2, 2 * properties.t1)
        return SuperOp(thermal_relaxation_error(t1, t2, seconds)).data

    def _seconds(self, delay: Any) -> float:
        scale = {"s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12}
        scale["dt"] = self._device.dt
        return float(delay.duration) * scale[delay.unit]


def matrix_of(op: Any, values: Mapping[Any, float]) -> np.ndarray:
    """The unitary of a gate: of a class of Qiskit by its formula, of others by their definition."""
    if not isinstance(op, Instruction):
        return Operator(op).data
    if op.base_class.__module__.startswith("qiskit.") and hasattr(op, "__array__"):
        if any(getattr(each, "parameters", ()) for each in op.params):
            op = op.to_mutable()
            op.params = [_number(each, values) for each in op.params]
        return np.asarray(op)
    definition = op.definition
    phase = _number(definition.global_phase, values)
    total = np.eye(2**op.num_qubits, dtype=complex) * np.exp(1j * float(phase))
    for instruction in definition.data:
        if isinstance(instruction.operation, Barrier):
            continue
        inner = matrix_of(instruction.operation, values)
        places = [definition.find_bit(bit).index for bit in instruction.qubits]
        total = _embedded(inner, places, op.num_qubits) @ total
    return total


def _number(value: Any, values: Mapping[Any, float]) -> Any:
    mine = getattr(value, "parameters", None)
    return float(value.bind({each: values[each] for each in mine})) if mine else value


def _embedded(matrix: np.ndarray, places: list[int], width: int) -> np.ndarray:
    return Operator(np.eye(2**width)).compose(Operator(matrix), qargs=places).data


def _unitary_channel(matrix: np.ndarray) -> np.ndarray:
    return np.kron(matrix.conj(), matrix)


def _add(states: States, more: States) -> None:
    for key, rho in more.items():
        states[key] = states[key] + rho if key in states else rho


def _likely(states: States, trace: Callable[[np.ndarray], complex]) -> States:
    return {key: rho for key, rho in states.items() if abs(trace(rho)) > _NEGLIGIBLE}


def _split(states: States, choose: Callable[[Memory], bool]) -> tuple[States, States]:
    taken = {memory: rho for memory, rho in states.items() if choose(memory)}
    return taken, {memory: rho for memory, rho in states.items() if memory not in taken}


def _joined(one: Ends, other: Ends) -> Ends:
    joined = Ends()
    for ends in (one, other):
        _add(joined.normal, ends.normal)
        _add(joined.broken, ends.broken)
        _add(joined.continued, ends.continued)
    return joined


def _condition(condition: Any, memory: Memory, bits: Mapping[Any, int]) -> int:
    if isinstance(condition, tuple):
        target, wanted = condition
        return int(_read(target, memory, bits) == int(wanted))
    if isinstance(condition, expr.Expr):
        return int(_value(condition, memory, bits))
    return _read(condition, memory, bits)


def _read(target: Any, memory: Memory, bits: Mapping[Any, int]) -> int:
    if isinstance(target, Clbit):
        return memory[0][bits[target]]
    if isinstance(target, ClassicalRegister):
        return sum(memory[0][bits[bit]] << place for place, bit in enumerate(target))
    return dict(memory[1])[target]


def _value(node: expr.Expr, memory: Memory, bits: Mapping[Any, int]) -> int:
    if isinstance(node, expr.Value):
        return int(node.value)
    if isinstance(node, expr.Var):
        return _read(node.var, memory, bits)
    if isinstance(node, expr.Cast):
        value = _value(node.operand, memory, bits)
        return int(bool(value)) if node.type.kind is types.Bool else _cut(value, node.type)
    if isinstance(node, expr.Index):
        return _value(node.target, memory, bits) >> _value(node.index, memory, bits) & 1
    if isinstance(node, expr.Unary):
        value = _value(node.operand, memory, bits)
        return int(not value) if node.op.name == "LOGIC_NOT" else _cut(~value, node.type)
    assert isinstance(node, expr.Binary)
    left, right = _value(node.left, memory, bits), _value(node.right, memory, bits)
    return _cut(int(_OPERATORS[node.op.name](left, right)), node.type)


_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "BIT_AND": lambda a, b: a & b, "BIT_OR": lambda a, b: a | b, "BIT_XOR": lambda a, b: a ^ b,
    "LOGIC_AND": lambda a, b: bool(a) and bool(b), "LOGIC_OR": lambda a, b: bool(a) or bool(b),
    "EQUAL": lambda a, b: a == b, "NOT_EQUAL": lambda a, b: a != b, "LESS": lambda a, b: a < b,
    "LESS_EQUAL": lambda a, b: a <= b, "GREATER": lambda a, b: a > b,
    "GREATER_EQUAL": lambda a, b: a >= b, "SHIFT_LEFT": lambda a, b: a << b,
    "SHIFT_RIGHT": lambda a, b: a >> b, "ADD": lambda a, b: a + b, "SUB": lambda a, b: a - b,
    "MUL": lambda a, b: a * b, "DIV": lambda a, b: a // b,
}  # fmt: skip


def _cut(value: int, kind: Any) -> int:
    """Keep what fits into a type."""
    return value & 1 if kind.kind is types.Bool else value & (2**kind.width - 1)
