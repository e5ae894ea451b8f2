"""Jobs: their states, the service's view of them, and their streams."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from prefect_qiskit_runtime.errors import BudgetScope
from prefect_qiskit_runtime.models._wire import (
    UNKNOWN,
    Moment,
    Seconds,
    Side,
    WholeSeconds,
    Wire,
    WireStatus,
)


class ReasonCode:
    """Codes for why a job ended. Four-digit codes are IBM's, five-digit codes are ours."""

    RAN_TOO_LONG = 1305
    INTERRUPTED = 1500
    PROGRAM_RAISED = 90001
    PROGRAM_EXITED = 90002
    KILLED_BY_SIGNAL = 90003
    MEMORY_LIMIT = 90004
    START_FAILED = 90005
    RESULT_NOT_ENCODABLE = 90006
    SESSION_CLOSED = 90007
    CREDENTIALS_MISSING = 90008
    HARDWARE_BUDGET = 90009
    MESSAGE_LIMIT = 90010


# Services may add a reason to a status: "Cancelled - Ran too long", "Failed: no memory".
_WITH_REASON = re.compile(
    r"(?P<status>[a-z]+)(?:\s+-|\s*[:(])(?P<reason>.*)", re.IGNORECASE | re.DOTALL
)


class JobStatus(WireStatus):
    """States of a job, in order. A job ends in one of the last three.

    Qiskit's names are aliases: `JobStatus.DONE is JobStatus.COMPLETED`. A status that a service has
    added since, such as "Validating", keeps its text and equals none of these: the job has not
    ended, as far as this version knows, and certainly has not succeeded.
    """

    QUEUED = "Queued"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    INITIALIZING = "Queued"  # no service has an earlier state
    DONE = "Completed"
    ERROR = "Failed"

    @property
    def qiskit_name(self) -> str:
        """Qiskit's name for the state: QUEUED, RUNNING, DONE, ERROR or CANCELLED."""
        return {"COMPLETED": "DONE", "FAILED": "ERROR"}.get(self.name, self.name)

    @classmethod
    def _missing_(cls, value: object) -> JobStatus | None:
        status = super()._missing_(value)
        parts = None if status is None else _WITH_REASON.fullmatch(status.value)
        before = None if parts is None else super()._missing_(parts["status"])
        # "Completed - partially" may not be a success.
        if before is None or not before.is_known or before is JobStatus.COMPLETED:
            return status
        return before

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)

    @property
    def is_known(self) -> bool:
        """Whether this version knows the status."""
        return any(self is one for one in JobStatus)


# Reason codes of statuses that contain the reason.
_CODES_OF_STATUSES = {"cancelled - ran too long": ReasonCode.RAN_TOO_LONG}


def _code_of_status(status: object) -> int | None:
    return _CODES_OF_STATUSES.get(str(status).strip().lower())


def _reason_in_status(status: object) -> str | None:
    """Return the reason that is part of a status, if any."""
    parts = _WITH_REASON.fullmatch(status.strip()) if isinstance(status, str) else None
    if parts is None or not JobStatus(status).is_known:
        return None
    reason = parts["reason"].strip()
    return reason.removesuffix(")") if "(" not in reason else reason


_LONGEST_SHOWN = 40


def _with_readable_status(job: Any) -> Any:
    """Return a job of a listing with a status that can be read, an unknown one if necessary."""
    if not isinstance(job, Mapping):
        return job
    state = job.get("state")
    within = state.get("status") if isinstance(state, Mapping) else state
    for status in (within, job.get("status")):
        if isinstance(status, str) and status.strip():
            break
    else:
        shown = "" if isinstance(within, str) else json.dumps(within)[:_LONGEST_SHOWN]
        status = UNKNOWN if within is None or not shown else f"{UNKNOWN} ({shown})"
    return {**job, "state": {**(state if isinstance(state, Mapping) else {}), "status": status}}


class UsedUpLimit(Wire):
    """The limit of QPU time that ended a program on hardware.

    Attributes:
        scope: Scope of the limit.
        limit_seconds: The limit.
        used_seconds: The time used in that scope; None if not known.
    """

    scope: BudgetScope
    limit_seconds: Seconds
    used_seconds: Side[Seconds | None] = None


class JobState(Wire):
    """A job's state, why it ended, and what to do about it.

    Attributes:
        limit: The limit of QPU time that ended it; None if none did, or if not reported.
    """

    @model_validator(mode="before")
    @classmethod
    def _read_reason_of_status(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        code = given.get("reason_code") or given.get("reasonCode")
        reason = given.get("reason") or _reason_in_status(given.get("status"))
        code = code or _code_of_status(given.get("status"))
        return {**given, "reason": reason, "reason_code": code}

    status: JobStatus
    reason: Side[str | None] = None
    reason_code: Side[int | None] = Field(
        default=None, validation_alias=AliasChoices("reason_code", "reasonCode")
    )
    reason_solution: Side[str | None] = None
    limit: Side[UsedUpLimit | None] = None

    @property
    def ran_too_long(self) -> bool:
        """Whether the service ended the job because of its time limit."""
        # Older services report this as text only, without a code.
        return self.reason_code == ReasonCode.RAN_TOO_LONG or (
            self.reason_code is None and "ran too long" in (self.reason or "").lower()
        )


class JobProgram(Wire):
    """The program, and its version, that a job runs."""

    id: Side[str] = UNKNOWN
    version: Side[int | None] = None


_CHARGED = "qpu_charge_time_seconds"
_FINAL = "complete"


def _with_quantum_seconds(given: Any) -> Any:
    """Read the QPU time from either form of IBM's usage; leave it out if it is not final.

    Since version 2026-03-15 of IBM's API, it is `qpu_charge_time_seconds`, with a status that is
    "complete" once it is final. Before, it was `quantum_seconds`, without a status.
    """
    if not isinstance(given, Mapping):
        return given
    usage = dict(given)
    status = usage.pop("status", None)
    is_final = status == _FINAL or (status is None and usage.get(_CHARGED) is None)
    before = usage.pop("quantum_seconds", None)
    charged = before if usage.get(_CHARGED) is None else usage[_CHARGED]
    if is_final and charged is not None:
        usage.pop(_CHARGED, None)  # the same time: usage that was read can be read again
        usage["quantum_seconds"] = charged
    return usage


_Times = dict[str, Seconds]
# The times are read together, before unreadable ones are left out: none replaces another then.
_read_usage = BeforeValidator(_with_quantum_seconds)
Usage = Annotated[Side[_Times], _read_usage]
"""The used time by name, without the times that the service does not report.

`seconds` is the wall-clock time while running. `quantum_seconds` is the time on a QPU, 0 on a
simulator, and only present once it is final. Until then, `qpu_charge_time_seconds` is the QPU time
so far, if the service reports it.
"""


class JobInfo(Wire):
    """The service's view of a job, without its inputs.

    Only the id and, outside of listings, the status are essential: "unknown" or None stands for any
    other field that the service leaves out or sends in a form that cannot be read.

    Attributes:
        runtime: The image: the Python environment that the job runs in.
        cost: The job's max_execution_time in seconds.
        attempt: Number of this attempt at its evaluation, from 1.
        idempotency_key: The key of the submission, if the service supports keys.
        usage: As in `JobMetrics`; None if the service reports it only there.
        versions: As in `JobMetrics`; None if reported only there, or before the job has ended.
        simulation: The requested settings of the simulation, if any.
        simulation_methods: Methods by which the primitives of the job have simulated circuits; None
            before it has ended, or if it used none.
        interim_count: Number of interim results published so far.
        estimated_running_time_seconds: The service's estimate of the longest running time.
    """

    @model_validator(mode="before")
    @classmethod
    def _read_status_of_older_clients(cls, given: Any) -> Any:
        """Use the `status` beside `state` if only it contains the reason of the end."""
        if not isinstance(given, dict) or _code_of_status(given.get("status")) is None:
            return given
        state = given.get("state")
        if not isinstance(state, dict) or not isinstance(text := state.get("status"), str):
            return given
        if text.strip().lower() == JobStatus.CANCELLED.value.lower():
            return {**given, "state": {**state, "status": given["status"]}}
        return given

    @classmethod
    def from_listing(cls, item: Any) -> Self:
        """Parse a job of a listing.

        If its status cannot be read, it is listed with an unknown status, which is not an end. A
        request for this job alone raises an error in that case.
        """
        return cls.model_validate(_with_readable_status(item))

    id: str = Field(min_length=1)
    backend: Side[str] = UNKNOWN
    state: JobState
    program: Side[JobProgram] = Field(default_factory=JobProgram)
    created: Side[Moment | None] = None
    started: Side[Moment | None] = None
    ended: Side[Moment | None] = None
    tags: Side[list[str]] = Field(default_factory=list)
    runtime: Side[str | None] = None
    cost: Side[WholeSeconds | None] = None
    session_id: Side[str | None] = None
    private: Side[bool] = False
    attempt: Side[int] = 1
    idempotency_key: Side[str | None] = None
    usage: Annotated[Side[_Times | None], _read_usage] = None
    versions: Side[dict[str, str] | None] = None
    simulation: Side[dict[str, Any] | None] = None
    simulation_methods: Side[list[str] | None] = None
    interim_count: Side[int] = 0
    estimated_running_time_seconds: Side[Seconds | None] = None

    def may_have_tag(self, tag: str) -> bool:
        """Return whether it has a tag; True as well if the service does not report its tags.

        A service or a proxy that ignores the filter of a listing returns jobs of others too.
        """
        return not self.tags or tag.lower() in (one.lower() for one in self.tags)

    @property
    def quantum_seconds(self) -> float | None:
        """Its time on a QPU; None as long as it is not final, or reported only by the metrics."""
        return (self.usage or {}).get("quantum_seconds")


class JobSubmitted(Wire):
    """Answer to a submission.

    Attributes:
        backend: The job's backend; "unknown" if the service does not report it.
        created: When the job was created; None if the service does not report it.
        runtime: The image that the job runs in; None if not reported.
        session_id: The session that the job belongs to, if any.
        tags: The job's tags; None if not reported.
        messages: Warnings from the service, each `{"data": text}`.
        replayed: Whether the service already knew the idempotency key, so that this is the job
            of the first submission. The client reads it from the header `Idempotent-Replayed`.
    """

    id: str = Field(min_length=1)
    backend: Side[str] = UNKNOWN
    created: Side[Moment | None] = None
    runtime: Side[str | None] = None
    session_id: Side[str | None] = None
    tags: Side[list[str] | None] = None
    messages: Side[list[dict[str, Any]]] = Field(default_factory=list)
    replayed: bool = Field(default=False, exclude=True)


class JobMetrics(Wire):
    """Times and usage of a job.

    Attributes:
        timestamps: `created`, `running`, `finished` as ISO 8601 UTC, or None.
        usage: `seconds` (wall-clock time while running) and `quantum_seconds` (device time;
            0 on a simulator). A time that is not known, or not final, is not present.
    """

    timestamps: Side[dict[str, Moment | None]] = Field(default_factory=dict)
    usage: Usage = Field(default_factory=dict)
    qiskit_version: Side[str | None] = None
    versions: Side[dict[str, str]] = Field(default_factory=dict)

    @property
    def quantum_seconds(self) -> float | None:
        """The job's time on a QPU; None as long as it is not known, or not final."""
        return self.usage.get("quantum_seconds")


class InterimEvent(Wire):
    """One interim result in the stream; `data` is its encoded text."""

    type: Literal["interim"] = "interim"
    seq: int
    data: str


class StatusEvent(Wire):
    """The job moved to another state."""

    type: Literal["status"] = "status"
    status: JobStatus


class EndEvent(Wire):
    """The job has ended in `state`. This is the last event."""

    type: Literal["end"] = "end"
    state: JobState
    interim_count: int = 0


class Heartbeat(Wire):
    """Nothing has happened, but the connection is alive."""

    type: Literal["heartbeat"] = "heartbeat"


StreamEvent = InterimEvent | StatusEvent | EndEvent | Heartbeat
