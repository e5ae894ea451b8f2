"""Exact derivatives of expectation values by parameter shifts, for the common gates.

Each use of a parameter in a circuit gets a separate angle, which can be shifted alone; the chain
rule over the expressions of the angles combines the derivatives. Rules and their names follow
Wierichs, Izaac, Wang and Lin, Quantum 6, 677 (2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from prefect_qiskit_runtime.codec.circuit_walk import blocks_of, walk
from prefect_qiskit_runtime.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qiskit.circuit import QuantumCircuit
    from qiskit.quantum_info import SparsePauliOp

_ONE_FREQUENCY = frozenset(
    {"rx", "ry", "rz", "p", "u", "u1", "u2", "u3", "rxx", "ryy", "rzz", "rzx", "cp", "cu1", "mcp",
     "mcphase"}
)  # fmt: skip
"""Gates in which each angle belongs to a generator with two eigenvalues that differ by one."""

_ONE_AND_ITS_HALF = frozenset({"crx", "cry", "crz", "xx_plus_yy", "xx_minus_yy"})
"""Gates whose first angle belongs to a generator with eigenvalues 0, 1/2 and -1/2."""

_FORBIDDEN = frozenset({"measure", "reset", "initialize", "kraus", "quantum_channel"})


@dataclass(frozen=True)
class ShiftRule:
    """A derivative as a sum: f'(x) = sum of coefficients[r] * f(x + shifts[r])."""

    shifts: NDArray[np.float64]
    coefficients: NDArray[np.float64]

    @classmethod
    def two_term(cls, frequency: float) -> ShiftRule:
        """Rule for a function with one frequency."""
        shift = math.pi / (2 * frequency)
        return cls(np.array([shift, -shift]), frequency / 2 * np.array([1.0, -1.0]))

    @classmethod
    def four_term(cls, frequency: float) -> ShiftRule:
        """Rule for a function with a frequency and its double (equation 15)."""
        shifts = np.array([1.0, -1.0, 3.0, -3.0]) * math.pi / 4
        signs = np.array([1.0, -1.0, -1.0, 1.0])
        coefficients = signs / (8 * np.sin(shifts / 2) ** 2)
        return cls(shifts / frequency, frequency * coefficients)


@dataclass(frozen=True)
class ShiftedCircuit:
    """A circuit over angles, each used in one place, and the angles as functions of parameters.

    Attributes:
        circuit: Its parameters are named `angle_names`.
        angle_names: One for each use of a parameter.
        rules: The shift rule for each angle.
        expressions: Each angle as an expression of the parameters.
        parameters: The parameters of the original circuit, in its order.
    """

    circuit: QuantumCircuit
    angle_names: tuple[str, ...]
    rules: tuple[ShiftRule, ...]
    expressions: tuple[Any, ...]
    parameters: tuple[Any, ...]

    @property
    def num_shifts(self) -> int:
        """The number of shifted points that a gradient needs."""
        return sum(len(rule.shifts) for rule in self.rules)

    def angles(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the angles at points, a 2D array (point, angle)."""
        bound = [self._bound(point) for point in points]
        return np.array([[_value(x, values) for x in self.expressions] for values in bound])

    def shifted_angles(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the angles at all shifted points of a gradient, a 2D array (shift, angle)."""
        here = self.angles(point[np.newaxis])[0]
        rows = np.tile(here, (self.num_shifts, 1))
        for row, (place, shift, _) in enumerate(self._shifts()):
            rows[row, place] += shift
        return rows

    def gradient(
        self,
        point: NDArray[np.float64],
        values: NDArray[np.float64],
        stds: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the gradient and its standard errors.

        Args:
            point: 1D, where.
            values: 1D, at `shifted_angles(point)`.
            stds: 1D, their standard errors; each was measured by itself.
        """
        jacobian = self._jacobian(point)
        weights = np.array(
            [coefficient * jacobian[place] for place, _, coefficient in self._shifts()]
        )
        return weights.T @ values, np.sqrt((weights**2).T @ stds**2)

    def _shifts(self) -> Iterator[tuple[int, float, float]]:
        """Yield the angle's index, the shift and the coefficient of each term of all rules."""
        for place, rule in enumerate(self.rules):
            for shift, coefficient in zip(rule.shifts, rule.coefficients, strict=True):
                yield place, float(shift), float(coefficient)

    def _jacobian(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the derivatives of the angles, a 2D array (angle, parameter)."""
        jacobian = np.zeros((len(self.expressions), len(self.parameters)))
        values = self._bound(point)
        columns = {parameter: column for column, parameter in enumerate(self.parameters)}
        for row, expression in enumerate(self.expressions):
            for parameter in expression.parameters:
                derivative = _value(expression.gradient(parameter), values)
                jacobian[row, columns[parameter]] = derivative
        return jacobian

    def _bound(self, point: NDArray[np.float64]) -> dict[Any, float]:
        return dict(zip(self.parameters, point.tolist(), strict=True))


def _value(expression: Any, values: dict[Any, float]) -> float:
    if not hasattr(expression, "parameters"):  # a derivative that is a number
        return complex(expression).real
    bound = expression.bind({used: values[used] for used in expression.parameters})
    return complex(bound.numeric()).real


def shifted_circuit(circuit: QuantumCircuit) -> ShiftedCircuit:
    """Return a circuit in which each use of a parameter has a separate angle and a shift rule.

    Raises:
        InvalidInputError: A parametrised gate has no rule and is not composed of gates that have
            one, or the circuit contains operations other than gates.
    """
    from qiskit.circuit import Parameter

    _require_gates(circuit)
    parameters = tuple(circuit.parameters)
    unrolled = _unrolled(circuit)
    split = unrolled.copy_empty_like()
    split.global_phase = 0  # no expectation value depends on it
    expressions, rules, names = [], [], []
    for instruction in unrolled.data:
        operation: Any = instruction.operation
        if not _is_parametrised(operation):
            split.append(operation, instruction.qubits)
            continue
        found = _rules(operation)
        assert found is not None  # noqa: S101 - for the type checker: it is unrolled
        operation = operation.to_mutable()
        for place, value in enumerate(operation.params):
            if _is_free(value):
                names.append(f"angle{len(names)}")
                operation.params[place] = Parameter(names[-1])
                expressions.append(value)
                rules.append(found[place])
        split.append(operation, instruction.qubits)
    return ShiftedCircuit(split, tuple(names), tuple(rules), tuple(expressions), parameters)


def _require_gates(circuit: QuantumCircuit) -> None:
    """Refuse a circuit with control flow, or with anything but gates at any depth."""
    # A gate is made of gates; other instructions may measure or reset in their definition.
    for visit in walk(circuit, definitions=_may_hide_others):
        is_forbidden = visit.name in _FORBIDDEN and not _is_gate(visit.operation)
        if is_forbidden or blocks_of(visit.operation):
            _refuse(visit.name, "gradients need a circuit of gates only")


def _may_hide_others(operation: Any) -> bool:
    return operation.name not in _FORBIDDEN and not _is_gate(operation)


def _is_gate(operation: Any) -> bool:
    from qiskit.circuit import Gate

    return isinstance(operation, Gate)


def _unrolled(circuit: QuantumCircuit) -> QuantumCircuit:
    """Decompose parametrised gates without a rule until every such gate has a rule."""
    while True:
        without_rule: set[str] = set()
        for instruction in circuit.data:
            operation: Any = instruction.operation
            if not _is_parametrised(operation) or _rules(operation) is not None:
                continue
            if not _is_made_of_gates(operation):
                _refuse(
                    operation.name,
                    "it has no parameter-shift rule, and is not made of gates that have one",
                )
            without_rule.add(operation.name)
        if not without_rule:
            return circuit
        # Chosen by name, so a gate with the same name as one of these is decomposed as well: this
        # costs extra shifts but never changes the value.
        circuit = circuit.decompose(sorted(without_rule))


def _is_made_of_gates(operation: Any) -> bool:
    from qiskit.exceptions import QiskitError

    try:
        return getattr(operation, "definition", None) is not None
    except QiskitError:  # defined only for numbers
        return False


def _refuse(name: str, why: str) -> None:
    rules = ", ".join(sorted(_ONE_FREQUENCY | _ONE_AND_ITS_HALF | {"PauliEvolution"}))
    raise InvalidInputError(
        f"The ansatz has no gradient by parameter shifts because of its instruction {name!r}: "
        f"{why}. There are rules for {rules}, and for what decomposes into them. Write the ansatz "
        "with these.",
        path="$.ansatz",
        rule="parameter-shift rules",
    )


def _is_free(value: Any) -> bool:
    return bool(getattr(value, "parameters", ()))


def _is_parametrised(operation: Any) -> bool:
    # Not `operation.is_parameterized()`: it is False for controlled gates (qiskit 2.6).
    if any(_is_free(value) for value in getattr(operation, "params", ())):
        return True
    inner = getattr(operation, "base_op", None) or getattr(operation, "base_gate", None)
    return inner is not None and _is_parametrised(inner)


def _rules(operation: Any) -> list[ShiftRule] | None:
    """Return the rule of each angle of a gate; None if a free angle has no rule."""
    free = [_is_free(value) for value in operation.params]
    if not any(free):
        return None
    rule = _RULES_OF.get(operation.name)
    if rule is not None:
        return rule(operation)
    if operation.name in _ONE_FREQUENCY:
        return [ShiftRule.two_term(1.0)] * len(free)
    # The second angle of xx_plus_yy turns about z on both sides of it.
    if operation.name in _ONE_AND_ITS_HALF and not any(free[1:]):
        return [ShiftRule.four_term(0.5)]
    return None


def _rules_of_evolution(operation: Any) -> list[ShiftRule] | None:
    generator = operation.operator
    if isinstance(generator, list) or not hasattr(generator, "paulis"):
        return None
    rule = evolution_rule(generator)
    return None if rule is None else [rule]


def evolution_rule(generator: SparsePauliOp) -> ShiftRule | None:
    """Return the rule of exp(-i t G) for t, if the eigenvalues of G allow one for all of it."""
    generator = generator.simplify()
    coefficients = np.asarray(generator.coeffs, dtype=complex)
    if not np.allclose(np.imag(coefficients), 0) or len(generator.group_commuting()) > 1:
        return None
    square = (generator @ generator).simplify()
    # If G*G*G = s*G, its eigenvalues are 0 and +-sqrt(s); this is s then.
    norm = float(np.sum(np.real(coefficients) ** 2))
    scale = float(np.sum(np.real(np.asarray(square.coeffs, dtype=complex)) ** 2)) / norm
    identity = type(generator)("I" * (generator.num_qubits or 0))
    if _is_zero(square - scale * identity):
        return ShiftRule.two_term(2 * math.sqrt(scale))
    if _is_zero(square @ generator - scale * generator):
        return ShiftRule.four_term(math.sqrt(scale))
    return None


def _is_zero(operator: Any) -> bool:
    return bool(np.allclose(np.asarray(operator.simplify().coeffs, dtype=complex), 0))


_RULES_OF: dict[str, Callable[[Any], list[ShiftRule] | None]] = {
    "PauliEvolution": _rules_of_evolution
}
