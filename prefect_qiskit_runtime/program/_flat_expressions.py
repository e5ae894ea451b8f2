"""Classical expressions of a block, on the bits and variables of the flat circuit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qiskit.circuit import ClassicalRegister, Clbit

from prefect_qiskit_runtime.errors import InvalidInputError

# The operators that Aer supports; it has no arithmetic, no shifts and no floating-point numbers.
_OPERATORS = frozenset(
    {
        "BIT_AND", "BIT_OR", "BIT_XOR", "BIT_NOT", "LOGIC_AND", "LOGIC_OR", "LOGIC_NOT",
        "EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL",
    }
)  # fmt: skip
_TYPES = frozenset({"Bool", "Uint"})


class ExpressionMover:
    """Rewrites expressions; created at the place where they are evaluated.

    It is not one of Qiskit's visitors, because older Qiskit in other images has fewer expressions.
    """

    def __init__(
        self,
        bits: Mapping[Any, Any],
        variables: Mapping[Any, Any],
        register: Callable[[Sequence[Clbit]], ClassicalRegister],
        circuit_name: str,
    ) -> None:
        """Create the rewriter for a block.

        Args:
            bits: For each bit of the block, the bit of the flat circuit.
            variables: For each variable, its place in the flat circuit.
            register: Returns the register for given bits of the flat circuit.
            circuit_name: The name of the circuit, for errors.
        """
        self._bits = bits
        self._variables = variables
        self._register = register
        self._circuit_name = circuit_name

    def moved(self, node: Any) -> Any:
        """Return an equivalent expression that Aer can evaluate.

        Raises:
            InvalidInputError: Aer cannot evaluate it.
        """
        from qiskit.circuit.classical import expr

        if type(node.type).__name__ not in _TYPES:
            raise self._refusal(f"a value of type {node.type}")
        if isinstance(node, expr.Value):
            return node
        if isinstance(node, expr.Var):
            return self._variable(node)
        if isinstance(node, expr.Cast):
            return self._cast(node)
        kind = type(node).__name__
        if kind == "Index":
            return self._index(node)
        if kind not in ("Unary", "Binary") or node.op.name not in _OPERATORS:
            operator = getattr(node, "op", None)
            raise self._refusal(kind if operator is None else operator.name)
        if kind == "Unary":
            return expr.Unary(node.op, self.moved(node.operand), node.type)
        return expr.Binary(node.op, self.moved(node.left), self.moved(node.right), node.type)

    def equal(self, target: Any, value: int) -> Any:
        """Return the condition that a target has a value."""
        from qiskit.circuit.classical import expr, types

        if isinstance(target, Clbit):
            return self._bits[target], int(value)
        if isinstance(target, ClassicalRegister):
            return self._register([self._bits[bit] for bit in target]), int(value)
        moved = self.moved(target)
        if type(moved.type).__name__ == "Bool":
            return moved if value else expr.logic_not(moved)
        wanted = expr.Value(int(value), moved.type)
        return expr.Binary(expr.Binary.Op.EQUAL, moved, wanted, types.Bool())

    def _variable(self, node: Any) -> Any:
        from qiskit.circuit.classical import expr

        if isinstance(node.var, Clbit):
            return expr.Var(self._bits[node.var], node.type)
        if isinstance(node.var, ClassicalRegister):
            bits = [self._bits[bit] for bit in node.var]
            return expr.Var(self._register(bits), node.type)
        return self._variables[node]

    def _cast(self, node: Any) -> Any:
        from qiskit.circuit.classical import expr

        operand = self.moved(node.operand)
        if type(node.type).__name__ == "Bool" and type(operand.type).__name__ == "Uint":
            return _is_not_zero(operand)  # Aer's own cast gives the opposite
        return expr.Cast(operand, node.type)

    def _index(self, node: Any) -> Any:
        """Return one bit of a number, or an equivalent comparison."""
        from qiskit.circuit.classical import expr, types

        if not isinstance(node.index, expr.Value):
            raise self._refusal("an index that is computed")
        place, of = int(node.index.value), self.moved(node.target)
        if isinstance(of, expr.Var):
            return expr.Var(of.var[place], types.Bool())
        mask = expr.Value(1 << place, of.type)
        return _is_not_zero(expr.Binary(expr.Binary.Op.BIT_AND, of, mask, of.type))

    def _refusal(self, fault: str) -> InvalidInputError:
        return InvalidInputError(
            f"Circuit {self._circuit_name!r} computes with {fault}, which the simulator does not "
            "do: it has bits, unsigned integers, comparisons, and bitwise and logical operators.",
            rule="expressions that the simulator evaluates",
        )


def _is_not_zero(number: Any) -> Any:
    from qiskit.circuit.classical import expr, types

    zero = expr.Value(0, number.type)
    return expr.Binary(expr.Binary.Op.NOT_EQUAL, number, zero, types.Bool())
