"""The primitive `sampler`: bit strings measured in circuits."""

from prefect_qiskit_runtime.program.legacy.primitives import run_legacy_sampler
from prefect_qiskit_runtime.program.primitives import Request, run_sampler


def main(backend, user_messenger, *, unsupported_options="record", **inputs):
    """Sample PUBs, or the `circuits` of clients before 2024.

    The inputs are those of qiskit-ibm-runtime; `unsupported_options` and `transpile` are ours.
    """
    if "circuits" in inputs:
        return run_legacy_sampler(backend, inputs, unsupported_options=unsupported_options)
    return run_sampler(backend, Request.read(inputs, unsupported_options=unsupported_options))
