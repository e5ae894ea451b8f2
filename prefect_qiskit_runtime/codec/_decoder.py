"""Text to values."""

from __future__ import annotations

import base64
import inspect
import io
import json
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

from prefect_qiskit_runtime.codec import seams
from prefect_qiskit_runtime.errors import DecodingError

_SETTINGS_PACKAGE = "qiskit.quantum_info."


def decode(text: str | bytes, decoder: Any = None) -> Any:
    """Decode text that `encode`, or an encoder of qiskit-ibm-runtime, wrote.

    Args:
        text: The encoded value.
        decoder: In place of `RuntimeDecoder`: a subclass of `json.JSONDecoder`, or anything with
            `decode(text)`, such as a `ResultDecoder` class.

    Returns:
        The value. Qiskit is imported only if the text holds typed values.

    Raises:
        DecodingError: The text is not JSON, or holds a value that this environment cannot read.
    """
    try:
        if isinstance(text, (bytes, bytearray)):
            text = text.decode("utf-8")
        if decoder is None:
            # Plain values need no check of each object.
            return json.loads(text, cls=RuntimeDecoder if '"__type__"' in text else None)
        if _is_json_decoder(decoder):
            return json.loads(text, cls=decoder)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise DecodingError(
            f"Cannot decode {len(text)} characters as JSON: {exc}. If the program encodes with "
            "a custom encoder, pass the matching decoder."
        ) from exc
    return decoder.decode(text)


def _is_json_decoder(decoder: Any) -> bool:
    return inspect.isclass(decoder) and issubclass(decoder, json.JSONDecoder)


class RuntimeDecoder(json.JSONDecoder):
    """JSON decoder of qiskit-ibm-runtime with its gaps closed.

    The common types are decoded here; all others are left to the decoder of the installed
    qiskit-ibm-runtime, which is imported only then. A dict with an unknown tag is left unchanged.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.pop("encoding", None)  # json.loads of old programs passes it
        super().__init__(*args, object_hook=self.object_hook, **kwargs)

    def object_hook(self, obj: dict[str, Any]) -> Any:
        """Return the value that a JSON object represents.

        Args:
            obj: A JSON object whose parts are already decoded.

        Raises:
            DecodingError: The object has a known type but cannot be read.
        """
        if "__type__" not in obj or "__value__" not in obj:
            return obj
        tag = obj["__type__"]
        handler = _HANDLERS.get(tag, _decode_upstream) if isinstance(tag, str) else None
        if handler is None:
            return obj
        try:
            return handler(obj)
        except DecodingError:
            raise
        # Qiskit, numpy and scipy each have their own errors for unreadable data.
        except Exception as exc:
            raise DecodingError(
                f"Cannot decode a value of type {tag!r}: {type(exc).__name__}: {exc}"
            ) from exc


def _decode_datetime(obj: dict[str, Any]) -> datetime:
    text = obj["__value__"]
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # not written by isoformat(); dateutil comes with qiskit-ibm-runtime
        return _decode_upstream(obj)


def _decode_complex(obj: dict[str, Any]) -> complex:
    # Not `real + 1j * imag`, which turns infinities into NaN.
    real, imag = obj["__value__"]
    return complex(real, imag)


def _decode_array(obj: dict[str, Any]) -> Any:
    import numpy as np

    value = obj["__value__"]
    if isinstance(value, str):
        try:
            packed = zlib.decompress(base64.b64decode(value, validate=True))
        except (ValueError, zlib.error):
            return _decode_upstream(obj)  # IBM's servers tag some plain text as arrays
        return np.load(io.BytesIO(packed), allow_pickle=False)
    if obj.get("dtype") != "object":
        return np.array(value)
    array = np.empty(tuple(obj["shape"]), dtype=object)
    for index in np.ndindex(array.shape):
        item = value
        for position in index:
            item = item[position]
        array[index] = item
    return array


def _hashable(value: Any) -> Any:
    """Turn a decoded member of a set, or a key, back into a hashable value."""
    if isinstance(value, list):
        return tuple(_hashable(item) for item in value)
    return frozenset(value) if isinstance(value, set) else value


def _decode_set(obj: dict[str, Any]) -> set[Any]:
    return {_hashable(member) for member in obj["__value__"]}


def _decode_mapping(obj: dict[str, Any]) -> dict[Any, Any]:
    return {_hashable(key): value for key, value in obj["__value__"]}


def _decode_circuit(obj: dict[str, Any]) -> Any:
    from prefect_qiskit_runtime.codec import _qpy

    return _qpy.circuit_from_text(obj["__value__"], RuntimeDecoder)


def _decode_parameter(obj: dict[str, Any]) -> Any:
    from prefect_qiskit_runtime.codec import _qpy

    if "qpy" in obj:
        return _qpy.expressions_from_text(obj["qpy"])[0]
    return _qpy.parameter_from_text(obj["__value__"])


def _decode_expression(obj: dict[str, Any]) -> Any:
    from prefect_qiskit_runtime.codec import _qpy

    try:
        return _qpy.expressions_from_text(obj["__value__"])[0]
    except zlib.error as exc:
        raise DecodingError(
            "Cannot decode a bare parameter expression of qiskit-ibm-runtime before 0.16: its "
            "form needs the Qiskit that wrote it. Send the circuit that contains it instead."
        ) from exc


def _decode_vector(obj: dict[str, Any]) -> Any:
    from qiskit.circuit import ParameterVector

    from prefect_qiskit_runtime.codec import _qpy

    elements: list[Any] = _qpy.expressions_from_text(obj["__value__"]["qpy"])
    return elements[0].vector if elements else ParameterVector(obj["__value__"]["name"], 0)


def _decode_settings(obj: dict[str, Any]) -> Any:
    """Build an operator or state of Qiskit; leave any other object as a dict.

    The class is looked up by name in `qiskit.quantum_info`, never imported from the module named in
    the text: this is safe with text of unknown origin, and finds classes that have moved.
    """
    if not str(obj.get("__module__")).startswith(_SETTINGS_PACKAGE):
        return obj
    from qiskit import quantum_info
    from qiskit.quantum_info.operators.base_operator import BaseOperator
    from qiskit.quantum_info.states.quantum_state import QuantumState

    cls = getattr(quantum_info, str(obj.get("__class__")), None)
    if not (inspect.isclass(cls) and issubclass(cls, (BaseOperator, QuantumState))):
        return obj
    return cls(**_restore_int_keys(obj["__value__"]))


def _restore_int_keys(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    has_int_keys = "__int_keys__" in value
    return {
        int(key) if has_int_keys and key.lstrip("-").isdecimal() else key: _restore_int_keys(item)
        for key, item in value.items()
        if key != "__int_keys__"
    }


def _decode_sparse(obj: dict[str, Any]) -> Any:
    from scipy import sparse

    return sparse.load_npz(io.BytesIO(base64.standard_b64decode(obj["__value__"])))


def _decode_noise_model(obj: dict[str, Any]) -> Any:
    try:
        import qiskit_aer  # noqa: F401
    except ModuleNotFoundError:
        return obj["__value__"]  # as qiskit-ibm-runtime without Aer
    from prefect_qiskit_runtime.codec.noise_models import read_noise_model

    return read_noise_model(obj["__value__"])


def _decode_to_json(obj: dict[str, Any]) -> Any:
    return obj["__value__"]


def _decode_json_object(obj: dict[str, Any]) -> Any:
    # Before 0.48, qiskit-ibm-runtime imports any module that the text names.
    if str(obj.get("__module__")).startswith("qiskit_ibm_runtime."):
        return _decode_upstream(obj)
    return obj


def _decode_upstream(obj: dict[str, Any]) -> Any:
    upstream = seams.upstream_decoder()
    return obj if upstream is None else upstream.object_hook(obj)


_HANDLERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "datetime": _decode_datetime,
    "complex": _decode_complex,
    "ndarray": _decode_array,
    "set": _decode_set,
    "mapping": _decode_mapping,
    "QuantumCircuit": _decode_circuit,
    "Parameter": _decode_parameter,
    "ParameterExpression": _decode_expression,
    "ParameterVector": _decode_vector,
    "settings": _decode_settings,
    "spmatrix": _decode_sparse,
    "NoiseModel": _decode_noise_model,
    "to_json": _decode_to_json,
    "_json": _decode_json_object,
}
