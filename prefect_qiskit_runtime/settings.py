"""Settings of the package, read from the environment (`PREFECT_QISKIT_RUNTIME_…`).

Settings of one flow are fields of a block or arguments of a call; these are settings of a machine.
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
    """Settings for all flows and for the service of this machine."""

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
        description="The embedded service ends after this time without a job, session or stream.",
    )
    request_timeout_seconds: float = Field(
        default=60.0,
        gt=0,
        description=(
            "How long one request to a service may take. A request without a reply is sent once "
            "more if that is safe."
        ),
    )
    flow_state_interval_seconds: float = Field(
        default=5.0,
        gt=0,
        description=(
            "How often a flow that waits for jobs asks Prefect whether it was cancelled, and for "
            "how long a submission relies on the answer."
        ),
    )
    job_artifacts: int = Field(
        default=50,
        ge=0,
        description=(
            "How many jobs of a flow run get a summary artifact in Prefect; 0 for none. The "
            "summary of every job is stored with Prefect's results."
        ),
    )
    record_days: float = Field(
        default=90.0,
        ge=0,
        description=(
            "`prefect-qiskit-runtime records clean` deletes the records of jobs in Prefect's "
            "result storage after this time; they are not deleted automatically."
        ),
    )
    submission_grace_seconds: float = Field(
        default=120.0,
        gt=0,
        description=(
            "How long a job may take to be found by its tag on a service without submission keys "
            "(IBM Quantum). After a submission without a reply, the job is searched for during "
            "this time."
        ),
    )
    unclear_submission: Literal["resubmit", "hold"] = Field(
        default="resubmit",
        description=(
            "Action if the job is not found in that time: submit it again, or let the call fail."
        ),
    )
    decoded_bytes: int = Field(
        default=1024 * MEBIBYTE,
        gt=0,
        description=(
            "Memory that the values of one result may take when they are decoded. The result of "
            "another user's program may be a short text that decodes to much more."
        ),
    )
    max_concurrent_jobs: int = Field(
        default_factory=lambda: max(2, os.cpu_count() or 1),
        ge=1,
        description="How many jobs the service runs at once; further jobs wait in its queue.",
    )
    max_execution_seconds: int = Field(
        default=8 * 3600,
        ge=1,
        le=2**31 - 1,
        description="Wall-clock limit of a job whose program sets none, and the highest allowed.",
    )
    max_session_seconds: int = Field(
        default=28_800,
        ge=1,
        description="Longest max time of a session, and the default for sessions that set none.",
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
            "How long a job on quantum hardware waits for its credentials if the flow that has"
            " them is not connected."
        ),
    )
    terminate_grace_seconds: float = Field(
        default=5.0, ge=0, description="Time between asking a job's process to end and killing it."
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
    result_bytes: int = Field(
        default=300 * 1000**2,
        ge=1024,
        le=900 * 1000**2,
        description="Largest result of a job, encoded. A job with a larger one fails.",
    )
    interim_bytes: int = Field(
        default=16 * MEBIBYTE,
        ge=1024,
        le=900 * 1000**2,
        description="Largest interim result, encoded. `publish` raises for a larger one.",
    )
    interim_total_bytes: int = Field(
        default=1024 * MEBIBYTE,
        ge=1024,
        le=_LARGEST_LIMIT_BYTES,
        description="All interim results of one job. `publish` raises beyond it.",
    )
    interim_results: int = Field(
        default=1_000_000,
        ge=1,
        le=2**31 - 1,
        description="How many interim results one job may have. `publish` raises beyond it.",
    )
    log_bytes: int = Field(
        default=8 * MEBIBYTE, ge=64 * 1024, description="How much of a job's log is kept."
    )
    source_bytes: int = Field(
        default=5 * 1000**2,
        ge=1024,
        le=100 * 1000**2,
        description="Largest source of a program that the service accepts.",
    )
    check_seconds: float = Field(
        default=5.0,
        gt=0,
        description=(
            "Computing time for the check of a large body, a source, a JSON schema, or inputs"
            " against a schema; one second more for each 20 MB. Longer checks are refused."
        ),
    )
    check_memory_bytes: int = Field(
        default=1024 * MEBIBYTE,
        ge=64 * MEBIBYTE,
        le=_LARGEST_LIMIT_BYTES,
        description="Memory of such a check; 12 bytes more for each byte that is checked.",
    )
    max_connections: int = Field(
        default=2000,
        ge=1,
        description=(
            "How many connections the service keeps open, within the number of files that it may"
            " open. Beyond it, a new connection displaces the oldest one that has sent no valid"
            " token, or an idle one."
        ),
    )
    max_connections_per_peer: int = Field(
        default=1000,
        ge=1,
        description="The same for the connections of one address, such as that of a proxy.",
    )
    request_head_seconds: float = Field(
        default=10.0,
        gt=0,
        description="The service closes a connection whose request line and headers take longer.",
    )
    request_body_seconds: float = Field(
        default=30.0,
        gt=0,
        description=(
            "How long the service waits for the next part of a request's body; a body of at most"
            " 64 KiB must arrive completely in this time. A client that reads nothing of a large"
            " answer for this long is disconnected if others of its user wait for memory."
        ),
    )
    request_bytes_per_user: int = Field(
        default=300 * 1000**2,
        ge=1000**2,
        le=_LARGEST_LIMIT_BYTES,
        description=(
            "How many bytes the bodies of one user's requests may have together while they are"
            " received and answered; the same for all requests without a valid token. Further"
            " requests get 429 and are to be sent again. Bodies of at most 64 KiB may exceed it by"
            " 32 MB."
        ),
    )
    answer_bytes_per_user: int = Field(
        default=300 * 1000**2,
        ge=1000**2,
        le=_LARGEST_LIMIT_BYTES,
        description=(
            "How many bytes of large answers, such as results, one user may have in progress. An"
            " answer that does not fit waits until others are read."
        ),
    )
    duplicate_program_names: Literal["allow", "refuse"] = Field(
        default="allow",
        description="Whether one user may have several programs of the same name, as IBM's service"
        " allowed; `refuse` answers the upload of an existing name with 409.",
    )
    retention_days: float = Field(
        default=90.0, gt=0, description="The service keeps ended jobs this long."
    )
    retention_bytes: int = Field(
        default=5 * 1024 * MEBIBYTE,
        gt=0,
        description=(
            "Above this size of database and logs, the service deletes the oldest ended jobs of "
            "the users who take the most space."
        ),
    )
    retention_bytes_per_user: int | None = Field(
        default=None,
        gt=0,
        description=(
            "Above this size of a user's jobs, programs and logs, the service deletes the oldest "
            "ended jobs of that user. By default, only the total is limited."
        ),
    )

    def embedded_dir(self, protocol_version: int) -> Path:
        """Return the folder of the embedded service for one protocol version."""
        return self.home.expanduser().resolve() / f"v{protocol_version}"
