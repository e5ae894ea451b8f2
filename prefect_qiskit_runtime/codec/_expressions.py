"""Refuses circuits whose parameter expressions would be changed by Qiskit's QPY.

Since QPY 13, an expression is stored as the operations that built it, and replayed on reading.
Qiskit 1.3 to 2.3.0 write some of them in the wrong order: `b/(a + c)` comes back as `(a + c)/b`,
`d - a*d` as `a*d - d` (40 to 90 of 3,300 random expressions, by version; none with 2.3.1 and
later). Qiskit 2.4 to 2.6 read complex constants with real and imaginary parts swapped, whichever
version wrote them; they also fail to read a few expressions. A wrong angle must never be sent
silently.
"""

from __future__ import annotations

import cmath
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

from prefect_qiskit_runtime.codec.circuit_walk import places
from prefect_qiskit_runtime.errors import EncodingError

_FIRST_REPLAYED_QPY_VERSION = 13
_LIBRARY = "qiskit.circuit.library"

# Matches imaginary constants as expressions print them: (1i)*a, 1.99+1.21i + a.
_IMAGINARY = re.compile(r"(?<!\w)\d+(\.\d+)?(e[+-]?\d+)?i\b")


def refuse_changed_expressions(circuits: Sequence[Any], **qpy_version: Any) -> None:
    """Check that the expressions in circuits keep their values when read back from QPY.

    The check is nearly free for circuits without parameters; for expressions it takes as long as
    writing them.

    Args:
        circuits: The circuits to be written.
        qpy_version: Arguments of `qiskit.qpy.dump` that choose the version.

    Raises:
        EncodingError: An expression would be read back changed, here or at the service.
    """
    from qiskit.qpy import common

    if common.QPY_VERSION < _FIRST_REPLAYED_QPY_VERSION:
        return
    expressions = [each for circuit in circuits for each in _expressions_of(circuit)]
    if not expressions:
        return
    for expression in expressions:
        if _has_complex_constant(expression):
            raise _refusal(
                expression,
                "Qiskit 2.4 to 2.6 swap the real and imaginary parts of complex constants in it: "
                "keep the constants real",
            )
    changed = _first_changed(expressions, **qpy_version)
    if changed is not None:
        import qiskit

        raise _refusal(
            changed,
            f"Qiskit {qiskit.__version__} does not read it back from QPY unchanged: assign its "
            "parameters first, or use a later Qiskit",
        )


def _refusal(expression: Any, reason: str) -> EncodingError:
    names = sorted(each.name for each in expression.parameters)
    shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    return EncodingError(
        f"a parameter expression of {shown or 'no parameters'} would arrive changed. {reason}"
    )


def _expressions_of(circuit: Any) -> Iterator[Any]:
    """Yield the expressions in a circuit, its blocks and definitions, without bare parameters."""
    if not circuit.num_parameters:  # includes the parameters of its blocks
        return
    for place in places(circuit, definitions=_is_written_by_definition):
        yield from _composed([place.circuit.global_phase])
        for instruction in place.circuit.data:
            yield from _composed(instruction.params)


def _is_written_by_definition(operation: Any) -> bool:
    operation = getattr(operation, "base_op", operation)
    # The gates of Qiskit's library are written as their name and parameters. The class of
    # `Measure()` has no module.
    return not (type(operation).__module__ or _LIBRARY).startswith(_LIBRARY)


def _composed(values: Sequence[Any]) -> list[Any]:
    from qiskit.circuit import Parameter, ParameterExpression

    return [
        value
        for value in values
        if isinstance(value, ParameterExpression) and not isinstance(value, Parameter)
    ]


def _has_complex_constant(expression: Any) -> bool:
    text = str(expression)
    if not _IMAGINARY.search(text):
        return False
    for name in sorted((each.name for each in expression.parameters), key=len, reverse=True):
        text = text.replace(name, "x")  # a parameter may be called 2i
    return _IMAGINARY.search(text) is not None


def _first_changed(expressions: Sequence[Any], **qpy_version: Any) -> Any | None:
    """Return the first expression that QPY changes, or None."""
    from qiskit import QuantumCircuit, qpy

    carrier = QuantumCircuit(1)
    for expression in expressions:
        carrier.rz(expression, 0)
    buffer = io.BytesIO()
    qpy.dump(carrier, buffer, **qpy_version)
    buffer.seek(0)
    try:
        [loaded] = qpy.load(buffer)
    except Exception:  # noqa: BLE001 - QPY can fail with any exception, such as IndexError
        if len(expressions) == 1:
            return expressions[0]
        found = (_first_changed([each], **qpy_version) for each in expressions)
        return next((each for each in found if each is not None), None)
    pairs = zip(expressions, (each.params[0] for each in loaded.data), strict=True)
    return next((one for one, other in pairs if not _equal(one, other)), None)


def _equal(one: Any, other: Any) -> bool:
    parameters = sorted(one.parameters, key=lambda each: each.name)
    if set(parameters) == set(getattr(other, "parameters", ())):
        value, arrived = _value(one, parameters), _value(other, parameters)
        if value is None or arrived is None:
            if value is arrived and str(one) == str(other):
                return True
        elif cmath.isclose(value, arrived, rel_tol=1e-9, abs_tol=1e-12):
            return True
    # Qiskit expands both to compare them: minutes for a sum of hundreds of parameters.
    return one == other


def _value(expression: Any, parameters: Sequence[Any]) -> complex | None:
    """Return the value of an expression at a fixed point, or None if it is undefined there."""
    from qiskit.circuit import CircuitError

    # Square roots avoid coordinates that happen to give equal values.
    point = {each: (number + 2) ** 0.5 % 1 + 0.3 for number, each in enumerate(parameters)}
    try:
        value = complex(expression.bind(point) if point else expression)
    except (ArithmeticError, CircuitError, RuntimeError, TypeError, ValueError):
        return None
    return value if cmath.isfinite(value) else None
