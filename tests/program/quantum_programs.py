"""Running a circuit as the only item of a quantum program, where qiskit-ibm-runtime has them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from qiskit.circuit import QuantumCircuit

from prefect_qiskit_runtime import codec
from prefect_qiskit_runtime.program import ProgramBackend


def execute_item(
    backend: ProgramBackend, circuit: QuantumCircuit, rows: Any, *, shots: int, **simulator: Any
) -> dict[str, Any]:
    """Return the bits of each classical register, for each set of parameter values."""
    # Only from qiskit-ibm-runtime 0.51 on.
    from qiskit_ibm_runtime import QuantumProgram
    from qiskit_ibm_runtime.decoders.executor.decoder import ExecutorResultDecoder
    from qiskit_ibm_runtime.options_models import ExecutorOptions
    from qiskit_ibm_runtime.quantum_program.params_converters import (
        QUANTUM_PROGRAM_PARAMS_CONVERTERS,
    )

    from prefect_qiskit_runtime.program.executor import run_executor

    program = QuantumProgram(shots=shots)
    program.append_circuit_item(circuit, np.array(rows))
    options = ExecutorOptions.model_validate({"experimental": {"simulator": simulator}})
    model = QUANTUM_PROGRAM_PARAMS_CONVERTERS["v2.0"].encoder(program, options)
    inputs = codec.decode(json.dumps(model.model_dump(mode="json")))
    result = run_executor(backend, inputs, unsupported_options="refuse")
    (registers,) = ExecutorResultDecoder.decode(codec.encode(result))
    return registers
