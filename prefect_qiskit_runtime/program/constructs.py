"""The allowed content of a PUB, checked before submission and again in the job.

A construct that cannot run, or a meaningless number, is refused with an explanation: by the caller
before a job exists, and in the job for clients that do not check.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from prefect_qiskit_runtime.codec.circuit_walk import describe, is_custom, places, walk
from prefect_qiskit_runtime.codec.delays import with_plain_durations
from prefect_qiskit_runtime.errors import InvalidInputError

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

IDEAL_NAME = "aer_simulator"
# Names of the snapshots of devices that qiskit-ibm-runtime has.
DEVICE_PREFIX = "fake_"

# One shot has a precision of 1. The smallest one takes 10**18 shots, which a 64-bit number holds.
_LARGEST_PRECISION, _SMALLEST_PRECISION = 1.0, 1e-9
# A register of 8 bits takes 1 GB with these.
_MOST_SHOTS = 10**9
# These decide or change the state by chance, so a circuit with them ends in no single state.
_NOT_UNITARY = frozenset({"measure", "reset", "if_else", "while_loop", "switch_case", "store"})
_PROJECTORS = "01+-rl"
# One term with 16 projectors. Memory and time grow with the number of strings.
_MOST_STRINGS = 2**16
# Types of variables that simulators have.
_VARIABLE_TYPES = frozenset({"Bool", "Uint"})


def require_precision(precision: Any, path: str = "$.options.default_precision") -> Any:
    """Return a precision of the estimator unchanged if it is valid.

    Args:
        precision: The given precision, if any.
        path: Its path in the inputs.

    Raises:
        InvalidInputError: It is not a number, or cannot be reached with any number of shots.
    """
    if precision is None or (_is_number(precision) and precision == 0):
        return precision
    if _is_number(precision) and _SMALLEST_PRECISION <= precision <= _LARGEST_PRECISION:
        return precision
    is_option = path.startswith("$.options.")
    name = f"Option {path.removeprefix('$.options.')!r}" if is_option else "precision"
    raise InvalidInputError(
        f"{name} must be a number from {_SMALLEST_PRECISION:g} to {_LARGEST_PRECISION:g}, the"
        " standard error that is aimed for with 1/precision**2 shots, or 0 for exact values on an"
        f" ideal backend, not {precision!r:.80}.",
        path=path,
        rule=f"0, or from {_SMALLEST_PRECISION:g} to {_LARGEST_PRECISION:g}",
    )


def require_exact(circuit: QuantumCircuit) -> None:
    """Refuse a circuit that has no exact expectation value.

    Raises:
        InvalidInputError: It measures, resets or branches.
    """
    for visit in walk(circuit, definitions=is_custom):
        if visit.name in _NOT_UNITARY and not is_custom(visit.operation):
            raise _refusal(
                circuit,
                f"the instruction {visit.name!r} ({describe(visit.path)}), after which it has no "
                "single state and so no exact expectation value",
                "Remove final measurements (circuit.remove_final_measurements()), or set shots or "
                "a precision",
                rule="exact circuits are unitary",
            )


def require_few_projectors(labels: Iterable[str]) -> None:
    """Refuse an observable that is a sum of too many Pauli strings.

    A term with n projectors (0, 1, +, -, r, l) is a sum of 2**n strings.

    Args:
        labels: The terms of the observable.

    Raises:
        InvalidInputError: There are too many strings.
    """
    counts = [count for label in labels if (count := sum(map(label.count, _PROJECTORS)))]
    if sum(2**count for count in counts) > _MOST_STRINGS:
        raise InvalidInputError(
            f"An observable has {len(counts)} terms with projectors (0, 1, +, -, r, l), up to "
            f"{max(counts)} in one. A term with n projectors is a sum of 2**n Pauli strings, and "
            f"at most {_MOST_STRINGS:,} strings are possible. Sample the circuit in the basis of "
            "the projectors instead, and count the shots that have their outcome.",
            rule=f"at most {_MOST_STRINGS} Pauli strings from projectors",
        )


def require_shots(shots: Any, name: str = "shots") -> None:
    """Refuse more shots than a simulator can return.

    Raises:
        InvalidInputError: There are too many.
    """
    if isinstance(shots, Integral) and int(shots) > _MOST_SHOTS:
        raise InvalidInputError(
            f"{name} must be at most {_MOST_SHOTS:,} on a simulator, which keeps each shot in "
            f"memory, not {int(shots):,}.",
            rule=f"at most {_MOST_SHOTS} shots",
        )


def require_unmasked_values(values: Any) -> None:
    """Refuse parameter values whose masked elements would be used like the others.

    Args:
        values: The values of a PUB as the user wrote them: an array, or arrays by parameter.

    Raises:
        InvalidInputError: An array is masked.
    """
    arrays = values.values() if isinstance(values, Mapping) else [values]
    for array in arrays:
        if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
            raise InvalidInputError(
                "The parameter values are a masked array, and a PUB has no place for a mask: the "
                "masked values would run too. Pass only the rows that are to run.",
                rule="parameter values without a mask",
            )


def require_real_values(values: Any) -> None:
    """Refuse complex parameter values, of which Qiskit would use the real part only.

    Args:
        values: The values of a PUB as the user wrote them: an array, or arrays by parameter.

    Raises:
        InvalidInputError: A value has an imaginary part.
    """
    for array in values.values() if isinstance(values, Mapping) else [values]:
        if not isinstance(array, np.ndarray | list | tuple | complex):
            continue
        numbers: Any
        try:
            numbers = np.asarray(array)
        except ValueError:  # rows of different lengths, which Qiskit refuses
            continue
        if np.iscomplexobj(numbers) and np.any(numbers.imag):
            value = numbers[numbers.imag != 0].flat[0]
            raise InvalidInputError(
                f"A parameter value is {complex(value)}. Parameter values are real numbers.",
                rule="real parameter values",
            )


def require_finite_values(values: Any) -> None:
    """Refuse parameter values that are not finite numbers, with which no gate has a meaning.

    Args:
        values: A `BindingsArray`.

    Raises:
        InvalidInputError: A value is infinite or not a number.
    """
    for names, array in values.data.items():
        require_finite_arguments(array, names)


def require_finite_arguments(array: Any, names: Sequence[str]) -> None:
    """Refuse an array of parameter values that has one that is not a finite number.

    Args:
        array: The values of the parameters, along the last axis.
        names: Names of the parameters.

    Raises:
        InvalidInputError: A value is infinite or not a number.
    """
    faulty = np.argwhere(~np.isfinite(array))
    if not faulty.size:
        return
    *row, column = faulty[0].tolist()
    where = f" in row {row}" if row else ""
    raise InvalidInputError(
        f"The value of parameter {names[column]!r}{where} is {array[*row, column]}. Parameter "
        "values are finite numbers.",
        rule="finite parameter values",
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def require_result_names(circuit: QuantumCircuit) -> None:
    """Refuse a circuit whose registers have names that a result of Qiskit cannot have.

    Raises:
        InvalidInputError: A register has the name of an attribute of the result.
    """
    from qiskit.primitives import DataBin

    for register in circuit.cregs:
        # `self` and `shape` are arguments of its constructor.
        if register.name in ("self", "shape") or hasattr(DataBin, register.name):
            raise InvalidInputError(
                f"Circuit {circuit.name!r} has a classical register named {register.name!r}. A "
                "result keeps the bits of a register as an attribute of its name, and needs this "
                f"one for itself. Rename it, e.g. ClassicalRegister({register.size}, "
                f"'{register.name.strip('_')}_bits').",
                rule="names of registers are free in results",
            )


def require_simulable(circuit: QuantumCircuit) -> None:
    """Refuse a circuit with a construct that simulators do not support.

    Raises:
        InvalidInputError: It has a stretch, a variable without a value or of an unsupported type,
            or a duration that cannot be computed.
    """
    for place in places(circuit):
        for stretch in getattr(place.circuit, "iter_stretches", tuple)():
            raise _refusal(
                circuit,
                f"the stretch {stretch.name!r}, whose length is open until a device schedules it",
                "Simulators schedule nothing: give the delay a duration",
                rule="no stretches",
            )
        for variable in getattr(place.circuit, "iter_declared_vars", tuple)():
            kind = type(variable.type).__name__
            if kind not in _VARIABLE_TYPES:
                raise _refusal(
                    circuit,
                    f"the variable {variable.name!r} of type {kind}",
                    "Simulators compute with Bool and Uint only",
                    rule="variables of type Bool or Uint",
                )
    with_plain_durations(circuit)


def require_no_inputs(circuit: QuantumCircuit) -> None:
    """Refuse a circuit with variables whose values are given at run time.

    Raises:
        InvalidInputError: It has such a variable; a PUB has no place for its value.
    """
    for variable in getattr(circuit, "iter_input_vars", tuple)():
        raise _refusal(
            circuit,
            f"the input variable {variable.name!r}, and a PUB has no place for its value",
            "Give it one with circuit.add_var, or use a Parameter",
            rule="no input variables",
        )


def _refusal(circuit: QuantumCircuit, what: str, advice: str, *, rule: str) -> InvalidInputError:
    return InvalidInputError(f"Circuit {circuit.name!r} has {what}. {advice}.", rule=rule)
