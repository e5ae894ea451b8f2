"""Flattened circuits: blocks, boxes and users' gates as the simulator's own instructions.

Aer has marks and jumps instead of blocks. Its own translation into them loses parameters in
blocks, variables declared in a block, and conditions on bits that only a block has; boxes and
composite gates in blocks fail. Blocks are therefore flattened here. Users' gates are replaced by
their definitions, because simulators and transpilers would interpret them by their names.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from qiskit.circuit import CircuitInstruction, ClassicalRegister, Clbit, QuantumCircuit

from prefect_qiskit_runtime.codec.circuit_walk import blocks_of
from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program._flat_expressions import ExpressionMover
from prefect_qiskit_runtime.program._genuine import Renamer, definition_of, is_genuine, is_plain

if TYPE_CHECKING:
    from collections.abc import Callable

# The simulator's own control flow.
FLOW_NAMES = frozenset({"jump", "mark", "aer_store"})

_LAID_OUT = frozenset(
    {
        "if_else", "while_loop", "for_loop", "switch_case", "box",
        "break_loop", "continue_loop", "store",
    }
)  # fmt: skip


def needs_flattening(operation: Any) -> bool:
    """Return whether an operation has blocks, leaves one, stores, or is a user's gate."""
    if operation.name in FLOW_NAMES and is_genuine(operation):
        return False
    if operation.name in _LAID_OUT or getattr(operation, "condition", None) is not None:
        return True
    return not is_plain(operation)


def require_known_durations(circuit: QuantumCircuit) -> None:
    """Refuse a circuit with stretches.

    Raises:
        InvalidInputError: The circuit has a stretch.
    """
    if not has_stretches(circuit):
        return
    (name, *_) = [stretch.name for stretch in circuit.iter_stretches()]
    raise InvalidInputError(
        f"Circuit {circuit.name!r} has the stretch {name!r}, whose duration only the schedule of "
        "a device decides: simulators have none. Name a duration.",
        rule="durations are known",
    )


def has_stretches(circuit: QuantumCircuit) -> bool:
    """Return whether a circuit has durations that are decided later."""
    return getattr(circuit, "num_stretches", 0) > 0  # since Qiskit 2.0


class _Scope(NamedTuple):
    """The context in which a block is flattened.

    Attributes:
        bits: For each qubit and classical bit of the block, the bit of the flat circuit.
        variables: For each visible variable, the variable of the flat circuit.
        values: The values of the parameters of enclosing loops. They are not bound by Qiskit,
            whose `assign_parameters` also changes users' gates in blocks of the given circuit.
        on_continue: Name of the mark that `continue` jumps to.
        on_break: Name of the mark that `break` jumps to.
    """

    bits: Mapping[Any, Any]
    variables: dict[Any, Any]
    values: Mapping[Any, int] = MappingProxyType({})
    on_continue: str = ""
    on_break: str = ""


def flattened(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return a circuit without blocks, boxes and users' gates.

    It has the same bits and registers, followed by bits for variables, which are 0 at the end. A
    parameter that is not used in it is lost.

    Raises:
        InvalidInputError: Something in it cannot be simulated; the message names it.
    """
    return _Flattener(circuit).flat


class _Flattener:
    def __init__(self, circuit: QuantumCircuit) -> None:
        self._circuit = circuit
        self.flat: Any = QuantumCircuit(
            circuit.qubits, circuit.clbits, *circuit.qregs, *circuit.cregs,
            name=circuit.name, global_phase=circuit.global_phase, metadata=circuit.metadata,
        )  # fmt: skip
        self.flat._layout = circuit._layout
        self._labels = 0
        self._renamer = Renamer(circuit)
        self._variables: list[Any] = []
        self._words: dict[tuple[int, int], Any] = {}
        bits = {bit: bit for bit in (*circuit.qubits, *circuit.clbits)}
        self._lay_out(circuit, _Scope(bits, {}))
        self._forget_variables()

    # --- blocks and instructions -----------------------------------------------------------

    def _lay_out(self, block: QuantumCircuit, scope: _Scope) -> None:
        require_known_durations(block)
        self._declare(block, scope)
        for instruction in block.data:
            self._instruction(instruction, scope)

    def _instruction(self, instruction: Any, scope: _Scope) -> None:
        operation = instruction.operation
        if getattr(operation, "condition", None) is not None and not blocks_of(operation):
            self._conditional(instruction, scope)
        elif is_genuine(operation) and (lay_out := self._special.get(operation.name)):
            lay_out(self, instruction, scope)
        elif is_plain(operation):
            self._emit(operation, instruction, scope)
        elif getattr(operation, "base_op", None) is not None:
            self._emit(self._renamer.operation(operation), instruction, scope)
        else:
            self._unroll(instruction, scope)

    def _emit(self, operation: Any, instruction: Any, scope: _Scope) -> None:
        self.flat._append(
            instruction.replace(
                operation=_bound_operation(operation, scope.values),
                qubits=[scope.bits[bit] for bit in instruction.qubits],
                clbits=[scope.bits[bit] for bit in instruction.clbits],
            )
        )

    def _unroll(self, instruction: Any, scope: _Scope) -> None:
        """Replace a user's gate by its flattened definition."""
        definition = definition_of(instruction.operation, self._circuit.name)
        self.flat.global_phase += _bound_number(definition.global_phase, scope.values)
        self._lay_out(definition, self._inside(definition, instruction, scope))

    def _inside(
        self, block: QuantumCircuit, instruction: Any, scope: _Scope, **leaving: str
    ) -> _Scope:
        """Return the scope of a block of an instruction."""
        inside = dict(zip(block.qubits, instruction.qubits, strict=True))
        inside.update(zip(block.clbits, instruction.clbits, strict=True))
        bits = {**scope.bits, **{bit: scope.bits[outer] for bit, outer in inside.items()}}
        return scope._replace(bits=bits, variables=dict(scope.variables), **leaving)

    # --- control flow ----------------------------------------------------------------------

    def _box(self, instruction: Any, scope: _Scope) -> None:
        (body,) = instruction.operation.blocks
        qubits = [scope.bits[bit] for bit in instruction.qubits]
        self.flat.barrier(qubits)
        self._lay_out(body, self._inside(body, instruction, scope))
        self.flat.barrier(qubits)

    def _if_else(self, instruction: Any, scope: _Scope) -> None:
        blocks = [block for block in instruction.operation.blocks if block is not None]
        then, otherwise, end = (self._label(name) for name in ("if", "else", "end"))
        with_else = len(blocks) > 1
        condition = instruction.operation.condition
        qubits = self._flow_qubits(instruction, scope)
        self._flow(qubits, self._jump(then, self._moved(condition, scope)))
        self._flow(qubits, self._jump(otherwise if with_else else end), self._mark(then))
        self._lay_out(blocks[0], self._inside(blocks[0], instruction, scope))
        if with_else:
            self._flow(qubits, self._jump(end), self._mark(otherwise))
            self._lay_out(blocks[1], self._inside(blocks[1], instruction, scope))
        self._flow(qubits, self._mark(end))

    def _conditional(self, instruction: Any, scope: _Scope) -> None:
        """Flatten an instruction with a condition, as in Qiskit before 2.0."""
        then, end = self._label("if"), self._label("end")
        qubits = self._flow_qubits(instruction, scope)
        condition = self._moved(instruction.operation.condition, scope)
        self._flow(qubits, self._jump(then, condition), self._jump(end), self._mark(then))
        bare = instruction.operation.to_mutable()
        bare.condition = None
        self._instruction(instruction.replace(operation=bare), scope)
        self._flow(qubits, self._mark(end))

    def _while_loop(self, instruction: Any, scope: _Scope) -> None:
        (body,) = instruction.operation.blocks
        start, into, end = (self._label(name) for name in ("while", "do", "end"))
        qubits = self._flow_qubits(instruction, scope)
        condition = self._moved(instruction.operation.condition, scope)
        self._flow(qubits, self._mark(start), self._jump(into, condition))
        self._flow(qubits, self._jump(end), self._mark(into))
        leaving = {"on_continue": start, "on_break": end}
        self._lay_out(body, self._inside(body, instruction, scope, **leaving))
        self._flow(qubits, self._jump(start), self._mark(end))

    def _for_loop(self, instruction: Any, scope: _Scope) -> None:
        indices, parameter, body = instruction.operation.params
        end = self._label("end")
        qubits = self._flow_qubits(instruction, scope)
        leaves = _leaves(body)  # otherwise no marks are needed; unitary if the body is
        for index in indices:
            values = scope.values if parameter is None else {**scope.values, parameter: index}
            after = self._label("next")
            leaving = {"on_continue": after, "on_break": end}
            inside = self._inside(body, instruction, scope, **leaving)
            self._lay_out(body, inside._replace(values=values))
            if leaves:
                self._flow(qubits, self._mark(after))
        if leaves:
            self._flow(qubits, self._mark(end))

    def _switch_case(self, instruction: Any, scope: _Scope) -> None:
        from qiskit.circuit import CASE_DEFAULT

        operation = instruction.operation
        target, end = operation.target, self._label("end")
        cases = [(self._label("case"), *case) for case in operation.cases_specifier()]
        qubits = self._flow_qubits(instruction, scope)
        default = end
        for mark, labels, _ in cases:
            for label in labels:
                if label is CASE_DEFAULT:
                    default = mark
                elif default is end:  # Qiskit uses the first matching case
                    condition = self._mover(scope).equal(target, label)
                    self._flow(qubits, self._jump(mark, condition))
        self._flow(qubits, self._jump(default))
        for mark, _, body in cases:
            self._flow(qubits, self._mark(mark))
            self._lay_out(body, self._inside(body, instruction, scope))
            self._flow(qubits, self._jump(end))
        self._flow(qubits, self._mark(end))

    def _leave(self, instruction: Any, scope: _Scope) -> None:
        is_break = instruction.operation.name == "break_loop"
        target = scope.on_break if is_break else scope.on_continue
        self._flow(self._flow_qubits(instruction, scope), self._jump(target))

    # --- variables -------------------------------------------------------------------------

    def _declare(self, block: QuantumCircuit, scope: _Scope) -> None:
        """Store the variables of a block in classical bits: Aer aborts the process otherwise."""
        declared = getattr(block, "iter_declared_vars", tuple)  # since Qiskit 1.1
        inputs = getattr(block, "iter_input_vars", tuple)
        for variable in (*inputs(), *declared()):
            scope.variables[variable] = self._kept_in_bits(variable)

    def _kept_in_bits(self, variable: Any) -> Any:
        from qiskit.circuit.classical import expr

        kind = type(variable.type).__name__
        if kind not in ("Bool", "Uint"):
            raise InvalidInputError(
                f"Circuit {self._circuit.name!r} has the variable {variable.name!r} of type "
                f"{variable.type}: the simulator has only Bool and Uint.",
                rule="variables are Bool or Uint",
            )
        bits = [Clbit() for _ in range(getattr(variable.type, "width", 1))]
        self.flat.add_bits(bits)
        place = bits[0] if kind == "Bool" else self._register(bits)
        self._variables.append(expr.Var(place, variable.type))
        return self._variables[-1]

    def _forget_variables(self) -> None:
        """Set the bits of variables to 0 at the end, so that outcomes do not contain them."""
        from qiskit.circuit.classical import expr

        mover = self._mover(_Scope({bit: bit for bit in self.flat.clbits}, {}))
        for variable in self._variables:
            self._store_value(variable, expr.Value(0, variable.type), mover)

    def _store(self, instruction: Any, scope: _Scope) -> None:
        operation = instruction.operation
        self._store_value(operation.lvalue, operation.rvalue, self._mover(scope))

    def _store_value(self, target: Any, value: Any, mover: ExpressionMover) -> None:
        """Store a value; a wide number word by word, after all of its words are computed."""
        if type(target.type).__name__ == "Bool":
            targets, values = [mover.moved(target)], [mover.moved(value)]
        else:
            targets, values = mover.words(target), mover.words(value)
        if len(targets) > 1 and type(value).__name__ != "Value":
            computed = [self._computed_word(index, each) for index, each in enumerate(values)]
            self._flow(self.flat.qubits[:1], *map(self._stored, computed, values))
            values = computed
        self._flow(self.flat.qubits[:1], *map(self._stored, targets, values))

    def _computed_word(self, index: int, value: Any) -> Any:
        """Return a variable for a word of a number: words of the target may be in the value."""
        from qiskit.circuit.classical import expr

        key = index, value.type.width
        if key not in self._words:
            self._words[key] = self._kept_in_bits(expr.Var.new("word", value.type))
        return self._words[key]

    def _stored(self, target: Any, value: Any) -> Any:
        from qiskit.circuit import Store
        from qiskit_aer.library.control_flow_instructions import AerStore

        return AerStore(1, 0, Store(target, value))

    def _register(self, bits: Sequence[Clbit]) -> ClassicalRegister:
        """Return a register of some bits, added to the circuit because passes require that."""
        for register in self.flat.cregs:
            if list(register) == list(bits):
                return register
        taken = {register.name for register in self.flat.cregs}
        names = (f"bits{number}" for number in itertools.count())
        own = ClassicalRegister(name=next(name for name in names if name not in taken), bits=bits)
        self.flat.add_register(own)
        return own

    def _mover(self, scope: _Scope) -> ExpressionMover:
        return ExpressionMover(scope.bits, scope.variables, self._register, self._circuit.name)

    def _moved(self, condition: Any, scope: _Scope) -> Any:
        if not isinstance(condition, tuple):
            return self._mover(scope).moved(condition)
        target, value = condition
        if isinstance(target, Clbit):
            return scope.bits[target], value
        return self._register([scope.bits[bit] for bit in target]), value

    # --- marks and jumps -------------------------------------------------------------------

    def _label(self, name: str) -> str:
        self._labels += 1
        return f"{name}_{self._labels}"

    def _flow_qubits(self, instruction: Any, scope: _Scope) -> list[Any]:
        """Return the qubits for marks and jumps; the simulator requires at least one."""
        return [scope.bits[bit] for bit in instruction.qubits] or self.flat.qubits[:1]

    def _flow(self, qubits: list[Any], *operations: Any) -> None:
        """Add marks, jumps and stores between barriers, so that passes do not reorder them."""
        self.flat.barrier()
        for operation in operations:
            # Not `append`, which requires registers of conditions to be in the circuit.
            self.flat._append(CircuitInstruction(operation, qubits[: operation.num_qubits]))
        self.flat.barrier()

    def _jump(self, label: str, condition: Any = None) -> Any:
        from qiskit_aer.library.control_flow_instructions import AerJump

        jump = AerJump(label, 1)
        return jump if condition is None else jump.set_conditional(condition)

    def _mark(self, label: str) -> Any:
        from qiskit_aer.library.control_flow_instructions import AerMark

        return AerMark(label, 1)

    _special: Mapping[str, Callable[[Any, Any, _Scope], None]] = {
        "box": _box,
        "if_else": _if_else,
        "while_loop": _while_loop,
        "for_loop": _for_loop,
        "switch_case": _switch_case,
        "break_loop": _leave,
        "continue_loop": _leave,
        "store": _store,
    }


def _bound_operation(operation: Any, values: Mapping[Any, int]) -> Any:
    """Return an operation with the parameters of loops set to their values."""
    if not values or not any(hasattr(each, "parameters") for each in operation.params):
        return operation
    alone = QuantumCircuit(operation.num_qubits, operation.num_clbits)
    alone.append(operation, alone.qubits, alone.clbits, copy=True)
    inside = {each: value for each, value in values.items() if each in alone.parameters}
    return alone.assign_parameters(inside).data[0].operation


def _bound_number(number: Any, values: Mapping[Any, int]) -> Any:
    """Return an angle with the parameters of loops set to their values."""
    mine = getattr(number, "parameters", ())
    inside = {each: value for each, value in values.items() if each in mine}
    return number.bind(inside) if inside else number


def _leaves(body: QuantumCircuit) -> bool:
    """Return whether the body of a loop has a `break` or `continue` for that loop."""
    return any(_leaves_by(instruction.operation) for instruction in body.data)


def _leaves_by(operation: Any) -> bool:
    if operation.name in ("break_loop", "continue_loop"):
        return True
    if operation.name in ("for_loop", "while_loop"):
        return False
    blocks: Iterable[QuantumCircuit] = blocks_of(operation)
    return any(_leaves(block) for block in blocks)
