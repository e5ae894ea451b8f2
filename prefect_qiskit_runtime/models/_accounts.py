"""What an account has and has used: backends, instances, time."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from prefect_qiskit_runtime.models._jobs import JobStatus
from prefect_qiskit_runtime.models._wire import Wire


class BackendStatus(Wire):
    """Whether a backend takes jobs and how many wait."""

    name: str
    qubits: int
    simulator: bool = False
    operational: bool = True
    queue_length: int = 0


class Instance(Wire):
    """An instance of an account: where its jobs belong, and which plan pays for them.

    Attributes:
        crn: Its cloud resource name.
        plan: Name of the plan, in small letters; "unknown" for plans that are no longer sold.
        pricing_type: How it is paid, such as "free", "paygo" or "subscription".
    """

    crn: str
    name: str
    plan: str = "unknown"
    pricing_type: str = "unknown"
    tags: list[str] = Field(default_factory=list)


class JobUsage(Wire):
    """What a job has used so far.

    Attributes:
        session_id: The session or batch that it belongs to.
        seconds: On the clock, while it ran.
        quantum_seconds: On a QPU; 0 on simulators.
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
    """How much time of backends the jobs of an instance have used.

    Attributes:
        usage_limit_seconds: What the plan allows; None for no limit.
    """

    usage_consumed_seconds: float = 0.0
    usage_limit_seconds: float | None = None
    usage_limit_reached: bool = False
