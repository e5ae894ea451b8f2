"""Logins to a service that imitates IBM Quantum: blocks of ours, and variables for IBM's client."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_qiskit_runtime import IBMQuantumCredentials, RuntimeBackend


def ibm_credentials(url: str, api_key: str) -> IBMQuantumCredentials:
    """Return the credentials block for the service at an address."""
    return IBMQuantumCredentials.model_validate({"api_key": api_key, "url": f"{url}/api/v1"})


def ibm_backend(
    url: str, api_key: str, name: str = "aer_simulator", **fields: Any
) -> RuntimeBackend:
    """Return a backend block for the service at an address."""
    credentials = ibm_credentials(url, api_key)
    return RuntimeBackend(name=name, service="ibm", credentials=credentials, **fields)


def point_ibms_client_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables that the documentation names: the service in place of IBM's login."""
    for name, path in (
        ("IAM_URL", ""),
        ("GLOBAL_SEARCH_URL", ""),
        ("GLOBAL_CATALOG_URL", "/catalog/api/v1"),
    ):
        monkeypatch.setenv(name, url + path)
    monkeypatch.setenv("NO_PROXY", "*")
