"""The codec: values to text and back, at the two ends of a job.

It encodes inputs, interim results and results as the JSON that qiskit-ibm-runtime writes and
reads, closes its gaps (parameter expressions, numpy scalars, object arrays, `SparsePauliOp` with
parameters, Clifford, sets of tuples), and reports the path of any input that has no encoding.

It never pickles; never builds a class named by the text, except the listed operators and states of
Qiskit (any other `settings` object stays a dict); never imports Qiskit for values that are plain
JSON; and never drops a value silently. A text may come from a program of another user:
the memory and time of decoding are limited (`_limits`, `_qpy_limits`).

Entry points: `encode`, `encode_inputs`, `decode`, `fingerprint` (a short text that identifies a
value), and for subclassing `RuntimeEncoder` and `RuntimeDecoder`. Quantum programs have a separate
form: `quantum_program_inputs` and `QuantumProgramResultDecoder`.

As with qiskit-ibm-runtime, some values change on the way: tuples become lists, keys of dicts become
text, an object with `to_json()` arrives as its JSON text, and NaN and infinities are written as
`NaN`, `Infinity`, `-Infinity`, which Python reads but strict JSON parsers do not.
"""

from prefect_qiskit_runtime.codec._decoder import RuntimeDecoder, decode
from prefect_qiskit_runtime.codec._encoder import RuntimeEncoder, encode, encode_inputs
from prefect_qiskit_runtime.codec._fingerprint import fingerprint
from prefect_qiskit_runtime.codec._quantum_programs import (
    QuantumProgramResultDecoder,
    joined_program_results,
    quantum_program_identity,
    quantum_program_inputs,
    quantum_program_part,
    require_quantum_program,
)
from prefect_qiskit_runtime.codec._result_decoders import DecoderLike, Decoders, ResultDecoderLike

__all__ = [
    "DecoderLike",
    "Decoders",
    "QuantumProgramResultDecoder",
    "ResultDecoderLike",
    "RuntimeDecoder",
    "RuntimeEncoder",
    "decode",
    "encode",
    "encode_inputs",
    "fingerprint",
    "joined_program_results",
    "quantum_program_identity",
    "quantum_program_inputs",
    "quantum_program_part",
    "require_quantum_program",
]
