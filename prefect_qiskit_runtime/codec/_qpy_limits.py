"""Checks QPY before Qiskit reads it: its counts, sizes and names must be true and affordable.

Qiskit reads QPY of trusted origin: a few bytes can ask for billions of bits or for an expression
so deep that the process crashes, name any function of the circuit library, and hold Python code
in text for sympy and symengine. This module walks over the structure of all versions of QPY, in the
order in which Qiskit reads it, and builds nothing.
"""

from __future__ import annotations

import ast
import functools
import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from prefect_qiskit_runtime.codec._limits import charge, inflate, require_array
from prefect_qiskit_runtime.errors import DecodingError

_PREFACE = b"QISKIT"

# Bytes in memory for each byte of QPY, and for each object that takes no byte of QPY.
_FACTOR = 4
_BIT_BYTES = 256
_PARAMETER_BYTES = 256

_DEEPEST = 64
# Deeper expressions overflow the stack of Qiskit's compiled code (10,000 pass, 14,000 do not).
_LONGEST_EXPRESSION = 8000
_LARGEST_CLASSICAL_EXPRESSION = 8 * 1024
_LONGEST_SYMPY_TEXT = 64 * 1024
_LARGEST_SIZE_ARGUMENT = 100_000

_SYNTHESES = {"LieTrotter", "SuzukiTrotter", "MatrixExponential", "QDrift", "ProductFormula"}
_CUSTOM = {"Gate", "Instruction", "ControlledGate"}
# Instructions for which a large integer is a value, not a size.
_WITH_VALUES = ("qiskit.circuit.library.standard_gates.", "qiskit.circuit.controlflow.")
_VALUED = {"Delay", "Initialize", "StatePreparation", "Measure", "Reset", "Barrier", "BoxOp"}


def _broken(what: str) -> DecodingError:
    return DecodingError(f"Cannot read a circuit: {what}.")


@dataclass
class _Reader:
    """A position in bytes that are read in order; nothing is read beyond their end."""

    data: memoryview
    position: int = 0

    def take(self, size: int) -> memoryview:
        """Return the next bytes."""
        end = self.position + size
        if size < 0 or end > len(self.data):
            raise _broken("its QPY ends too early or has a wrong size")
        part = self.data[self.position : end]
        self.position = end
        return part

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        return form.unpack(self.take(form.size))

    def text(self, size: int) -> str:
        return bytes(self.take(size)).decode("utf-8")

    @property
    def is_at_end(self) -> bool:
        return self.position >= len(self.data)


@dataclass(frozen=True)
class _Scope:
    """The circuit around a value.

    Attributes:
        version: Of QPY.
        symengine: Whether expressions are symengine's.
        depth: How many circuits are around this one.
        vectors: The vectors of parameters that this circuit has made.
        custom: The names of the instructions that the circuit defines.
    """

    version: int
    symengine: bool = False
    depth: int = 0
    vectors: set[tuple[str, int]] = field(default_factory=set)
    custom: set[str] = field(default_factory=set)

    def inner(self) -> _Scope:
        """Return the scope of a circuit inside of this one."""
        return replace(self.inner_instruction(), vectors=set(), custom=set())

    def inner_instruction(self) -> _Scope:
        """Return the scope of a value inside of a value of this circuit."""
        if self.depth >= _DEEPEST:
            raise _broken(f"its parts are nested more than {_DEEPEST} levels deep")
        return replace(self, depth=self.depth + 1)


_FORMS = {
    name: struct.Struct(form)
    for name, form in {
        "file": "!6sBBBBQ",
        "circuit 0": "!HdIIQIQ",
        "circuit 2": "!H1cHIIQIQ",
        "circuit 12": "!H1cHIIQIQI",
        "register 0": "!1c?IH",
        "register 4": "!1c?IH?",
        "variable": "!16scH",
        "definition 0": "!H1cII?Q",
        "definition 5": "!H1cII?QIIQ",
        "instruction 0": "!HHHII?Hq",
        "instruction 5": "!HHHIIBHqII",
        "typed": "!1cQ",
        "state": "!IQ",
        "evolution": "!Q?1cQQ",
        "observable": "!IQQQQ",
        "modifier": "!1cIId",
        "parameter": "!H16s",
        "element": "!HQ16sQ",
        "expression": "!QQ",
        "symbol 0": "!cQ",
        "symbol 3": "!ccQ",
        "operation": "!Bc16sc16s",
        "item": "!H1cH",
        "layout 8": "!?iiiI",
        "layout 10": "!?iiiIi",
        "layout bit": "!ii",
        "one": "!1c",
        "u16": "!H",
        "u32": "!I",
        "u64": "!Q",
    }.items()
}


def inflate_qpy(data: bytes) -> bytes:
    """Decompress a file, and charge the memory of its circuit."""
    return inflate(data, "a circuit", start=_PREFACE, factor=_FACTOR)


def check_qpy(data: bytes) -> None:
    """Check a file with one circuit.

    Raises:
        DecodingError: Something in it is not as it says, or would take too much.
    """
    reader = _Reader(memoryview(data))
    preface, version, _, _, _, num_programs = reader.unpack(_FORMS["file"])
    if preface != _PREFACE or num_programs != 1:
        raise _broken("its data is not QPY with one circuit")
    encoding = reader.unpack(_FORMS["one"])[0] if version >= 10 else b"p"
    if version >= 5 and reader.unpack(_FORMS["one"])[0] != b"q":
        raise _broken("its QPY holds another kind of program")
    if version >= 16:
        (offset,) = reader.unpack(_FORMS["u64"])
        if offset < reader.position:
            raise _broken("its QPY has a wrong offset")
        reader.take(offset - reader.position)
    try:
        _circuit(reader, _Scope(version, symengine=encoding == b"e"))
    except (struct.error, UnicodeDecodeError, RecursionError) as exc:
        raise _broken(f"its QPY is damaged ({type(exc).__name__})") from exc


def _circuit(reader: _Reader, scope: _Scope) -> None:
    version = scope.version
    phase, num_vars = None, 0
    if version < 2:
        header = reader.unpack(_FORMS["circuit 0"])
        name_size, _, qubits, clbits, metadata_size, num_registers, num_instructions = header
    else:
        form = "circuit 2" if version < 12 else "circuit 12"
        name_size, key, size, *counts = reader.unpack(_FORMS[form])
        phase = (key, size)
        qubits, clbits, metadata_size, num_registers, num_instructions, *variables = counts
        num_vars = variables[0] if variables else 0
    charge((qubits + clbits) * _BIT_BYTES, f"a circuit of {qubits} qubits and {clbits} clbits")
    reader.take(name_size)
    if phase is not None:
        _value(phase[0], reader.take(phase[1]), scope)
    reader.take(metadata_size)
    _registers(reader, num_registers, version)
    for _ in range(num_vars):
        *_, name_size = reader.unpack(_FORMS["variable"])
        if reader.take(1) == b"u":
            reader.take(4)
        reader.take(name_size)
    if version >= 15:
        for _ in range(reader.unpack(_FORMS["u32"])[0]):
            reader.take(sum(reader.unpack(_FORMS["state"])))
    _definitions(reader, scope)
    for _ in range(num_instructions):
        _instruction(reader, scope)
    _after_instructions(reader, version)


def _after_instructions(reader: _Reader, version: int) -> None:
    if 5 <= version < 18 and reader.unpack(_FORMS["u16"])[0]:
        if version >= 13:
            raise _broken("it has pulse gates, which Qiskit 2 does not read")
        return  # the rest is read by Python code, which stops at the end of the data
    if version >= 8:
        _layout(reader, version)


def _registers(reader: _Reader, count: int, version: int) -> None:
    form, index_size = ("register 0", 4) if version < 4 else ("register 4", 8)
    for _ in range(count):
        _, _, size, name_size = reader.unpack(_FORMS[form])[:4]
        charge(size * _BIT_BYTES, f"a register of {size} bits")
        reader.take(name_size)
        reader.take(size * index_size)


def _layout(reader: _Reader, version: int) -> None:
    header = reader.unpack(_FORMS["layout 8" if version < 10 else "layout 10"])
    exists, initial, mapping, final, registers = header[:5]
    if not exists:
        return
    _registers(reader, registers, version)
    for _ in range(max(0, initial)):
        index, size = reader.unpack(_FORMS["layout bit"])
        if (index, size) != (-1, -1):
            reader.take(size)
    reader.take(4 * (max(0, mapping) + max(0, final)))


def _definitions(reader: _Reader, scope: _Scope) -> None:
    """Check the instructions that a circuit defines."""
    bases: list[memoryview] = []
    for _ in range(reader.unpack(_FORMS["u64"])[0]):
        form = "definition 0" if scope.version < 5 else "definition 5"
        name_size, kind, qubits, clbits, is_defined, size, *control = reader.unpack(_FORMS[form])
        charge(8 * (qubits + clbits) + sum(control[:1]), "an instruction")
        name = reader.text(name_size)
        if size and not is_defined:
            raise _broken("an instruction has a definition that is not read")
        if is_defined:
            definition = _Reader(reader.take(size))
            if scope.version >= 3 and name.startswith("###PauliEvolutionGate_"):
                _evolution(definition, scope)
            else:
                _circuit(definition, scope.inner())
        if control:
            base = reader.take(control[2])
            if kind in (b"c", b"a"):
                bases.append(base)
        scope.custom.add(name)
    for base in bases:
        _instruction(_Reader(base), scope.inner_instruction(), is_placed=False)


def _instruction(reader: _Reader, scope: _Scope, *, is_placed: bool = True) -> None:
    form = "instruction 0" if scope.version < 5 else "instruction 5"
    header = reader.unpack(_FORMS[form])
    name_size, label_size, num_params, qargs, cargs, extras, condition_size, *rest = header
    name = reader.text(name_size)
    reader.take(label_size)
    reader.take(condition_size)
    charge(sum(rest[1:2]), "a controlled gate")
    if scope.version >= 5 and extras & 0b11 == 2:
        _typed(reader, scope)
    charge(8 * (qargs + cargs), "an instruction")
    if is_placed:  # the base of a controlled gate only counts its bits
        reader.take(5 * (qargs + cargs))
    takes_sizes = _takes_sizes(name) if name not in scope.custom | _CUSTOM else False
    for _ in range(num_params):
        key, size = reader.unpack(_FORMS["typed"])
        data = reader.take(size)
        _value(key, data, scope)
        if takes_sizes:
            _require_small(name, key, data)
    if scope.version >= 5 and extras & 0b1000_0000:
        for _ in range(reader.unpack(_FORMS["u32"])[0]):
            _, size = reader.unpack(_FORMS["state"])
            reader.take(size)


@functools.lru_cache(maxsize=1024)
def _takes_sizes(name: str) -> bool:
    """Return whether integers are sizes for the class of an instruction.

    Raises:
        DecodingError: Qiskit has no instruction of this name. QPY may name any attribute of its
            modules, such as functions that build circuits.
    """
    from qiskit import circuit
    from qiskit.circuit import controlflow, library
    from qiskit.quantum_info import Clifford

    if name in ("Clifford", "pauli_product_measurement"):
        return False
    homes: tuple[Any, ...] = (library, circuit, controlflow)
    found: Any = next((getattr(home, name) for home in homes if hasattr(home, name)), None)
    is_instruction = isinstance(found, type) and issubclass(found, (circuit.Operation, Clifford))
    if not is_instruction or issubclass(found, circuit.QuantumCircuit):
        raise _broken(f"Qiskit has no instruction {name!r:.80}")
    return name not in _VALUED and not found.__module__.startswith(_WITH_VALUES)


def _require_small(name: str, key: bytes, data: memoryview) -> None:
    """Refuse a large integer where it is probably a number of qubits."""
    number = 0
    if key == b"i":
        (number,) = struct.unpack("<q", data)
    elif key == b"n":
        header = require_array(data)
        if header.shape == () and header.dtype.kind in "iu":
            number = int.from_bytes(data[header.start :], "little")
    if abs(number) > _LARGEST_SIZE_ARGUMENT:
        raise _broken(f"{name} has the argument {number}, more than {_LARGEST_SIZE_ARGUMENT}")


def _typed(reader: _Reader, scope: _Scope) -> None:
    key, size = reader.unpack(_FORMS["typed"])
    _value(key, reader.take(size), scope)


def _value(key: bytes, data: memoryview, scope: _Scope) -> None:
    """Check a value by its type; the other types are numbers, text and names."""
    check = _CHECKS.get(key)
    if check is not None:
        check(_Reader(data), scope)


def _sequence(reader: _Reader, scope: _Scope) -> None:
    for _ in range(reader.unpack(_FORMS["u64"])[0]):
        _typed(reader, scope.inner_instruction())


def _array(reader: _Reader, _scope: _Scope) -> None:
    shape = require_array(reader.data).shape
    # The time of checking that a matrix is unitary, in bytes.
    work = max(shape, default=0) ** 3 // 64 if len(shape) == 2 else 0
    charge(len(reader.data) + work, f"an array of the shape {shape} in a circuit")


def _modifier(reader: _Reader, _scope: _Scope) -> None:
    _, num_ctrl_qubits, _, _ = reader.unpack(_FORMS["modifier"])
    charge(num_ctrl_qubits, "a controlled gate")


def _classical(reader: _Reader, _scope: _Scope) -> None:
    if len(reader.data) > _LARGEST_CLASSICAL_EXPRESSION:
        raise _broken("it has a classical expression that is too long")


def _vector_element(reader: _Reader, scope: _Scope) -> None:
    name_size, size, identity, index = reader.unpack(_FORMS["element"])
    vector = (reader.text(name_size), int.from_bytes(identity, "big") - index)
    if vector not in scope.vectors:
        scope.vectors.add(vector)
        charge(size * _PARAMETER_BYTES, f"a vector of {size} parameters")


def _parameter(reader: _Reader, _scope: _Scope) -> None:
    name_size, _ = reader.unpack(_FORMS["parameter"])
    reader.take(name_size)


def _expression(reader: _Reader, scope: _Scope) -> None:
    scope = scope.inner_instruction()
    num_symbols, size = reader.unpack(_FORMS["expression"])
    payload = reader.take(size)
    for _ in range(num_symbols):
        if scope.version < 3:
            kind = b"p"
            value_kind, value_size = reader.unpack(_FORMS["symbol 0"])
        else:
            kind, value_kind, value_size = reader.unpack(_FORMS["symbol 3"])
        check = {b"p": _parameter, b"v": _vector_element, b"e": _expression}.get(kind)
        if check is None:
            raise _broken("an expression has an unknown kind of symbol")
        check(reader, scope)
        value = reader.take(value_size)
        if value_kind == b"e":
            _expression(_Reader(value), scope)
    if scope.version >= 13:
        _operations(_Reader(payload), scope)
    elif scope.symengine:
        raise _broken(
            "its parameter expressions were written by symengine, whose form can run code when it"
            " is read. Write it with Qiskit 1.3 or later, or assign the parameters"
        )
    else:
        _require_plain_sympy(bytes(payload).decode("utf-8"))


def _operations(reader: _Reader, scope: _Scope) -> None:
    """Check the operations of an expression, and the values that it substitutes."""
    count = 0
    while not reader.is_at_end:
        count += 1
        if count > _LONGEST_EXPRESSION:
            raise _broken(f"an expression has more than {_LONGEST_EXPRESSION} operations")
        code, left, value, right, _ = reader.unpack(_FORMS["operation"])
        if code == 255 and not {left, right} & {b"s", b"e"}:
            raise _broken("an expression has an unknown operation")
        if left == b"u":
            mapping = _Reader(reader.take(int.from_bytes(value[:8], "big")))
            for _ in range(mapping.unpack(_FORMS["u64"])[0]):
                key_size, kind, size = mapping.unpack(_FORMS["item"])
                mapping.take(key_size)
                _value(kind, mapping.take(size), scope)


def _evolution(reader: _Reader, scope: _Scope) -> None:
    """Check the operators and the synthesis of a `PauliEvolutionGate`."""
    count, _, time_kind, time_size, synthesis_size = reader.unpack(_FORMS["evolution"])
    for _ in range(count):
        if scope.version >= 17 and reader.take(1) != b"\0":
            qubits, *sizes = reader.unpack(_FORMS["observable"])
            charge(qubits, f"an observable of {qubits} qubits")
            reader.take(sum(sizes))
            continue
        (size,) = reader.unpack(_FORMS["u64"])
        _array(_Reader(reader.take(size)), scope)
    _value(time_kind, reader.take(time_size), scope)
    synthesis = json.loads(bytes(reader.take(synthesis_size)))
    if synthesis["class"] not in _SYNTHESES:
        raise _broken(f"Qiskit has no synthesis {synthesis['class']!r:.80} of evolutions")


_CHECKS: dict[bytes, Callable[[_Reader, _Scope], None]] = {
    b"q": lambda reader, scope: _circuit(reader, scope.inner()),
    b"t": _sequence,
    b"n": _array,
    b"m": _modifier,
    b"x": _classical,
    b"v": _vector_element,
    b"e": _expression,
}


_NUMBER = re.compile(r"[-+]?[0-9.]{1,50}([eE][-+]?[0-9]{1,3})?|nan|[-+]?inf")
_LARGEST_INTEGER = 10**18
_LARGEST_POWER = 64


def _require_plain_sympy(text: str) -> None:
    """Refuse sympy's text of an expression if reading it could run code or never end.

    Qiskit passes strings in it to sympy's functions, which evaluate them as Python, and powers of
    integers are computed at once.
    """
    if len(text) > _LONGEST_SYMPY_TEXT:
        raise _broken("an expression is too long")
    try:
        _plain(ast.parse(text, mode="eval").body)
    except (SyntaxError, MemoryError, ValueError) as exc:
        raise _broken(f"an expression cannot be read ({type(exc).__name__})") from exc


def _plain(node: ast.expr, parent: str = "") -> bool:
    """Check a part of an expression; return whether it contains a symbol."""
    if isinstance(node, ast.UnaryOp):
        return _plain(node.operand, parent)
    if isinstance(node, ast.Constant):
        value = node.value
        if isinstance(value, str) and (parent == "Symbol" or _is_number(parent, value)):
            return parent == "Symbol"
        if isinstance(value, int | float) and abs(value) <= _LARGEST_INTEGER:
            return False
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name = node.func.id
        if name == "Pow" and not any(_plain(argument, name) for argument in node.args):
            _require_small_power(node)
        has_symbols = [_plain(argument, name) for argument in node.args]
        for keyword in node.keywords:
            _plain(keyword.value)
        return any(has_symbols)
    raise _broken("an expression has parts that are not of an expression")


def _is_number(parent: str, text: str) -> bool:
    return parent in ("Float", "Integer") and _NUMBER.fullmatch(text) is not None


def _require_small_power(node: ast.Call) -> None:
    """Refuse a power of numbers that is a power of powers, or has a large exponent."""
    texts = [ast.unparse(argument) for argument in node.args]
    numbers = [int(digits) for digits in re.findall(r"\d+", texts[-1])]
    if any("Pow" in text for text in texts) or max(numbers, default=0) > _LARGEST_POWER:
        raise _broken("an expression has a power of numbers that is too large")
