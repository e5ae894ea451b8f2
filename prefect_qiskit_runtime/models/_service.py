"""A service's identity and status, and the discovery of the embedded service."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from importlib import metadata
from typing import Literal

from prefect_qiskit_runtime.models._wire import PROTOCOL_VERSION, Wire


@cache
def package_version() -> str:
    """Return the version of this package."""
    try:
        return metadata.version("prefect-qiskit-runtime")
    except metadata.PackageNotFoundError:  # imported from a source tree
        return "0.0.0"


class Discovery(Wire):
    """The discovery file, by which clients find the embedded service of a home. No token in it.

    Attributes:
        host: Name of the machine that the service runs on.
        boot_id: The kernel's id of this boot; a file from another boot is stale.
    """

    url: str
    pid: int
    host: str
    boot_id: str
    protocol_version: int = PROTOCOL_VERSION
    package_version: str
    started_at: datetime


class ServiceIdentity(Wire):
    """Answer of `/.well-known/qiskit-runtime`: the service's identity and proof of its token.

    Attributes:
        proof: Hex HMAC-SHA256 of the caller's nonce, keyed with the token; None without a nonce.
    """

    product: Literal["prefect-qiskit-runtime"]
    protocol_version: int
    package_version: str
    proof: str | None = None


class ServiceStatus(Wire):
    """The status of a running service."""

    package_version: str
    protocol_version: int
    pid: int
    started_at: datetime
    jobs_queued: int = 0
    jobs_running: int = 0
    streams_open: int = 0
    sessions_open: int = 0
