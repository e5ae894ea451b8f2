"""The codec: values to text and back, at the two ends of a job.

What it does: encodes inputs, interim results and results as the JSON that qiskit-ibm-runtime
writes and reads, closes its gaps (parameter expressions, numpy scalars, object arrays,
`SparsePauliOp` with parameters, Clifford, sets of tuples), and says where in the inputs a value
sits that has no encoding.

What it never does: pickle; import a class that the text names, outside of Qiskit's own
operators and states (any other `settings` object arrives as the dict it travelled as); import
Qiskit for values that are plain JSON; drop a value silently.

Entry points: `encode`, `encode_inputs`, `decode`, `fingerprint` (what identifies a value in place
of its bytes), and for subclassing `RuntimeEncoder` and `RuntimeDecoder`. Quantum programs have a
form of their own: `quantum_program_inputs` and `QuantumProgramResultDecoder`.

What changes on the way, as with qiskit-ibm-runtime: tuples become lists, keys of dicts become
text, an object with `to_json()` arrives as its JSON text, and NaN and infinities are written as
`NaN`, `Infinity`, `-Infinity`, which Python reads and strict JSON parsers do not.
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
