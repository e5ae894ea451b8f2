"""Circuits, operations and expressions in a form that is the same for equal ones.

Bits are represented by their positions, parameters and variables by their names. QPY is unsuitable:
it gives copies of custom operations random names and writes the ids of parameters.
"""

from __future__ import annotations

import cmath
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from qiskit.circuit import (
    AnnotatedOperation,
    CircuitError,
    ClassicalRegister,
    Clbit,
    ControlFlowOp,
    ControlledGate,
    Instruction,
    Operation,
    Parameter,
    ParameterExpression,
    ParameterVector,
    QuantumCircuit,
    Store,
)
from qiskit.circuit.classical import expr

try:
    from qiskit.circuit import Duration
except ImportError:  # added in Qiskit 2.0
    Duration = None  # type: ignore[assignment,misc]

# Qiskit numbers the names that it generates: `ClassicalRegister(2)` is c0, then c1; a gate made
# from a circuit is circuit-101; a loop parameter is _loop_i_0. QPY gives custom gates random names.
_REGISTER_NAMED_BY_QISKIT = re.compile(r"c\d+")
_NAMED_BY_QPY = re.compile(r"_[0-9a-f]{32}\b")
_NAMED_BY_QISKIT = re.compile(r"(?<=circuit-)\d+|(?<=_loop_i_)\d+|(?<=_)[0-9a-f]{32}\b")

# Operations of Qiskit that are fully described by their parameters; computing their definitions
# can be slow.
_DESCRIBED_BY_PARAMETERS = (
    *("Measure", "Reset", "Barrier", "UnitaryGate", "Initialize", "StatePreparation"),
    *("PermutationGate", "PauliGate", "DiagonalGate", "Isometry", "LinearFunction"),
)


def form_of(o: Any, encoder: type[json.JSONEncoder]) -> Any | None:
    """Return the form of a circuit object of Qiskit, or None for any other object.

    Args:
        o: The object.
        encoder: Writes the objects that the form contains: arrays, expressions, operators.
    """
    if isinstance(o, QuantumCircuit):
        text = json.dumps(_circuit(o), cls=encoder, sort_keys=True)
        return {"__type__": "QuantumCircuit", "digest": _digest(text)}
    if isinstance(o, ParameterExpression):
        return _expression(o)
    if isinstance(o, ParameterVector):
        return {"__type__": "ParameterVector", "name": o.name, "length": len(o)}
    if isinstance(o, Instruction | AnnotatedOperation):
        return _operation(o, {})
    if type(o).__name__ == "SparseObservable":  # since Qiskit 2.0; operator of an evolution
        parts = (o.coeffs, o.bit_terms, o.indices, o.boundaries)
        terms = [list(map(complex if number == 0 else int, x)) for number, x in enumerate(parts)]
        return {"__type__": "SparseObservable", "qubits": o.num_qubits, "terms": terms}
    return _classical(o, {}) if isinstance(o, expr.Expr) else None


def _digest(text: str) -> str:
    """Hash the text of a circuit, after renumbering the names that Qiskit has numbered."""
    numbers: dict[str, str] = {}
    # Most circuits have no such name, and searching for these prefixes is ten times faster.
    if "circuit-" in text or "_loop_i_" in text or _NAMED_BY_QPY.search(text):
        text = _NAMED_BY_QISKIT.sub(
            lambda found: numbers.setdefault(found[0], str(len(numbers))), text
        )
    return hashlib.sha256(text.encode()).hexdigest()


def _circuit(circuit: QuantumCircuit) -> dict[str, Any]:
    return _block(circuit, range(circuit.num_qubits), range(circuit.num_clbits))


def _block(circuit: QuantumCircuit, qubits: Sequence[int], clbits: Sequence[int]) -> dict[str, Any]:
    """Return the form of a circuit, with its bits given as positions in the enclosing circuit.

    The builders of control flow add the bits of a block in the order of a set.
    """
    places: dict[Any, int] = dict(zip(circuit.qubits, qubits, strict=True))
    places.update(zip(circuit.clbits, clbits, strict=True))
    # Any circuit can have these parts, but few do.
    rare = {
        "variables": [
            [kind, variable.name, str(variable.type)]
            for kind, variables in (
                ("input", circuit.iter_input_vars()),
                ("captured", circuit.iter_captured_vars()),
                ("declared", circuit.iter_declared_vars()),
            )
            for variable in variables
        ],
        "stretches": [stretch.name for stretch in circuit.iter_stretches()],
        "layout": _layout(circuit),
    }
    return {
        "__type__": "QuantumCircuit",
        "qubits": circuit.num_qubits,
        "clbits": circuit.num_clbits,
        "cregs": sorted(
            [_register_name(register), [places[bit] for bit in register]]
            for register in circuit.cregs
        ),
        "phase": circuit.global_phase,
        "data": [_instruction(instruction, places) for instruction in circuit.data],
        **{name: part for name, part in rare.items() if part},
    }


def _register_name(register: ClassicalRegister) -> str:
    return "" if _REGISTER_NAMED_BY_QISKIT.fullmatch(register.name) else register.name


def _layout(circuit: QuantumCircuit) -> list[Any] | None:
    layout = circuit.layout
    if layout is None:
        return None
    return [layout.initial_index_layout(), layout.final_index_layout()]


def _instruction(instruction: Any, places: Mapping[Any, int]) -> list[Any]:
    qubits = [places[bit] for bit in instruction.qubits]
    if instruction.is_standard_gate():  # avoids creating a Python object, which is slow
        form = [instruction.name, qubits, instruction.params]
        return form if instruction.label is None else [*form, instruction.label]
    clbits = [places[bit] for bit in instruction.clbits]
    operation = instruction.operation
    if isinstance(operation, ControlFlowOp):
        blocks = [_block(block, qubits, clbits) for block in operation.blocks]
        form = {"name": operation.name, "label": operation.label, "blocks": blocks}
        return [{**form, **_control(operation, places)}, sorted(qubits), sorted(clbits)]
    return [_operation(operation, places), qubits, clbits]


def _operation(operation: Operation, places: Mapping[Any, int]) -> Any:
    """Return the form of an operation; `places` maps the bits of its circuit to positions."""
    if isinstance(operation, AnnotatedOperation):
        return {
            "name": "annotated",
            "base": _operation(operation.base_op, places),
            "modifiers": [[type(each).__name__, vars(each)] for each in operation.modifiers],
        }
    if not isinstance(operation, Instruction):  # such as a Clifford
        return operation
    form: dict[str, Any] = {
        "name": operation.name,
        "qubits": operation.num_qubits,
        "clbits": operation.num_clbits,
    }
    if operation.label is not None:
        form["label"] = operation.label
    if isinstance(operation, Store):
        return {**form, "store": [_classical(node, places) for node in operation.params]}
    return {**form, **_content(operation)}


def _content(operation: Instruction) -> dict[str, Any]:
    """Return the effect of an operation: its parameters, and its definition where needed."""
    if type(operation).__name__ == "Delay":
        unit = operation.unit  # type: ignore[attr-defined]
        return {"params": [_duration(each, unit) for each in operation.params], "unit": unit}
    form: dict[str, Any] = {"params": [_plain(each) for each in operation.params]}
    if isinstance(operation, ControlledGate) and operation.base_gate is not None:
        return {
            **form,
            "control": operation.ctrl_state,
            "base": _operation(operation.base_gate, {}),
            **_variant(operation),
        }
    if type(operation).__name__ == "PauliEvolutionGate":
        synthesis = operation.synthesis  # type: ignore[attr-defined]
        form["operator"] = operation.operator  # type: ignore[attr-defined]
        try:
            settings = getattr(synthesis, "settings", {})
        except NotImplementedError:  # no settings, or they contain a user's function
            settings = operation.definition  # converted to its form by the encoder
        return {**form, "synthesis": [type(synthesis).__name__, settings]}
    is_described = type(operation).__name__ in _DESCRIBED_BY_PARAMETERS or _is_timed(operation)
    if not is_described and operation.definition is not None:
        form["definition"] = _circuit(operation.definition)
    return form


def _is_timed(operation: Instruction) -> bool:
    """Return whether a gate is an evolution for a parameter, of which Qiskit has no definition."""
    return type(operation).__name__ == "HamiltonianGate" and operation.is_parameterized()


def _duration(value: Any, unit: str | None) -> Any:
    # Qiskit 2.3 keeps 160 microseconds as an integer, later versions make it 160.0.
    if isinstance(value, int) and unit != "dt":
        return float(value)
    return _plain(value)


def _variant(operation: ControlledGate) -> dict[str, Any]:
    """Return the flags that distinguish a controlled gate from others with its base and control.

    For example, an `MCXVChain` may be correct only up to relative phases.
    """
    chosen = {name for name, value in vars(operation).items() if value is True}
    variant = sorted(chosen - {"_open_ctrl"})  # already part of the control state
    return {"variant": variant} if variant else {}


def _control(operation: ControlFlowOp, places: Mapping[Any, int]) -> dict[str, Any]:
    """Return when, or how often, the blocks of an operation run."""
    form: dict[str, Any] = {}
    name = type(operation).__name__
    if name in ("IfElseOp", "WhileLoopOp"):
        form["condition"] = _condition(operation.condition, places)  # type: ignore[attr-defined]
    elif name == "SwitchCaseOp":
        form["target"] = _condition(operation.target, places)  # type: ignore[attr-defined]
        labels = [labels for labels, _ in operation.cases_specifier()]  # type: ignore[attr-defined]
        form["cases"] = [[_case(label) for label in group] for group in labels]
    elif name == "ForLoopOp":
        indices, parameter, _ = operation.params
        form["loop"] = [_plain(indices), _plain(parameter)]
    elif name == "BoxOp":
        box: Any = operation
        form["duration"] = [_duration(box.duration, box.unit), box.unit]
        form["annotations"] = [_annotation(each) for each in getattr(box, "annotations", ())]
    return form


def _case(label: Any) -> Any:
    return label if isinstance(label, int | bool) else "default"


def _annotation(annotation: Any) -> list[Any]:
    kind = type(annotation)
    names = sorted({*vars(annotation), *_slots(kind)})
    state = {name: getattr(annotation, name) for name in names if hasattr(annotation, name)}
    return [f"{kind.__module__}.{kind.__qualname__}", annotation.namespace, state]


def _slots(kind: type) -> list[str]:
    return [
        name
        for base in kind.__mro__
        for name in getattr(base, "__slots__", ())
        if not name.startswith("__")
    ]


def _condition(condition: Any, places: Mapping[Any, int]) -> Any:
    if isinstance(condition, tuple):
        target, value = condition
        return [_target(target, places), int(value)]
    if isinstance(condition, expr.Expr):
        return _classical(condition, places)
    return None if condition is None else _target(condition, places)


def _target(target: Any, places: Mapping[Any, int]) -> Any:
    """Return the positions of classical bits."""
    if isinstance(target, Clbit):
        return places.get(target, "elsewhere")
    return [places.get(bit, "elsewhere") for bit in target]


_PARTS = ("operand", "left", "right", "target", "index", "start", "stop", "step")


def _classical(node: Any, places: Mapping[Any, int]) -> Any:
    """Return the form of a classical expression."""
    form: dict[str, Any] = {"node": type(node).__name__, "type": str(node.type)}
    if isinstance(node, expr.Value):
        form["value"] = _plain(node.value)
    elif isinstance(node, expr.Var | expr.Stretch):
        form["of"] = node.name if node.name is not None else _target(node.var, places)
    else:
        if hasattr(node, "op"):
            form["op"] = node.op.name
        for part in _PARTS:
            child = getattr(node, part, None)
            if isinstance(child, expr.Expr):
                form[part] = _classical(child, places)
    return form


def _expression(expression: Any) -> Any:
    """Return the form of a parameter or an expression of parameters."""
    if isinstance(expression, Parameter):
        return {"__type__": "Parameter", **_symbol(expression)}
    if not expression.parameters:
        return expression.numeric()
    symbols = [_symbol(each) for each in expression.parameters]
    symbols.sort(key=lambda symbol: (len(symbol["name"]), symbol["name"]))  # 9 before 10
    return {"__type__": "ParameterExpression", "values": _values(expression), "of": symbols}


def _values(expression: Any) -> list[str] | str:
    """Return the values of an expression at two points derived from its parameters' names.

    Its text is not enough: Qiskit reads `-(a + 1)` back from QPY as the equal `-1 - a`.
    """
    if any(_NAMED_BY_QISKIT.search(each.name) for each in expression.parameters):
        return str(expression)  # its names are renumbered with the whole text
    values = []
    for number in range(2):
        point = {each: _coordinate(each.name, number) for each in expression.parameters}
        try:
            value = complex(expression.bind(point).numeric())
        except (ArithmeticError, ValueError, TypeError, CircuitError):
            return str(expression)  # undefined at this point
        if not cmath.isfinite(value):
            return str(expression)
        # The rounding error depends on the order of the operations.
        values.append(f"{_rounded(value.real):.9e} {_rounded(value.imag):.9e}")
    return values


def _coordinate(name: str, number: int) -> float:
    digest = hashlib.sha256(f"{number} {name}".encode()).digest()
    return 0.1 + int.from_bytes(digest[:6]) / 2**48


def _rounded(value: float) -> float:
    return value if abs(value) > 1e-9 else 0.0


def _symbol(parameter: Any) -> dict[str, Any]:
    # Elements of a vector are ordered, and therefore bound, by number instead of by name.
    vector = getattr(parameter, "vector", None)
    form = {"name": parameter.name}
    return form if vector is None else {**form, "vector": vector.name, "index": parameter.index}


def _plain(value: Any) -> Any:
    """Return a value of an operation in plain form; the encoder converts its parts."""
    if isinstance(value, expr.Expr):
        return _classical(value, {})
    if isinstance(value, range):
        return ["range", value.start, value.stop, value.step]
    if Duration is not None and isinstance(value, Duration):
        # A number of samples stays an integer; a time is a float, however it was written.
        number = value.value() if value.unit() == "dt" else float(value.value())
        return ["Duration", number, value.unit()]
    return value
