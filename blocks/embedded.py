"""Save the block `embedded`: a backend of the embedded service, which needs no credentials.

    python blocks/embedded.py

Environment variables:
    RUNTIME_BACKEND: Name of the backend; default: aer_simulator.
"""

from __future__ import annotations

import os

from variables import run

from prefect_qiskit_runtime import RuntimeBackend

NAME = "embedded"


def save() -> list[str]:
    """Save the block, overwriting one with this name, and return its slug."""
    backend = RuntimeBackend(name=os.environ.get("RUNTIME_BACKEND") or "aer_simulator")
    backend.save(NAME, overwrite=True)
    return [f"qiskit-runtime-backend/{NAME}"]


if __name__ == "__main__":
    run(save)
