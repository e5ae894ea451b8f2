"""An account's backends, instances and used time."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from prefect_qiskit_runtime.models._jobs import JobStatus
from prefect_qiskit_runtime.models._wire import UNKNOWN, Moment, Seconds, Side, Wire

Count = Annotated[int, Field(ge=0)]


class BackendStatus(Wire):
    """Whether a backend accepts jobs, and how many are queued.

    Attributes:
        qubits: Number of qubits; None if the service does not report it.
        queue_length: Number of jobs that wait for it; None if the service does not report it.
    """

    name: str = Field(min_length=1)
    qubits: Side[Count | None] = None
    simulator: Side[bool] = False
    operational: Side[bool] = True
    queue_length: Side[Count | None] = None


class Instance(Wire):
    """An instance of an account. Its jobs belong to it and are billed to its plan.

    Attributes:
        crn: Its cloud resource name.
        plan: Name of the plan in lower case; "unknown" for plans that are no longer sold.
        pricing_type: How the plan is billed, such as "free", "paygo" or "subscription".
    """

    crn: str
    name: str
    plan: str = UNKNOWN
    pricing_type: str = UNKNOWN
    tags: list[str] = Field(default_factory=list)


class JobUsage(Wire):
    """The time that a job has used so far.

    Attributes:
        created: When it was created; None if the service does not report it.
        session_id: The session or batch that the job belongs to.
        seconds: Wall-clock time while it was running; None if the service does not report it.
        quantum_seconds: QPU time, 0 on simulators; None as long as it is not final.
    """

    job_id: str
    status: JobStatus
    program_id: str
    backend: str
    created: Moment | None = None
    session_id: str | None = None
    seconds: float | None = None
    quantum_seconds: float | None = None


class InstanceUsage(Wire):
    """The backend time that an instance's jobs have used.

    Attributes:
        usage_consumed_seconds: The used time; None if the service does not report it.
        usage_limit_seconds: The plan's limit; None if it has none.
    """

    usage_consumed_seconds: Side[Seconds | None] = None
    usage_limit_seconds: Side[Seconds | None] = None
    usage_limit_reached: Side[bool] = False
