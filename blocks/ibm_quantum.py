"""Save the blocks `ibm-quantum`: an API key of IBM Quantum, and one of its backends.

    QISKIT_IBM_TOKEN=… IBM_QUANTUM_BACKEND=ibm_… python blocks/ibm_quantum.py

Environment variables (qiskit-ibm-runtime reads the first two as well):
    QISKIT_IBM_TOKEN: API key of IBM Cloud.
    QISKIT_IBM_INSTANCE: CRN or name of the instance; default: the only one of the account.
    IBM_QUANTUM_BACKEND: Name of the backend.
"""

from __future__ import annotations

import os

from variables import read, run

from prefect_qiskit_runtime import IBMQuantumCredentials, RuntimeBackend

NAME = "ibm-quantum"
REQUIRED = {
    "QISKIT_IBM_TOKEN": "API key, from https://cloud.ibm.com/iam/apikeys",
    "IBM_QUANTUM_BACKEND": "name of a backend, such as ibm_fez",
}


def save() -> list[str]:
    """Save both blocks, overwriting those with this name, and return their slugs."""
    api_key, name = read(REQUIRED)
    instance = os.environ.get("QISKIT_IBM_INSTANCE") or None
    login = {"api_key": api_key, "instance": instance}
    credentials = IBMQuantumCredentials.model_validate(login)
    credentials.save(NAME, overwrite=True)
    # The backend refers to the saved login, so a new key has to be saved in one place only.
    RuntimeBackend(name=name, service="ibm", credentials=credentials).save(NAME, overwrite=True)
    return [f"ibm-quantum-credentials/{NAME}", f"qiskit-runtime-backend/{NAME}"]


if __name__ == "__main__":
    run(save)
