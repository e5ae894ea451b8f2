"""The public program `qasm3-runner`: run circuits, or texts in OpenQASM 3."""

import sys

from qiskit import QuantumCircuit, transpile

from prefect_qiskit_runtime.program.legacy.openqasm3 import read_openqasm3
from prefect_qiskit_runtime.program.legacy.runner_result import run_circuits, run_options
from prefect_qiskit_runtime.program.transpiled import as_written


def main(
    backend,
    user_messenger,
    *,
    circuits,
    transpiler_config=None,
    exporter_config=None,
    run_config=None,
    qasm3_args=None,
    skip_transpilation=False,
    use_measurement_mitigation=False,
    merge_circuits=None,
    init_circuit=None,
    **more_run_config,
):
    """Run `circuits`; `qasm3_args` are the values of the inputs that the texts declare."""
    if init_circuit is not None:
        raise ValueError(
            "init_circuit: no simulator runs it, and every shot begins in 0. Compose it with "
            "each circuit instead."
        )
    if exporter_config or merge_circuits:
        sys.stderr.write("exporter_config and merge_circuits have no effect on a simulator.\n")
    options = run_options(backend, {**(run_config or {}), **more_run_config})
    circuits = [circuits] if isinstance(circuits, (str, QuantumCircuit)) else list(circuits)
    circuits = [
        read_openqasm3(circuit, qasm3_args or {}, f"circuits[{index}]")
        if isinstance(circuit, str)
        else circuit
        for index, circuit in enumerate(circuits)
    ]
    if not skip_transpilation:
        config = {"target": backend.target, "optimization_level": 1, **(transpiler_config or {})}
        circuits = as_written(circuits, lambda ready: transpile(ready, **config))
    return run_circuits(backend, circuits, options, mitigate=use_measurement_mitigation)
