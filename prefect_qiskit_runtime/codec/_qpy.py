"""Circuits, parameters and parameter expressions as base64 text.

QPY has a public form for circuits only, so expressions are sent in a circuit that has no other
content. Qiskit reads and writes QPY and defines its versions.
"""

from __future__ import annotations

import base64
import io
import struct
import uuid
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prefect_qiskit_runtime.codec import seams
from prefect_qiskit_runtime.codec._qpy_limits import check_qpy, inflate_qpy
from prefect_qiskit_runtime.errors import DecodingError

if TYPE_CHECKING:
    import json

    from qiskit.circuit import QuantumCircuit

# Type checkers see the compiled classes of Qiskit as variables, not as types.
_Parameter = Any
_Expression = Any

# The newest QPY that qiskit-ibm-runtime 0.51 writes. A later Qiskit can still write it, and more
# environments can read an older version.
_NEWEST_QPY_VERSION = 17

# A parameter alone, as `qiskit.qpy` packs it: length of the name, UUID, then the name.
_PARAMETER_HEAD = struct.Struct("!H16s")


def circuit_to_text(
    circuit: QuantumCircuit, metadata_encoder: type[json.JSONEncoder], *, is_for_ibm: bool = False
) -> str:
    """Write a circuit as compressed QPY, for one of our decoders or for IBM's service.

    Raises:
        EncodingError: QPY would change the value of a parameter expression, or lose a part of
            the circuit.
    """
    from qiskit.qpy import common

    from prefect_qiskit_runtime.codec._expressions import refuse_changed_expressions
    from prefect_qiskit_runtime.codec._wire_circuit import to_wire

    # Qiskit before 1.1 has no `version` argument, and its QPY version is older anyway.
    version: dict[str, Any] = {}
    if common.QPY_VERSION > _NEWEST_QPY_VERSION:
        version["version"] = _NEWEST_QPY_VERSION
    circuit = to_wire(circuit, is_for_ibm=is_for_ibm, **version)
    refuse_changed_expressions([circuit], **version)
    buffer = io.BytesIO()
    seams.qpy_writer()(circuit, buffer, metadata_encoder, **version)
    return base64.standard_b64encode(zlib.compress(buffer.getvalue())).decode("ascii")


def circuit_from_text(text: str, metadata_decoder: type[json.JSONDecoder]) -> QuantumCircuit:
    """Read a circuit from compressed QPY.

    Raises:
        DecodingError: The QPY is newer than the installed Qiskit reads, needs sympy, is damaged,
            or exceeds a limit.
    """
    from qiskit import qpy
    from qiskit.qpy import common

    from prefect_qiskit_runtime.codec.delays import CARRIED, with_restored_delays

    data = inflate_qpy(base64.standard_b64decode(text))
    # Every QPY file begins with the word QISKIT and one byte with the version.
    version = data[6] if len(data) > 6 else 0
    if version > common.QPY_VERSION:
        raise DecodingError(
            f"Cannot read a circuit: it was written as QPY version {version}, but the Qiskit of "
            f"this environment reads up to {common.QPY_VERSION}. Use the same Qiskit at both ends, "
            "or a newer one here."
        )
    check_qpy(data)
    try:
        loaded = qpy.load(io.BytesIO(data), metadata_decoder)
    except ImportError as exc:  # before QPY 13, expressions are sympy text
        raise DecodingError(
            f"Cannot read a circuit of QPY version {version}: {exc}. Its parameter expressions "
            "were written with sympy or symengine: install it in this environment."
        ) from exc
    except BaseException as exc:
        if type(exc).__name__ != "PanicException":  # of Qiskit's compiled code; not an Exception
            raise
        raise DecodingError(f"Cannot read a circuit: its QPY is damaged ({exc}).") from exc
    circuit = loaded[0]
    return with_restored_delays(circuit) if CARRIED.encode() in data else circuit


def parameter_to_text(parameter: _Parameter) -> str:
    """Write a single parameter with its identity."""
    name = parameter.name.encode()
    return base64.standard_b64encode(
        _PARAMETER_HEAD.pack(len(name), parameter.uuid.bytes) + name
    ).decode("ascii")


def parameter_from_text(text: str) -> _Parameter:
    """Read a single parameter; it is equal to the parameter that was written."""
    from qiskit.circuit import Parameter

    data = base64.standard_b64decode(text)
    length, identity = _PARAMETER_HEAD.unpack_from(data)
    name = data[_PARAMETER_HEAD.size : _PARAMETER_HEAD.size + length].decode()
    return Parameter(name, uuid=uuid.UUID(bytes=identity))


def expressions_to_text(
    expressions: Sequence[_Expression], metadata_encoder: type[json.JSONEncoder]
) -> str:
    """Write parameter expressions as the angles of an otherwise empty circuit.

    Raises:
        EncodingError: QPY would change the value of an expression.
    """
    from qiskit.circuit import QuantumCircuit

    carrier = QuantumCircuit(1)
    for expression in expressions:
        carrier.rz(expression, 0)
    return circuit_to_text(carrier, metadata_encoder)


def expressions_from_text(text: str) -> list[_Expression]:
    """Read the expressions that `expressions_to_text` wrote."""
    import json

    carrier = circuit_from_text(text, json.JSONDecoder)
    return [instruction.operation.params[0] for instruction in carrier.data]
