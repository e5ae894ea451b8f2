"""Seeds of what is measured, for flows that also run on devices."""

from __future__ import annotations

from prefect_qiskit_runtime import RuntimeBackend


def measurement_seed(seed: int, backend: RuntimeBackend | str) -> int | None:
    """Return the seed of what is measured on a backend: None where there are devices only.

    Args:
        seed: What a simulator takes.
        backend: Where it is measured.
    """
    takes_seed = not isinstance(backend, RuntimeBackend) or backend.kind.takes_seed
    return seed if takes_seed else None
