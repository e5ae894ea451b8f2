"""Seeds of measurements, for flows that also run on devices."""

from __future__ import annotations

from prefect_qiskit_runtime import RuntimeBackend


def measurement_seed(seed: int, backend: RuntimeBackend | str) -> int | None:
    """Return the seed for measurements on a backend: None for a service with devices only.

    Args:
        seed: The seed for simulators.
        backend: The backend of the measurement.
    """
    takes_seed = not isinstance(backend, RuntimeBackend) or backend.kind.takes_seed
    return seed if takes_seed else None
