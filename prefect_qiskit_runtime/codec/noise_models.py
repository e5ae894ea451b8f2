"""Noise models of Aer from the dicts that `NoiseModel.to_dict` writes.

Aer's own reader is deprecated, and does not read each of them: matrices that went through JSON
(`serializable=True`), which errors of Kraus operators and unitaries have, and errors with gates
that have parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prefect_qiskit_runtime.errors import InvalidInputError

__all__ = ["read_noise_model"]


def read_noise_model(described: Mapping[str, Any]) -> Any:
    """Return the noise model that a dict describes.

    Args:
        described: The dict, with arrays or with the nested lists that JSON has in their place.

    Raises:
        InvalidInputError: It is not such a dict; the message names the error that cannot be read.
    """
    from qiskit_aer.noise import NoiseModel, ReadoutError

    model: Any = NoiseModel()
    for index, error in enumerate(described.get("errors", ())):
        kind = error.get("type")
        if kind not in ("qerror", "roerror"):
            raise _refusal(index, f"its type is {kind!r}, not 'qerror' or 'roerror'")
        places = error.get("gate_qubits")
        if kind == "roerror":
            readout = ReadoutError(error["probabilities"])
            if places is None:
                model.add_all_qubit_readout_error(readout, warnings=False)
            for qubits in places or ():
                model.add_readout_error(readout, list(qubits), warnings=False)
            continue
        quantum, names = _quantum_error(error, index), error["operations"]
        if places is None:
            model.add_all_qubit_quantum_error(quantum, names, warnings=False)
        for qubits in places or ():
            model.add_quantum_error(quantum, names, list(qubits), warnings=False)
    return model


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
