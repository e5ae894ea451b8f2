"""Values to text."""

from __future__ import annotations

import base64
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

from prefect_qiskit_runtime.codec import seams
from prefect_qiskit_runtime.codec._paths import has_keys_in_pairs, refuse
from prefect_qiskit_runtime.errors import EncodingError

_NOT_MINE = object()


def encode(value: Any, *, encoder: type[json.JSONEncoder] | None = None) -> str:
    """Encode a value as the text that is sent.

    Args:
        value: The value to encode. Plain JSON values are encoded without importing Qiskit.
        encoder: A JSON encoder to use in place of `RuntimeEncoder`.

    Returns:
        JSON text.

    Raises:
        EncodingError: Some part of the value has no encoding; `path` is its location.
    """
    chosen = encoder or RuntimeEncoder
    try:
        return json.dumps(value, cls=chosen)
    # An encoder can raise any exception; the circuit writer alone has several error classes.
    except Exception as exc:  # noqa: BLE001 - named in the error that is raised
        # A TypeError of json only repeats the missing encoding that our error reports in detail.
        raise refuse(value, chosen, exc) from (None if isinstance(exc, TypeError) else exc)


def encode_inputs(inputs: Mapping[str, Any], *, is_for_ibm: bool = False) -> str:
    """Encode the inputs of a program as one JSON object.

    Args:
        inputs: The program's inputs by name.
        is_for_ibm: Whether the reader is IBM's service, which does not know our own forms.

    Returns:
        JSON text of an object.

    Raises:
        EncodingError: A name is not text, or a value has no encoding; `path` is its location.
    """
    if not isinstance(inputs, Mapping):
        raise EncodingError(
            f"Inputs are a mapping of names to values, not a {type(inputs).__name__}: write "
            '{"name": value}.',
            path="$",
            rule="a mapping",
        )
    for name in inputs:
        if not isinstance(name, str):
            raise EncodingError(
                f"Names of inputs are text; {name!r} is of type {type(name).__name__}.",
                path="$",
                rule="names of inputs are str",
            )
    return encode(dict(inputs), encoder=IBMEncoder if is_for_ibm else None)


class RuntimeEncoder(json.JSONEncoder):
    """JSON encoder of qiskit-ibm-runtime with its gaps closed.

    The common types are encoded here, with the same text; all others are left to the encoder of
    the installed qiskit-ibm-runtime, which is imported only then. Dicts with keys of Qiskit
    that JSON does not have, such as values of parameters by a tuple of names, are written as pairs.
    """

    _writes_pairs = False

    def encode(self, o: Any) -> str:
        """Return the JSON text of a value."""
        try:
            return super().encode(o)
        except TypeError:
            # Not looked for before: few values have such keys, and some are large.
            if self._writes_pairs:
                raise
            self._writes_pairs = True
            return super().encode(self._with_pairs(o))

    def default(self, o: Any) -> Any:
        """Return the JSON representation of an object.

        Args:
            o: An object that JSON cannot represent directly.

        Raises:
            TypeError: The object has no encoding.
        """
        form = self._form(o)
        return self._with_pairs(form) if self._writes_pairs else form

    def in_pairs(self, mapping: Mapping[Any, Any]) -> Any:
        """Return the form of a dict with keys that JSON does not have."""
        return _tagged("mapping", [[key, value] for key, value in mapping.items()])

    def _with_pairs(self, value: Any) -> Any:
        if isinstance(value, dict):
            copied = {key: self._with_pairs(item) for key, item in value.items()}
            return self.in_pairs(copied) if has_keys_in_pairs(copied) else copied
        if isinstance(value, (list, tuple)):
            return [self._with_pairs(item) for item in value]
        return value

    def _form(self, o: Any) -> Any:
        if isinstance(o, date):
            return _tagged("datetime", o.isoformat())
        if isinstance(o, complex):
            return _tagged("complex", [o.real, o.imag])
        if isinstance(o, (set, frozenset)):
            return _tagged("set", _ordered(o))
        for library, encode_object in _BY_LIBRARY:
            # An object of a library exists only where the library is loaded.
            if library in sys.modules:
                encoded = encode_object(o)
                if encoded is not _NOT_MINE:
                    return encoded
        return _encode_by_protocol(o)


class IBMEncoder(RuntimeEncoder):
    """Writes the form that IBM's service reads: circuits as plain QPY, with delays in dt."""

    def in_pairs(self, mapping: Mapping[Any, Any]) -> Any:
        """Return the form that IBM's clients write for values of parameters."""
        from qiskit.primitives.containers.bindings_array import BindingsArray

        return BindingsArray(mapping)

    def _form(self, o: Any) -> Any:
        """Return the form of an object in JSON.

        Raises:
            EncodingError: A delay is in a unit other than dt.
            TypeError: The object has no encoding.
        """
        if "qiskit.circuit" in sys.modules:
            from qiskit.circuit import QuantumCircuit

            from prefect_qiskit_runtime.codec import _qpy

            if isinstance(o, QuantumCircuit):
                text = _qpy.circuit_to_text(o, RuntimeEncoder, is_for_ibm=True)
                return _tagged("QuantumCircuit", text)
        return super()._form(o)


def _tagged(tag: str, value: Any) -> dict[str, Any]:
    return {"__type__": tag, "__value__": value}


def _ordered(members: Iterable[Any]) -> list[Any]:
    # The order of a set of text differs between processes; equal inputs should give equal text.
    try:
        return sorted(members)
    except TypeError:
        return list(members)


def _encode_numpy(o: Any) -> Any:
    import numpy as np

    if isinstance(o, np.ma.MaskedArray):
        raise EncodingError(
            "the mask of a masked array does not travel. Send value.filled(...), or value.data and "
            "np.ma.getmaskarray(value) as two arrays"
        )
    if type(o) in {np.longdouble, np.clongdouble}:
        raise EncodingError(
            "it has more digits than JSON carries. Send float(value) or complex(value), or its "
            "text if each digit matters"
        )
    if isinstance(o, np.ndarray):
        if o.dtype == object:
            # With the shape, our decoder keeps the objects unchanged; others ignore it.
            return {**_tagged("ndarray", o.tolist()), "dtype": "object", "shape": list(o.shape)}
        buffer = io.BytesIO()
        np.save(buffer, o, allow_pickle=False)
        packed = base64.standard_b64encode(zlib.compress(buffer.getbuffer()))
        return _tagged("ndarray", packed.decode("ascii"))
    if isinstance(o, (np.bool_, np.integer, np.floating)):
        return o.item()
    if isinstance(o, np.complexfloating):
        return complex(o)
    return _NOT_MINE


def _encode_qiskit(o: Any) -> Any:
    from qiskit.circuit import ParameterExpression, ParameterVector, QuantumCircuit
    from qiskit.quantum_info import Clifford

    from prefect_qiskit_runtime.codec import _qpy

    if isinstance(o, QuantumCircuit):
        return _tagged("QuantumCircuit", _qpy.circuit_to_text(o, RuntimeEncoder))
    if isinstance(o, ParameterExpression):
        return _encode_expression(o)
    if isinstance(o, ParameterVector):
        elements = _qpy.expressions_to_text(list(o), RuntimeEncoder)
        return _tagged("ParameterVector", {"name": o.name, "qpy": elements})
    if isinstance(o, Clifford):
        # It is callable and has no settings, so qiskit-ibm-runtime writes null for it.
        return _settings(o, {"data": o.tableau})
    return _NOT_MINE


def _encode_expression(o: Any) -> Any:
    from qiskit.circuit import Parameter

    from prefect_qiskit_runtime.codec import _qpy

    if not o.parameters:
        return o.numeric()
    if not isinstance(o, Parameter):
        return _tagged("ParameterExpression", _qpy.expressions_to_text([o], RuntimeEncoder))
    encoded = _tagged("Parameter", _qpy.parameter_to_text(o))
    if hasattr(o, "vector"):  # read as a bare Parameter, it would not equal the vector's element
        encoded["qpy"] = _qpy.expressions_to_text([o], RuntimeEncoder)
    return encoded


def _encode_scipy(o: Any) -> Any:
    from scipy import sparse

    if not sparse.issparse(o):
        return _NOT_MINE
    buffer = io.BytesIO()
    sparse.save_npz(buffer, o)
    return _tagged("spmatrix", base64.standard_b64encode(buffer.getvalue()).decode("ascii"))


def _encode_noise(o: Any) -> Any:
    from qiskit_aer.noise import NoiseModel

    from prefect_qiskit_runtime.codec.noise_models import describe_noise_model

    return (
        _tagged("NoiseModel", describe_noise_model(o)) if isinstance(o, NoiseModel) else _NOT_MINE
    )


_BY_LIBRARY: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("numpy", _encode_numpy),
    ("qiskit.circuit", _encode_qiskit),
    ("qiskit_aer.noise", _encode_noise),
    ("scipy.sparse", _encode_scipy),
)


def _settings(o: Any, settings: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "__type__": "settings",
        "__module__": type(o).__module__,
        "__class__": type(o).__name__,
        "__value__": _flag_int_keys(settings),
    }


def _flag_int_keys(value: Any) -> Any:
    """Copy nested dicts, marking those with integer keys, which JSON turns into text."""
    if not isinstance(value, Mapping):
        return value
    copied = {key: _flag_int_keys(item) for key, item in value.items()}
    if any(isinstance(key, int) for key in value):
        copied["__int_keys__"] = True
    return copied


def _encode_by_protocol(o: Any) -> Any:
    """Encode objects that define their own form, and those that only qiskit-ibm-runtime knows."""
    if not isinstance(o, type):
        if callable(getattr(o, "to_json", None)):
            return _tagged("to_json", o.to_json())
        if isinstance(settings := getattr(o, "settings", None), Mapping):
            return _settings(o, settings)
    # For any other callable, qiskit-ibm-runtime warns and writes null.
    if not callable(o):
        upstream = seams.upstream_encoder()
        if upstream is not None:
            return upstream.default(o)
    raise TypeError(f"Object of type {type(o).__name__} is not JSON serializable")
