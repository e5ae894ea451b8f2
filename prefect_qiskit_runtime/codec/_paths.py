"""Keys that JSON does not have, and parts of a value that have no encoding.

Used only after plain encoding has failed.
"""

from __future__ import annotations

import functools
import inspect
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect_qiskit_runtime.errors import EncodingError

_PLAIN = (str, int, float, type(None))


@dataclass(frozen=True)
class _Fault:
    path: str
    reason: str
    rule: str


def refuse(value: Any, encoder: type[json.JSONEncoder], cause: Exception) -> EncodingError:
    """Build the error for a value that an encoder could not write.

    Args:
        value: The whole value.
        encoder: The encoder that failed.
        cause: The exception that it raised.

    Returns:
        The error, with the path of the part that has no encoding.
    """
    try:
        fault = _Search(encoder()).in_value(value, "$")
    except RecursionError:
        fault = None
    if fault is None:
        name = type(cause).__name__
        fault = _Fault("$", f"{encoder.__name__} raised {name}: {cause}", "encodable")
    return EncodingError(
        f"Cannot encode {fault.path}: {fault.reason}.", path=fault.path, rule=fault.rule
    )


def has_keys_in_pairs(mapping: Mapping[Any, Any]) -> bool:
    """Return whether a dict has keys of Qiskit that JSON does not have, and no others.

    They are parameters and vectors, tuples of parameters or their names, as in the values of a
    PUB, and Pauli operators, as in its observables. Beside them, keys are text.
    """
    keys = [key for key in mapping if not isinstance(key, str)]
    return bool(keys) and all(map(_is_key_of_qiskit, keys))


def _is_key_of_qiskit(key: Any) -> bool:
    if isinstance(key, tuple):
        return bool(key) and all(isinstance(each, str) or _is_parameter(each) for each in key)
    return _is_parameter(key) or _is_pauli(key)


def _is_parameter(key: Any) -> bool:
    if "qiskit.circuit" not in sys.modules:
        return False
    from qiskit.circuit import Parameter, ParameterVector

    return isinstance(key, (Parameter, ParameterVector))


def _is_pauli(key: Any) -> bool:
    if "qiskit.quantum_info" not in sys.modules:
        return False
    from qiskit.quantum_info import Pauli

    return isinstance(key, Pauli)


def _type_name(value: Any) -> str:
    cls = type(value)
    return cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


class _Search:
    def __init__(self, encoder: json.JSONEncoder) -> None:
        self._encoder = encoder
        self._open: set[int] = set()

    def in_value(self, value: Any, path: str) -> _Fault | None:
        """Return the first fault at or below a value."""
        if isinstance(value, _PLAIN):
            return None
        if id(value) in self._open:
            return _Fault(path, "it contains itself", "no circular references")
        self._open.add(id(value))
        try:
            if isinstance(value, dict):
                return self._in_dict(value, path)
            if isinstance(value, (list, tuple)):
                return self._in_list(value, path)
            return self._in_object(value, path)
        finally:
            self._open.discard(id(value))

    def _in_dict(self, value: dict[Any, Any], path: str) -> _Fault | None:
        for key, item in value.items():
            if not isinstance(key, _PLAIN) and not _is_key_of_qiskit(key):
                reason = (
                    f"a key of the dict is of type {_type_name(key)}. Make the keys text; the "
                    "values of a PUB can also have parameters and tuples of names as keys"
                )
                return _Fault(path, reason, "keys are text")
            if fault := self.in_value(item, f"{path}.{key}"):
                return fault
        return None

    def _in_list(self, value: list[Any] | tuple[Any, ...], path: str) -> _Fault | None:
        for index, item in enumerate(value):
            if fault := self.in_value(item, f"{path}[{index}]"):
                return fault
        return None

    def _in_object(self, value: Any, path: str) -> _Fault | None:
        try:
            encoded = self._encoder.default(value)
        # Any failure of the encoder on this object is the fault that the search is for.
        except Exception as exc:  # noqa: BLE001
            return _Fault(path, _no_encoding(value, exc), "encodable")
        if isinstance(encoded, Mapping) and "__value__" in encoded:
            encoded = encoded["__value__"]
        return self.in_value(encoded, path)


def _no_encoding(value: Any, exc: Exception) -> str:
    name = _type_name(value)
    if isinstance(exc, EncodingError):
        return f"a value of type {name}: {exc}"
    if not isinstance(exc, TypeError):
        return f"a value of type {name} could not be written ({type(exc).__name__}: {exc})"
    return f"a value of type {name} has no encoding. {_advice(value)}"


# Classes of Qiskit without an encoding, and what to send instead.
_IN_PLACE_OF = {
    "ScalarOp": "Send it as an operator: qiskit.quantum_info.Operator(value)",
    "CNOTDihedral": "Send its circuit, value.to_circuit(), or qiskit.quantum_info.Operator(value)",
    "SparseObservable": "Send it as SparsePauliOp.from_sparse_observable(value)",
    "StabilizerState": "Send its Clifford, value.clifford",
    "Quaternion": "Send its numbers, value.data",
}


def _advice(value: Any) -> str:
    kind = type(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "Pass it as text, e.g. base64.b64encode(value).decode()"
    if kind.__module__.startswith("qiskit.") and kind.__name__ in _IN_PLACE_OF:
        return _IN_PLACE_OF[kind.__name__]
    if isinstance(value, type) or inspect.isroutine(value) or isinstance(value, functools.partial):
        return "Functions and classes do not travel: pass what they compute, or their name"
    return (
        "Turn it into dicts, lists, numbers, text, numpy arrays or Qiskit objects, "
        "or give its class a to_json() method that returns JSON text"
    )
