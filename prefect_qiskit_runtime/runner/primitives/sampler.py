"""The primitive `sampler`: bit strings measured in circuits."""

from prefect_qiskit_runtime.program._primitives import Request, run_sampler


def main(
    backend,
    user_messenger,
    *,
    pubs,
    options=None,
    version=2,
    support_qiskit=True,
    unsupported_options="record",
    transpile=False,
    **beside,
):
    """Sample `pubs`; the inputs are those of qiskit-ibm-runtime, and two of ours."""
    return run_sampler(backend, Request(pubs, options, unsupported_options, transpile, beside))
