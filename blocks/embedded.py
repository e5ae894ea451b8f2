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
    """Save the block, over the one of this name, and return what was saved."""
    backend = RuntimeBackend(name=os.environ.get("RUNTIME_BACKEND") or "aer_simulator")
    backend.save(NAME, overwrite=True)
    return [f"qiskit-runtime-backend/{NAME}"]


if __name__ == "__main__":
    run(save)
