"""An account's backends, instances and used time."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from prefect_qiskit_runtime.models._jobs import JobStatus
from prefect_qiskit_runtime.models._wire import Wire


class BackendStatus(Wire):
    """Whether a backend accepts jobs, and how many are queued."""

    name: str
    qubits: int
    simulator: bool = False
    operational: bool = True
    queue_length: int = 0


class Instance(Wire):
    """An instance of an account. Its jobs belong to it and are billed to its plan.

    Attributes:
        crn: Its cloud resource name.
        plan: Name of the plan in lower case; "unknown" for plans that are no longer sold.
        pricing_type: How the plan is billed, such as "free", "paygo" or "subscription".
    """

    crn: str
    name: str
    plan: str = "unknown"
    pricing_type: str = "unknown"
    tags: list[str] = Field(default_factory=list)


class JobUsage(Wire):
    """The time that a job has used so far.

    Attributes:
        session_id: The session or batch that the job belongs to.
        seconds: Wall-clock time while it was running.
        quantum_seconds: QPU time; 0 on simulators.
    """

    job_id: str
    status: JobStatus
    program_id: str
    backend: str
    created: datetime
    session_id: str | None = None
    seconds: float = 0.0
    quantum_seconds: float = 0.0


class InstanceUsage(Wire):
    """The backend time that an instance's jobs have used.

    Attributes:
        usage_limit_seconds: The plan's limit; None if it has none.
    """

    usage_consumed_seconds: float = 0.0
    usage_limit_seconds: float | None = None
    usage_limit_reached: bool = False
