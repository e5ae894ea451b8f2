"""Save the blocks `team`: the login to a team's Runtime service, and one of its backends.

    RUNTIME_SERVICE_URL=https://… RUNTIME_SERVICE_TOKEN=… python blocks/team_service.py

Environment variables:
    RUNTIME_SERVICE_URL: Address of the service.
    RUNTIME_SERVICE_TOKEN: Your personal token for it.
    RUNTIME_SERVICE_INSTANCE: Instance to work in; default: the service's.
    RUNTIME_SERVICE_BACKEND: Name of the backend; default: aer_simulator.
"""

from __future__ import annotations

import os

from variables import read, run

from prefect_qiskit_runtime import RuntimeBackend, RuntimeServiceCredentials

NAME = "team"
REQUIRED = {
    "RUNTIME_SERVICE_URL": "address of the team's service",
    "RUNTIME_SERVICE_TOKEN": "your personal token for it",
}


def save() -> list[str]:
    """Save both blocks, overwriting those with this name, and return their slugs."""
    url, token = read(REQUIRED)
    instance = os.environ.get("RUNTIME_SERVICE_INSTANCE") or None
    login = {"url": url, "token": token, "instance": instance}
    credentials = RuntimeServiceCredentials.model_validate(login)
    credentials.save(NAME, overwrite=True)
    # The backend refers to the saved login, so a new token has to be saved in one place only.
    name = os.environ.get("RUNTIME_SERVICE_BACKEND") or "aer_simulator"
    backend = RuntimeBackend(name=name, service="team", credentials=credentials)
    backend.save(NAME, overwrite=True)
    return [f"qiskit-runtime-service-credentials/{NAME}", f"qiskit-runtime-backend/{NAME}"]


if __name__ == "__main__":
    run(save)
