"""The primitive `estimator`: expectation values of observables."""

from prefect_qiskit_runtime.program.legacy.primitives import run_legacy_estimator
from prefect_qiskit_runtime.program.primitives import Request, run_estimator


def main(backend, user_messenger, *, unsupported_options="record", **inputs):
    """Estimate PUBs, or the `circuits` of clients before 2024.

    The inputs are those of qiskit-ibm-runtime; `unsupported_options` and `transpile` are ours.
    """
    if "circuits" in inputs:
        return run_legacy_estimator(backend, inputs, unsupported_options=unsupported_options)
    return run_estimator(backend, Request.read(inputs, unsupported_options=unsupported_options))
