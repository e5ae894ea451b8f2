"""The primitive `estimator`: expectation values of observables."""

from prefect_qiskit_runtime.program._primitives import Request, run_estimator


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
    """Estimate `pubs`; the inputs are those of qiskit-ibm-runtime, and two of ours."""
    return run_estimator(backend, Request(pubs, options, unsupported_options, transpile, beside))
