"""A service's identity and status, and the discovery of the embedded service."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import metadata
from ipaddress import ip_address
from typing import Literal

from pydantic import Field

from prefect_qiskit_runtime.models._wire import PROTOCOL_VERSION, Side, Wire


@cache
def package_version() -> str:
    """Return the version of this package."""
    try:
        return metadata.version("prefect-qiskit-runtime")
    except metadata.PackageNotFoundError:  # imported from a source tree
        return "0.0.0"


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's, which no network reaches."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class ServiceKind:
    """Differences between services that flows have to know; they never ask for the name.

    Attributes:
        runs_programs: Whether users upload programs. Where they cannot, only primitives run.
        has_interim_results: Whether jobs publish results before they end.
        is_keyed: Whether equal idempotency keys give one job, and one session. Without keys the
            caller looks for the job before and after a submission.
        takes_seed: Whether its backends are simulators: jobs take seeds, and options that only a
            simulator has.
        transpiles_here: Whether circuits are transpiled before they are sent, because jobs take
            only the instruction set of a device.
        reads_our_forms: Whether jobs decode their inputs with our codec; IBM's read plain QPY.
        is_billed: Whether the seconds on its devices cost money: they are estimated and limited.
    """

    runs_programs: bool
    has_interim_results: bool
    is_keyed: bool
    takes_seed: bool
    transpiles_here: bool
    reads_our_forms: bool
    is_billed: bool


OUR_SERVICE = ServiceKind(
    runs_programs=True,
    has_interim_results=True,
    is_keyed=True,
    takes_seed=True,
    transpiles_here=False,
    reads_our_forms=True,
    is_billed=False,
)
"""The embedded service, and a team's."""

IBM_QUANTUM = ServiceKind(
    runs_programs=False,
    has_interim_results=False,
    is_keyed=False,
    takes_seed=False,
    transpiles_here=True,
    reads_our_forms=False,
    is_billed=True,
)
"""IBM's cloud: devices, without programs and interim results since 2024."""


SIMULATION_METHOD = "simulation-method"

BASELINE_CAPABILITIES = (
    "programs",
    "keyed-submission",
    "key-fingerprint",
    "interim-results",
    "stream",
    "private-acknowledgement",
    "sessions",
    "primitive-extensions",
    "session-list",
    "hardware",
)
"""The capabilities of a service that does not publish its list."""

CAPABILITIES = (*BASELINE_CAPABILITIES, "key-tombstones", "timed-instructions", SIMULATION_METHOD)
"""The capabilities of this release of the service. A name never changes its meaning."""


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
        capabilities: Names of what the service can do. A service without the list has the baseline.
    """

    product: Literal["prefect-qiskit-runtime"]
    protocol_version: int
    package_version: str
    proof: str | None = None
    capabilities: Side[list[str]] = Field(default_factory=lambda: list(BASELINE_CAPABILITIES))


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
