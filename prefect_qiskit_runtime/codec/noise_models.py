"""Noise models of Aer as dicts, and from the dicts that `NoiseModel.to_dict` writes.

That dict has the errors of gates and readout only. Basis gates and the relaxation of idle qubits
are added to its list of errors, under separate types: a reader that does not know them fails, and
does not simulate other noise.

Aer's own reader is deprecated, and does not read each of them: matrices that went through JSON
(`serializable=True`), which errors of Kraus operators and unitaries have, and errors with gates
that have parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prefect_qiskit_runtime.errors import EncodingError, InvalidInputError

__all__ = ["describe_noise_model", "read_noise_model", "without_ids"]

_BASIS_GATES = "basis_gates"
_RELAXATION = "relaxation"


def describe_noise_model(model: Any, *, is_plain: bool = False) -> dict[str, Any]:
    """Return the dict of a noise model, from which `read_noise_model` makes an equal one.

    Args:
        model: The noise model.
        is_plain: Whether matrices are nested lists, as in JSON; otherwise they are arrays.

    Raises:
        EncodingError: The model has a pass that calls a function, which cannot be sent.
    """
    described = model.to_dict(serializable=is_plain)
    errors = list(described["errors"])
    if model.basis_gates != _basis_gates_of(errors):
        errors.append({"type": _BASIS_GATES, "names": list(model.basis_gates)})
    errors += map(_describe_pass, model._custom_noise_passes)
    return {**described, "errors": errors}


def without_ids(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dict of a noise model without the ids of errors, which Aer draws at random.

    Equal models have equal dicts then.
    """
    errors = [
        {name: value for name, value in error.items() if name != "id"}
        for error in described["errors"]
    ]
    return {**described, "errors": errors}


def _basis_gates_of(errors: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the basis gates of a model that has these errors and no others."""
    from qiskit_aer.noise import NoiseModel

    model: Any = NoiseModel()
    for error in errors:
        if error["type"] == "qerror":
            model.add_basis_gates(error["operations"])
    return model.basis_gates


def _describe_pass(noise_pass: Any) -> dict[str, Any]:
    from qiskit.circuit import Delay
    from qiskit_aer.noise import RelaxationNoisePass

    is_known = type(noise_pass) is RelaxationNoisePass and noise_pass._ops == (Delay,)
    if not is_known:
        raise EncodingError(
            f"its {type(noise_pass).__name__} calls a function for gates of a circuit, which cannot"
            " be sent. Send a model without it: of custom passes, only the RelaxationNoisePass of"
            " delays travels, which NoiseModel.from_backend adds"
        )
    return {
        "type": _RELAXATION,
        "t1s": _finite(noise_pass._t1s),
        "t2s": _finite(noise_pass._t2s),
        "excited_state_populations": _finite(noise_pass._p1s),
        "dt": noise_pass._dt,
    }


def _finite(values: Any) -> list[float | None]:
    """Return numbers as JSON has them, where None is infinite."""
    return [float(value) if np.isfinite(value) else None for value in values]


def _add_relaxation(model: Any, described: Mapping[str, Any]) -> None:
    from qiskit.circuit import Delay
    from qiskit_aer.noise import RelaxationNoisePass

    t1s, t2s = (
        [np.inf if value is None else value for value in described[name]] for name in ("t1s", "t2s")
    )
    populations = described["excited_state_populations"]
    relaxation = RelaxationNoisePass(t1s, t2s, described["dt"], Delay, populations)
    model._custom_noise_passes.append(relaxation)


def read_noise_model(described: Mapping[str, Any]) -> Any:
    """Return the noise model that a dict describes.

    Args:
        described: The dict, with arrays or with the nested lists that JSON has in their place.

    Raises:
        InvalidInputError: It is not such a dict; the message names the error that cannot be read.
    """
    from qiskit_aer.noise import NoiseModel

    errors = described.get("errors", ())
    named = [error["names"] for error in errors if error.get("type") == _BASIS_GATES]
    model: Any = NoiseModel(*named[:1])
    for index, error in enumerate(errors):
        kind = error.get("type")
        if kind == "qerror":
            _add_quantum_error(model, error, index)
        elif kind == "roerror":
            _add_readout_error(model, error)
        elif kind == _RELAXATION:
            _add_relaxation(model, error)
        elif kind != _BASIS_GATES:
            raise _refusal(index, f"its type is {kind!r}, not 'qerror' or 'roerror'")
    return model


def _add_quantum_error(model: Any, error: Mapping[str, Any], index: int) -> None:
    quantum, names = _quantum_error(error, index), error["operations"]
    places = error.get("gate_qubits")
    if places is None:
        model.add_all_qubit_quantum_error(quantum, names, warnings=False)
    for qubits in places or ():
        model.add_quantum_error(quantum, names, list(qubits), warnings=False)


def _add_readout_error(model: Any, error: Mapping[str, Any]) -> None:
    from qiskit_aer.noise import ReadoutError

    readout, places = ReadoutError(error["probabilities"]), error.get("gate_qubits")
    if places is None:
        model.add_all_qubit_readout_error(readout, warnings=False)
    for qubits in places or ():
        model.add_readout_error(readout, list(qubits), warnings=False)


def _refusal(index: int, fault: str) -> InvalidInputError:
    return InvalidInputError(
        f"Error {index} of the noise model cannot be read: {fault}. Send the NoiseModel of "
        "qiskit-aer itself, or its to_dict(serializable=True).",
        rule="noise models of Aer",
    )


def _quantum_error(error: Mapping[str, Any], index: int) -> Any:
    from qiskit_aer.noise import QuantumError

    circuits = [_circuit(instructions, index) for instructions in error["instructions"]]
    return QuantumError(list(zip(circuits, error["probabilities"], strict=True)))


def _circuit(instructions: Sequence[Mapping[str, Any]], index: int) -> Any:
    from qiskit.circuit import QuantumCircuit

    circuit = QuantumCircuit(1 + max(max(each["qubits"]) for each in instructions))
    for each in instructions:
        operation = _operation(each["name"], each.get("params", []), len(each["qubits"]))
        if operation is None:
            raise _refusal(index, f"it has the unknown instruction {each['name']!r}")
        if each.get("label"):
            operation = operation.to_mutable()
            operation.label = each["label"]
        circuit.append(operation, each["qubits"])
    return circuit


def _operation(name: str, params: Sequence[Any], num_qubits: int) -> Any | None:
    """Return an instruction of an error; None if its name is unknown."""
    from qiskit.circuit import Instruction
    from qiskit.circuit.library import PauliGate, UnitaryGate
    from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping

    if name == "kraus":
        return Instruction(name, num_qubits, 0, [_matrix(each) for each in params])
    if name == "superop":
        return Instruction(name, num_qubits, 0, [_matrix(params[0])])
    if name == "unitary":
        return UnitaryGate(_matrix(params[0]))
    if name == "pauli":
        return PauliGate(params[0])
    standard = get_standard_gate_name_mapping().get(name)
    if standard is None or standard.num_qubits != num_qubits:
        return None
    return standard.base_class(*params) if params else standard


def _matrix(value: Any) -> Any:
    """Return a matrix; in JSON, each complex number is a list of its two parts."""
    matrix = np.asarray(value)
    if matrix.ndim == 3:
        return matrix[..., 0] + 1j * matrix[..., 1]
    return matrix
