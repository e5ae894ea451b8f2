"""The public program `circuit-runner`: compile circuits, run them, mitigate readout errors."""

from qiskit import QuantumCircuit, transpile

from prefect_qiskit_runtime.program.legacy.runner_result import run_circuits, run_options
from prefect_qiskit_runtime.program.transpiled import as_written


def main(
    backend,
    user_messenger,
    *,
    circuits,
    initial_layout=None,
    layout_method=None,
    routing_method=None,
    translation_method=None,
    seed_transpiler=None,
    optimization_level=1,
    transpiler_options=None,
    skip_transpilation=False,
    measurement_error_mitigation=False,
    schedule_circuit=False,
    scheduling_method=None,
    inst_map=None,
    meas_map=None,
    **run_config,
):
    """Run `circuits`; `run_config` are the options of `backend.run`, such as `shots`."""
    if schedule_circuit:
        raise ValueError(
            "schedule_circuit: pulse schedules are gone since Qiskit 2. Leave it out, or upload "
            "a program of that time and run it in an image with an older Qiskit."
        )
    options = run_options(backend, run_config)
    circuits = [circuits] if isinstance(circuits, QuantumCircuit) else list(circuits)
    if not skip_transpilation:
        config = {
            "target": backend.target,
            "initial_layout": initial_layout,
            "layout_method": layout_method,
            "routing_method": routing_method,
            "translation_method": translation_method,
            "seed_transpiler": seed_transpiler,
            "optimization_level": 1 if optimization_level is None else optimization_level,
            **(transpiler_options or {}),
        }
        circuits = as_written(circuits, lambda ready: transpile(ready, **config))
    return run_circuits(backend, circuits, options, mitigate=measurement_error_mitigation)
