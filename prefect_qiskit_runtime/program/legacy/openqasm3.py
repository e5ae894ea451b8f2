"""Reads circuits from OpenQASM 3 text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qiskit.circuit import QuantumCircuit

from prefect_qiskit_runtime.errors import ConfigurationError, InvalidInputError

# The parser writes the problem to stderr, and raises an error without a message.
_IN_THE_LOG = "the log of the job names the place"


def read_openqasm3(text: str, values: Mapping[str, Any], where: str) -> QuantumCircuit:
    """Read a circuit and give its inputs their values.

    Args:
        text: A program in OpenQASM 3.
        values: For each name that the text declares as `input`, its value.
        where: The name of the text in errors.

    Raises:
        InvalidInputError: The text cannot be read, or names and values differ.
        ConfigurationError: This environment lacks qiskit-qasm3-import.
    """
    from qiskit import qasm3

    try:
        # Installed with qiskit-qasm3-import, which Qiskit uses to read the text.
        from openqasm3.parser import QASM3ParsingError
    except ModuleNotFoundError as exc:
        raise ConfigurationError(
            "OpenQASM 3 is read with qiskit-qasm3-import, which this environment (image) does "
            "not have: install qiskit-qasm3-import in it."
        ) from exc
    try:
        circuit = qasm3.loads(text)
    except (qasm3.QASM3ImporterError, QASM3ParsingError) as exc:
        raise InvalidInputError(
            f"{where} is not OpenQASM 3 that Qiskit can read: {str(exc) or _IN_THE_LOG}.",
            path=f"$.{where}",
            rule="OpenQASM 3",
        ) from exc
    names = {parameter.name for parameter in circuit.parameters}
    missing = sorted(names - set(values))
    if missing:
        raise InvalidInputError(
            f"{where} declares the inputs {', '.join(missing)}, which have no value in qasm3_args.",
            path="$.qasm3_args",
            rule="a value for each input",
        )
    return circuit.assign_parameters({name: values[name] for name in names})
