"""Classical expressions of a block, on the bits and variables of the flat circuit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
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
# Aer reads a number of more bits wrongly: it shifts integers of 32 bits.
_WORD_BITS = 32


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
        """Return an equivalent truth value, or number of at most 32 bits, that Aer can evaluate.

        Raises:
            InvalidInputError: Aer cannot evaluate it.
        """
        from qiskit.circuit.classical import expr

        self._require_supported(node)
        if _is_number(node):
            (word,) = self.words(node)
            return word
        if isinstance(node, expr.Value):
            return node
        if isinstance(node, (expr.Unary, expr.Binary)):
            return self._operation(node)
        if isinstance(node, expr.Cast):
            return self._truth(node.operand)
        return self._variable(node) if isinstance(node, expr.Var) else self._index(node)

    def words(self, node: Any) -> list[Any]:
        """Return numbers of at most 32 bits that together are a number, the lowest first.

        Raises:
            InvalidInputError: Aer cannot evaluate them.
        """
        from qiskit.circuit.classical import expr

        self._require_supported(node)
        if isinstance(node, expr.Value):
            return _words_of(int(node.value), node.type.width)
        if isinstance(node, expr.Var):
            return self._words_of_variable(node)
        if isinstance(node, expr.Cast):
            return self._words_of_cast(node)
        if isinstance(node, expr.Unary):
            return [expr.Unary(node.op, each, each.type) for each in self.words(node.operand)]
        pairs = zip(self.words(node.left), self.words(node.right), strict=True)
        return [expr.Binary(node.op, left, right, left.type) for left, right in pairs]

    def equal(self, target: Any, value: int) -> Any:
        """Return the condition that a target has a value."""
        from qiskit.circuit.classical import expr, types

        if isinstance(target, Clbit):
            return self._bits[target], int(value)
        if isinstance(target, ClassicalRegister):
            return self._register([self._bits[bit] for bit in target]), int(value)
        if not _is_number(target):
            moved = self.moved(target)
            return moved if value else expr.logic_not(moved)
        wanted = expr.Value(int(value), target.type)
        return self.moved(expr.Binary(expr.Binary.Op.EQUAL, target, wanted, types.Bool()))

    def _require_supported(self, node: Any) -> None:
        kind = type(node).__name__
        if type(node.type).__name__ not in _TYPES:
            raise self._refusal(f"a value of type {node.type}")
        if kind in ("Value", "Var", "Cast", "Index"):
            return
        if kind not in ("Unary", "Binary") or node.op.name not in _OPERATORS:
            operator = getattr(node, "op", None)
            raise self._refusal(kind if operator is None else operator.name)

    def _operation(self, node: Any) -> Any:
        from qiskit.circuit.classical import expr

        if isinstance(node, expr.Unary):
            return expr.Unary(node.op, self.moved(node.operand), node.type)
        if _is_number(node.left):
            return self._comparison(node)
        return expr.Binary(node.op, self.moved(node.left), self.moved(node.right), node.type)

    def _variable(self, node: Any) -> Any:
        from qiskit.circuit.classical import expr

        if isinstance(node.var, Clbit):
            return expr.Var(self._bits[node.var], node.type)
        if isinstance(node.var, ClassicalRegister):
            bits = [self._bits[bit] for bit in node.var]
            return expr.Var(self._register(bits), node.type)
        return self._variables[node]

    def _words_of_variable(self, node: Any) -> list[Any]:
        from qiskit.circuit.classical import expr, types

        moved = self._variable(node)
        if moved.type.width <= _WORD_BITS:
            return [moved]
        return [
            expr.Var(self._register(list(moved.var)[start : start + width]), types.Uint(width))
            for start, width in _pieces(moved.type.width)
        ]

    def _words_of_cast(self, node: Any) -> list[Any]:
        from qiskit.circuit.classical import expr, types

        zeros = _words_of(0, node.type.width)
        if _is_number(node.operand):
            found = self.words(node.operand)[: len(zeros)]
        else:
            found = [self.moved(node.operand)]
        kinds = [types.Uint(zero.type.width) for zero in zeros]
        cast = [
            word if word.type == kind else expr.Cast(word, kind)
            for word, kind in zip(found, kinds, strict=False)
        ]
        return [*cast, *zeros[len(cast) :]]

    def _truth(self, node: Any) -> Any:
        """Return whether a value is not 0: Aer's own cast of a number gives the opposite."""
        from qiskit.circuit.classical import expr

        if not _is_number(node):
            return self.moved(node)
        return _joined(expr.Binary.Op.LOGIC_OR, [_is_not_zero(word) for word in self.words(node)])

    def _comparison(self, node: Any) -> Any:
        """Compare two numbers, word by word from the lowest."""
        from qiskit.circuit.classical import expr, types

        op = expr.Binary.Op
        compare = [
            lambda kind, left=left, right=right: expr.Binary(kind, left, right, types.Bool())
            for left, right in zip(self.words(node.left), self.words(node.right), strict=True)
        ]
        if node.op in (op.EQUAL, op.NOT_EQUAL):
            joint = op.LOGIC_AND if node.op is op.EQUAL else op.LOGIC_OR
            return _joined(joint, [each(node.op) for each in compare])
        strict = op.LESS if node.op in (op.LESS, op.LESS_EQUAL) else op.GREATER
        found = compare[0](node.op)
        for each in compare[1:]:
            tied = _joined(op.LOGIC_AND, [each(op.EQUAL), found])
            found = _joined(op.LOGIC_OR, [each(strict), tied])
        return found

    def _index(self, node: Any) -> Any:
        """Return one bit of a number, or an equivalent comparison."""
        from qiskit.circuit.classical import expr, types

        if not isinstance(node.index, expr.Value):
            raise self._refusal("an index that is computed")
        word, place = divmod(int(node.index.value), _WORD_BITS)
        of = self.words(node.target)[word]
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


def _is_number(node: Any) -> bool:
    return type(node.type).__name__ == "Uint"


def _pieces(width: int) -> list[tuple[int, int]]:
    """Return the first bit and the width of each word of a number."""
    return [(start, min(_WORD_BITS, width - start)) for start in range(0, width, _WORD_BITS)]


def _words_of(value: int, width: int) -> list[Any]:
    from qiskit.circuit.classical import expr, types

    return [
        expr.Value(value >> start & (1 << bits) - 1, types.Uint(bits))
        for start, bits in _pieces(width)
    ]


def _joined(op: Any, truths: Sequence[Any]) -> Any:
    from qiskit.circuit.classical import expr, types

    return reduce(lambda one, other: expr.Binary(op, one, other, types.Bool()), truths)


def _is_not_zero(number: Any) -> Any:
    from qiskit.circuit.classical import expr, types

    zero = expr.Value(0, number.type)
    return expr.Binary(expr.Binary.Op.NOT_EQUAL, number, zero, types.Bool())
