"""What a service says of itself, and how the embedded one is found."""

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
    except metadata.PackageNotFoundError:  # a source tree on the path
        return "0.0.0"


class Discovery(Wire):
    """How a client finds the embedded service of a home. Holds no token.

    Attributes:
        host: Name of the machine it runs on.
        boot_id: The kernel's id of this boot; a file of another boot is stale.
    """

    url: str
    pid: int
    host: str
    boot_id: str
    protocol_version: int = PROTOCOL_VERSION
    package_version: str
    started_at: datetime


class ServiceIdentity(Wire):
    """Answer of `/.well-known/qiskit-runtime`: who listens, and proof that it knows the token.

    Attributes:
        proof: Hex HMAC-SHA256 of the caller's nonce under the token, where a nonce was given.
    """

    product: Literal["prefect-qiskit-runtime"]
    protocol_version: int
    package_version: str
    proof: str | None = None


class ServiceStatus(Wire):
    """What a running service says of itself."""

    package_version: str
    protocol_version: int
    pid: int
    started_at: datetime
    jobs_queued: int = 0
    jobs_running: int = 0
    streams_open: int = 0
    sessions_open: int = 0
