"""The observable of a loop, in any form that `run_estimator` accepts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program.constructs import require_few_projectors

if TYPE_CHECKING:
    from qiskit.quantum_info import SparsePauliOp


def read_observable(observable: Any) -> SparsePauliOp:
    """Return one observable as a sum of Pauli strings.

    Args:
        observable: A SparsePauliOp, Pauli, SparseObservable, label, or mapping from labels to
            coefficients.

    Raises:
        InvalidInputError: It is not one of them, has complex coefficients, or is zero.
    """
    operator = _as_operator(observable)
    coefficients: Any = np.asarray(operator.coeffs, dtype=complex)
    if not np.allclose(coefficients.imag, 0):
        raise InvalidInputError(
            "The coefficients of the observable are complex, so its values are not real numbers."
            " A loop minimises real values: pass a Hermitian observable.",
            path="$.observable",
        )
    if np.allclose(np.asarray(operator.simplify().coeffs), 0):
        raise InvalidInputError(
            "The observable is zero, so its value is 0 at every point and there is nothing to"
            " minimise.",
            path="$.observable",
        )
    return operator


def _as_operator(observable: Any) -> SparsePauliOp:
    from qiskit.exceptions import QiskitError
    from qiskit.quantum_info import Pauli, SparseObservable, SparsePauliOp

    if isinstance(observable, SparsePauliOp):
        return observable
    try:
        if isinstance(observable, Mapping):
            terms = [(_label(term), factor) for term, factor in observable.items()]
            observable = SparseObservable.from_list(terms)
        elif isinstance(observable, str | Pauli):
            observable = SparseObservable(observable)
        if isinstance(observable, SparseObservable):
            require_few_projectors(label for label, *_ in observable.to_sparse_list())
            return SparsePauliOp.from_sparse_observable(observable)
    except (QiskitError, ValueError, TypeError) as error:
        raise InvalidInputError(
            f"The observable {observable!r:.80} cannot be read: {error}", path="$.observable"
        ) from error
    raise InvalidInputError(
        "The observable of a loop is one SparsePauliOp, Pauli, SparseObservable, label such as"
        f" 'ZZ', or mapping from labels to coefficients, not {type(observable).__name__}.",
        path="$.observable",
    )


def _label(term: Any) -> str:
    return term if isinstance(term, str) else term.to_label()
