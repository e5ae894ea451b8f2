"""The primitive `executor`: quantum programs, as `Executor` of qiskit-ibm-runtime sends them."""

from prefect_qiskit_runtime.program.executor import run_executor


def main(backend, user_messenger, *, unsupported_options="record", **inputs):
    """Run a quantum program; the inputs are those of the schema that `schema_version` names."""
    return run_executor(backend, inputs, unsupported_options=unsupported_options)
