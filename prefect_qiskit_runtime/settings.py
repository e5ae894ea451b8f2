"""Settings of the package, read from the environment (`PREFECT_QISKIT_RUNTIME_…`).

What belongs to one flow is on a block or an argument; here is what belongs to a machine.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

MEBIBYTE = 1024**2
_LARGEST_LIMIT_BYTES = 2**62


def _default_home() -> Path:
    # Prefect's own setting is read from the environment rather than through Prefect, whose
    # import takes more than a second and which neither the client nor the service needs.
    prefect_home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    return prefect_home / "qiskit-runtime"


class Settings(BaseSettings):
    """What can be set for all flows and for the service of this machine."""

    model_config = SettingsConfigDict(
        env_prefix="PREFECT_QISKIT_RUNTIME_", env_ignore_empty=True, frozen=True
    )

    home: Path = Field(
        default_factory=_default_home,
        description="Folder of the embedded service: its database, logs and token.",
    )
    start_timeout_seconds: float = Field(
        default=60.0, gt=0, description="How long a client waits for the embedded service to start."
    )
    idle_seconds: float = Field(
        default=900.0,
        gt=0,
        description="The embedded service ends after this time without job, session or stream.",
    )
    request_timeout_seconds: float = Field(
        default=60.0,
        gt=0,
        description=(
            "How long one request to a service may take. One without an answer is sent once more "
            "where that is safe."
        ),
    )
    flow_state_interval_seconds: float = Field(
        default=5.0,
        gt=0,
        description="How often a flow that waits for jobs asks Prefect whether it was cancelled.",
    )
    job_artifacts: int = Field(
        default=50,
        ge=0,
        description=(
            "How many jobs of a flow run get a summary artifact in Prefect; 0 for none. What they "
            "show is stored with the results of Prefect for every job."
        ),
    )
    record_days: float = Field(
        default=90.0,
        ge=0,
        description=(
            "`prefect-qiskit-runtime records clean` deletes what Prefect's result storage keeps of "
            "jobs after this time; nothing does so by itself."
        ),
    )
    submission_grace_seconds: float = Field(
        default=120.0,
        gt=0,
        description=(
            "How long a job may take to be found by its tag on a service that knows no keys (IBM "
            "Quantum). After a submission without an answer it is looked for during this time."
        ),
    )
    unclear_submission: Literal["resubmit", "hold"] = Field(
        default="resubmit",
        description=(
            "What happens if it is not found then: the job is submitted again, or the call fails."
        ),
    )
    max_concurrent_jobs: int = Field(
        default_factory=lambda: max(2, os.cpu_count() or 1),
        ge=1,
        description="How many jobs the service runs at once; further ones wait in its queue.",
    )
    max_execution_seconds: int = Field(
        default=8 * 3600,
        ge=1,
        le=2**31 - 1,
        description="Wall-clock limit of a job whose program names none, and the highest allowed.",
    )
    max_session_seconds: int = Field(
        default=28_800,
        ge=1,
        description="Longest max time of a session, and that of sessions that name none.",
    )
    session_idle_seconds: int = Field(
        default=60,
        ge=1,
        description="A session without a job becomes inactive after this time.",
    )
    credentials_wait_seconds: float = Field(
        default=3600.0,
        gt=0,
        description=(
            "How long a job on quantum hardware waits for its credentials, where the flow that has"
            " them is away."
        ),
    )
    terminate_grace_seconds: float = Field(
        default=5.0, ge=0, description="Time between the request to end a job and its kill."
    )
    job_memory_bytes: int = Field(
        default=8192 * MEBIBYTE,
        ge=64 * MEBIBYTE,
        le=_LARGEST_LIMIT_BYTES,
        description="Memory limit of a job's process.",
    )
    job_file_bytes: int = Field(
        default=1024 * MEBIBYTE,
        ge=MEBIBYTE,
        le=_LARGEST_LIMIT_BYTES,
        description="Largest file a job may write.",
    )
    log_bytes: int = Field(
        default=8 * MEBIBYTE, ge=64 * 1024, description="How much of a job's log is kept."
    )
    duplicate_program_names: Literal["allow", "refuse"] = Field(
        default="allow",
        description="Whether one user may have several programs of one name, as IBM's service"
        " allowed; `refuse` answers an upload of a name that is taken with 409.",
    )
    retention_days: float = Field(
        default=90.0, gt=0, description="The embedded service keeps ended jobs this long."
    )
    retention_bytes: int = Field(
        default=5 * 1024 * MEBIBYTE,
        gt=0,
        description="Above this size the embedded service drops its oldest ended jobs.",
    )

    def embedded_dir(self, protocol_version: int) -> Path:
        """Folder of the embedded service of one protocol version."""
        return self.home.expanduser().resolve() / f"v{protocol_version}"
