"""The shots behind a value, for flows that choose an optimizer by whether values are exact."""

from __future__ import annotations

import math
from typing import Any

from prefect_qiskit_runtime import RuntimeBackend, list_backends


def estimator_shots(backend: RuntimeBackend | str, shots: int | None) -> int | None:
    """Return the shots of a call, or else those that the block's settings mean; None if neither.

    Args:
        backend: The backend of the call.
        shots: The shots that the call sets.
    """
    options = _estimator_options(backend)
    if shots is None:
        shots = options.get("default_shots")
    precision = options.get("default_precision")
    return math.ceil(1 / precision**2) if shots is None and precision is not None else shots


def are_exact(backend: RuntimeBackend | str, shots: int | None) -> bool:
    """Return whether the estimator computes values rather than sampling them.

    It does so without shots and precision, on the ideal backend of a service of this package.

    Args:
        backend: The backend of the call.
        shots: The shots that the call sets.
    """
    if estimator_shots(backend, shots) is not None:
        return False
    if isinstance(backend, RuntimeBackend) and not backend.kind.takes_seed:
        return False
    if _estimator_options(backend).get("simulator", {}).get("noise_model") is not None:
        return False
    name = backend if isinstance(backend, str) else backend.name
    listed = list_backends(backend=backend)
    return any(status.simulator for status in listed if status.name == name)


def _estimator_options(backend: RuntimeBackend | str) -> dict[str, Any]:
    return {} if isinstance(backend, str) else backend.primitive_options("estimator")
