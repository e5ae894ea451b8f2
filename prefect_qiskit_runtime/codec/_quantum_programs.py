"""Quantum programs and their results as text, in the versioned form of qiskit-ibm-runtime."""

from __future__ import annotations

import base64
import contextlib
import copy
import io
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from prefect_qiskit_runtime.codec import _limits, seams
from prefect_qiskit_runtime.codec._expressions import refuse_changed_expressions
from prefect_qiskit_runtime.codec._wire_circuit import to_wire
from prefect_qiskit_runtime.codec.delays import with_restored_delays
from prefect_qiskit_runtime.errors import ConfigurationError, DecodingError, EncodingError

_ZLIB_HEADER = b"x"
_NEEDED = (
    "Quantum programs need a qiskit-ibm-runtime that has Executor, such as 0.51; the one in this "
    "environment has none."
)


def quantum_program_inputs(
    program: Any,
    *,
    execution: dict[str, Any],
    experimental: dict[str, Any],
    is_for_ibm: bool = False,
) -> dict[str, Any]:
    """Return the inputs of an executor job.

    Args:
        program: A `QuantumProgram` of qiskit-ibm-runtime or samplomatic.
        execution: The options of the section `execution`, as plain JSON.
        experimental: The options of the section `experimental`, as plain JSON.
        is_for_ibm: Whether the reader is IBM's service, which does not know our own forms.

    Raises:
        ConfigurationError: This environment does not support quantum programs.
        EncodingError: `program` is not a quantum program, cannot be written, or would arrive
            changed.
    """
    converter = seams.executor_converter()
    if converter is None:
        raise ConfigurationError(_NEEDED)
    from qiskit_ibm_runtime import QuantumProgram
    from qiskit_ibm_runtime.options_models import ExecutorOptions

    require_quantum_program(program)
    if not isinstance(program, QuantumProgram):
        program = QuantumProgram.from_(program)
    program = _on_the_wire(program, is_for_ibm=is_for_ibm)
    refuse_changed_expressions([item.circuit for item in program.items])
    try:
        options = ExecutorOptions.model_validate(
            {"execution": execution, "experimental": experimental}
        )
        return converter.encoder(program, options).model_dump(mode="json")
    except ValueError as exc:
        fault = seams.first_fault(exc)
        raise EncodingError(f"The quantum program cannot be written: {fault}") from exc


def _on_the_wire(program: Any, *, is_for_ibm: bool) -> Any:
    """Return a copy of a quantum program whose circuits survive QPY unchanged."""
    items = []
    for index, item in enumerate(program.items):
        try:
            circuit = to_wire(item.circuit, is_for_ibm=is_for_ibm)
        except EncodingError as exc:
            raise EncodingError(
                f"The circuit of item {index} of the quantum program cannot be sent: {exc}.",
                path=f"$.quantum_program.items[{index}]",
                rule="circuits that can be sent",
            ) from exc
        sent = item if circuit is item.circuit else copy.copy(item)
        sent.circuit = circuit
        items.append(sent)
    part = copy.copy(program)
    part.items = items
    return part


def require_quantum_program(program: Any) -> Any:
    """Return `program` unchanged if it is a quantum program.

    Raises:
        ConfigurationError: This environment does not support quantum programs.
        EncodingError: `program` is not a quantum program.
    """
    if seams.executor_converter() is None:
        raise ConfigurationError(_NEEDED)
    from samplomatic.quantum_program import QuantumProgram

    if not isinstance(program, QuantumProgram):
        raise EncodingError(
            f"The executor runs a QuantumProgram, not {type(program).__name__}: make one with "
            "qiskit_ibm_runtime.QuantumProgram(shots=…) and its append_circuit_item."
        )
    return program


def quantum_program_part(program: Any, items: range) -> Any:
    """Return a copy of a quantum program that has only some of its items."""
    part = copy.copy(program)
    part.items = program.items[items.start : items.stop]
    return part


def joined_program_results(results: Sequence[Any], parts: Sequence[range]) -> Any:
    """Join the results of the parts of a quantum program into one result.

    Args:
        results: The `QuantumProgramResult` of each part.
        parts: The items of each part, in order.
    """
    first = results[0]
    spans = [
        replace(span, parts=[replace(p, idx_item=p.idx_item + part.start) for p in span.parts])
        for result, part in zip(results, parts, strict=True)
        for span in result.metadata.chunk_timing
    ]
    return type(first)(
        [item for result in results for item in result],
        metadata=replace(first.metadata, chunk_timing=spans),
        passthrough_data=first.passthrough_data,
    )


def quantum_program_identity(
    inputs: Mapping[str, Any], circuits: Sequence[Any] | None = None
) -> dict[str, Any]:
    """Return executor inputs with circuits in place of their bytes, for `fingerprint`.

    Args:
        inputs: The inputs that `quantum_program_inputs` returned.
        circuits: The circuits before they were written; None to read them from the inputs, where
            some gates are unrolled.
    """
    program = inputs.get("quantum_program")
    sent = program.get("circuits") if isinstance(program, Mapping) else None
    if not isinstance(program, Mapping) or not isinstance(sent, Mapping):
        return dict(inputs)
    if circuits is None:
        from qiskit import qpy

        data = zlib.decompress(base64.standard_b64decode(sent["b64_data"]))
        circuits = [with_restored_delays(circuit) for circuit in qpy.load(io.BytesIO(data))]
    return {**inputs, "quantum_program": {**program, "circuits": list(circuits)}}


class QuantumProgramResultDecoder:
    """Decodes the result of the executor into a `QuantumProgramResult`."""

    @staticmethod
    def decode(data: str) -> Any:
        """Decode a result.

        Raises:
            ConfigurationError: This environment does not support quantum programs.
            DecodingError: The text is not such a result, or its version is unknown here.
        """
        decoder = seams.executor_decoder()
        if decoder is None:
            raise ConfigurationError(_NEEDED)
        try:
            with _limits.budget():
                _require_plain_result(data)
            return decoder.decode(data)
        except DecodingError:
            raise
        # The models of the schemas and the decoder each have their own errors.
        except Exception as exc:
            raise DecodingError(f"The result of a quantum program cannot be read: {exc}") from exc


def _require_plain_result(data: str) -> None:
    """Refuse a result that holds typed values, or arrays that are not as large as they say.

    qiskit-ibm-runtime would decode typed values without limits; results of the executor have none.
    """
    _limits.require_shallow(json.loads(data, object_hook=_require_plain_object))


def _require_plain_object(obj: dict[str, Any]) -> dict[str, Any]:
    if "__type__" in obj:
        raise DecodingError("Cannot decode the result of a quantum program with typed values.")
    text, shape, dtype = obj.get("data"), obj.get("shape"), obj.get("dtype")
    if isinstance(text, str) and isinstance(shape, list) and isinstance(dtype, str):
        bits = dtype[1:]  # as in "f64"; otherwise "bool"
        size = math.prod(shape) * (int(bits) // 8 if bits.isdecimal() else 1)
        _limits.charge(size, f"an array of the shape {shape!r:.80}")
        packed = base64.b64decode(text)
        if packed[:1] == _ZLIB_HEADER:
            # Plain data may begin with this byte as well; it is then not compressed data.
            with contextlib.suppress(zlib.error):
                stream = zlib.decompressobj()
                if len(stream.decompress(packed, size + 1)) > size:
                    raise DecodingError("Cannot decode an array that is larger than its shape.")
    return obj
