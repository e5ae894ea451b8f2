"""Text to values."""

from __future__ import annotations

import base64
import inspect
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

from prefect_qiskit_runtime.codec import _limits, seams
from prefect_qiskit_runtime.errors import DecodingError

_SETTINGS_PACKAGE = "qiskit.quantum_info."
# Classes that a text may build with `settings`; each checks its arguments and calls nothing else.
# fmt: off
_SETTINGS_CLASSES = frozenset({
    "Operator", "Pauli", "PauliList", "SparsePauliOp", "Clifford", "Statevector",
    "DensityMatrix", "SuperOp", "Choi", "Kraus", "Stinespring", "Chi", "PTM",
})
# Types that are left to the decoder of qiskit-ibm-runtime, which builds them from their parts.
_UPSTREAM_TYPES = frozenset({
    "Result", "ObservablesArray", "BitArray", "DataBin", "PubResult", "SamplerPubResult",
    "EstimatorPubResult", "PrimitiveResult", "NoiseLearnerResult", "PauliLindbladMap",
    "ExecutionSpans", "ExecutionSpanCollection", "ExecutionSpan",
    "DoubleSliceSpan", "TwirledSliceSpan", "TwirledSliceSpanV2",
})
# fmt: on
_JSON_CLASSES = frozenset({"PauliLindbladError", "LayerError"})
_LONGEST_DATE = 100


def decode(text: str | bytes, decoder: Any = None) -> Any:
    """Decode text that `encode`, or an encoder of qiskit-ibm-runtime, wrote.

    Args:
        text: The encoded value.
        decoder: In place of `RuntimeDecoder`: a subclass of `json.JSONDecoder`, or anything with
            `decode(text)`, such as a `ResultDecoder` class.

    Returns:
        The value. Qiskit is imported only if the text holds typed values.

    Raises:
        DecodingError: The text is not JSON, or holds a value that this environment cannot read, or
            that exceeds a limit of size or depth.
    """
    try:
        if isinstance(text, (bytes, bytearray)):
            text = text.decode("utf-8")
        if decoder is None:
            # Plain values need no check of each object.
            return _decode_json(text, RuntimeDecoder if '"__type__"' in text else None)
        if _is_json_decoder(decoder):
            return _decode_json(text, decoder)
    except DecodingError:
        raise
    # A ValueError is also raised for integers of more than 4300 digits.
    except (ValueError, RecursionError, MemoryError) as exc:
        raise DecodingError(
            f"Cannot decode {len(text)} characters as JSON: {exc}. If the program encodes with "
            "a custom encoder, pass the matching decoder."
        ) from exc
    return decoder.decode(text)


def _decode_json(text: str, decoder: type[json.JSONDecoder] | None) -> Any:
    with _limits.budget():
        value = json.loads(text, cls=decoder)
    if _limits.may_be_deep(text):
        _limits.require_shallow(value)
    return value


def _is_json_decoder(decoder: Any) -> bool:
    return inspect.isclass(decoder) and issubclass(decoder, json.JSONDecoder)


class RuntimeDecoder(json.JSONDecoder):
    """JSON decoder of qiskit-ibm-runtime with its gaps closed.

    The common types are decoded here; known others are left to the decoder of the installed
    qiskit-ibm-runtime, which is imported only then. A dict with an unknown tag is left unchanged.

    The text may come from a program of another user: see `_limits` for the limits.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.pop("encoding", None)  # json.loads of old programs passes it
        super().__init__(*args, object_hook=self.object_hook, **kwargs)

    def decode(self, s: str, *args: Any, **kwargs: Any) -> Any:
        """Decode a text within one budget of bytes."""
        with _limits.budget():
            return super().decode(s, *args, **kwargs)

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
        handler = _handler_of(tag) if isinstance(tag, str) else None
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


def _handler_of(tag: str) -> Callable[[dict[str, Any]], Any] | None:
    return _decode_upstream if tag in _UPSTREAM_TYPES else _HANDLERS.get(tag)


def _decode_datetime(obj: dict[str, Any]) -> datetime:
    text = obj["__value__"]
    if len(text) > _LONGEST_DATE:
        raise DecodingError(f"Cannot decode a date of {len(text)} characters.")
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # not written by isoformat(); dateutil comes with qiskit-ibm-runtime
        return _decode_upstream(obj)


def _decode_complex(obj: dict[str, Any]) -> complex:
    # Not `real + 1j * imag`, which turns infinities into NaN.
    real, imag = obj["__value__"]
    return complex(real, imag)


def _decode_array(obj: dict[str, Any]) -> Any:
    value = obj["__value__"]
    if isinstance(value, str):
        try:
            return _limits.inflate_array(base64.b64decode(value, validate=True))
        except DecodingError:
            raise
        except (ValueError, zlib.error):
            # IBM's servers tag the names of extrapolations as arrays.
            if len(value) > _LONGEST_DATE or not value.isidentifier():
                raise
            return value
    if obj.get("dtype") == "object":
        return _object_array(value, tuple(obj["shape"]))
    return _list_array(value)


def _list_array(value: Any) -> Any:
    """Return the array of nested lists, as encoders before 0.16 write it."""
    import numpy as np

    leaves, shape = _leaves(value)
    if all(isinstance(leaf, int | float | complex) for leaf in leaves):
        return np.array(value)
    if all(isinstance(leaf, str) for leaf in leaves):
        longest = max((len(leaf) for leaf in leaves), default=0)
        _limits.charge(4 * longest * len(leaves), f"an array of {len(leaves)} texts")
        return np.array(value)
    return _object_array(value, shape)


def _leaves(value: Any) -> tuple[list[Any], tuple[int, ...]]:
    """Return the elements of nested lists, which all have equal lengths, and their shape."""
    level, shape = [value], []
    while level and all(isinstance(item, list) for item in level):
        lengths = {len(item) for item in level}
        if len(lengths) > 1:
            break
        shape.append(lengths.pop())
        level = [leaf for item in level for leaf in item]
    return level, tuple(shape)


def _object_array(value: Any, shape: tuple[int, ...]) -> Any:
    """Return an array of objects, each element a value of the lists at the depth of the shape."""
    import numpy as np

    level = [value]
    for size in shape:
        if not all(isinstance(item, list) and len(item) == size for item in level):
            raise DecodingError(f"Cannot decode an array: its lists do not have the shape {shape}.")
        level = [leaf for item in level for leaf in item]
    array = np.empty(shape, dtype=object)
    for index, leaf in zip(np.ndindex(shape), level, strict=True):
        array[index] = leaf
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


def _decode_instruction(obj: dict[str, Any]) -> Any:
    return _decode_circuit(obj).data[0].operation


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

    The class must be in a list, and is looked up by name in `qiskit.quantum_info`. It is never
    imported from the module named in the text: this is safe with text of unknown origin, and finds
    classes that have moved.
    """
    name = str(obj.get("__class__"))
    if not str(obj.get("__module__")).startswith(_SETTINGS_PACKAGE):
        return obj
    if name not in _SETTINGS_CLASSES:
        return obj
    from qiskit import quantum_info

    arguments = _restore_int_keys(obj["__value__"])
    for argument in arguments.values():
        _require_plain_argument(argument, name)
    _charge_operator(name, arguments.get("data"))
    return getattr(quantum_info, name)(**arguments)


def _require_plain_argument(argument: Any, name: str) -> None:
    """Refuse arguments that a constructor would convert: a circuit would be simulated."""
    import numpy as np
    from qiskit.circuit import ParameterExpression
    from qiskit.quantum_info import PauliList

    plain = (str, int, float, complex, type(None), np.ndarray, ParameterExpression)
    parts = [argument]
    while parts:
        part = parts.pop()
        if isinstance(part, list | tuple):
            parts.extend(part)
        elif isinstance(part, np.ndarray) and part.dtype == object:
            parts.extend(item for item in part.flat if not isinstance(item, np.ndarray))
        elif name == "SparsePauliOp" and isinstance(part, PauliList):
            continue
        elif not isinstance(part, plain):
            raise DecodingError(
                f"Cannot decode {name} from an argument of type {type(part).__name__}."
            )


def _charge_operator(name: str, data: Any) -> None:
    """Charge what a constructor takes in addition to its arguments."""
    import numpy as np

    if name in ("PauliList", "SparsePauliOp") and isinstance(data, list):
        longest = max((len(label) for label in data if isinstance(label, str)), default=0)
        _limits.charge(2 * longest * len(data), f"a {name} of {len(data)} labels")
    elif name == "Clifford" and isinstance(data, np.ndarray | list):
        # It is checked by a product of matrices of integers: 0.6 s for 256 qubits.
        _limits.charge(len(data) ** 3 // 8, f"a Clifford of {len(data) // 2} qubits")
    elif name == "DensityMatrix" and np.ndim(data) != 2:
        raise DecodingError("Cannot decode a DensityMatrix whose data is not a matrix.")


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

    data = base64.standard_b64decode(obj["__value__"])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        _limits.charge(sum(member.file_size for member in members), "a sparse matrix")
        for member in members:
            # `read` stops at the size that is charged.
            _limits.require_array(archive.read(member))
    matrix = sparse.load_npz(io.BytesIO(data))
    if hasattr(matrix, "check_format"):
        # The default check leaves out the indices, which compiled code uses as addresses.
        matrix.check_format(full_check=True)
    return matrix


def _decode_bindings(obj: dict[str, Any]) -> Any:
    from qiskit.primitives.containers.bindings_array import BindingsArray

    value = obj["__value__"]
    data = {
        tuple(json.loads(key, cls=RuntimeDecoder)): array
        for key, array in (value.get("data") or {}).items()
    }
    return BindingsArray(data, shape=value.get("shape"))


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
    # qiskit-ibm-runtime calls any name of the module, and before 0.48 imports any module.
    is_known = str(obj.get("__module__")).startswith("qiskit_ibm_runtime.")
    is_known = is_known and obj.get("__class__") in _JSON_CLASSES
    return _decode_upstream(obj) if is_known else obj


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
    "Instruction": _decode_instruction,
    "BindingsArray": _decode_bindings,
    "Parameter": _decode_parameter,
    "ParameterExpression": _decode_expression,
    "ParameterVector": _decode_vector,
    "settings": _decode_settings,
    "spmatrix": _decode_sparse,
    "NoiseModel": _decode_noise_model,
    "to_json": _decode_to_json,
    "_json": _decode_json_object,
}
