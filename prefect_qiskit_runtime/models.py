"""What client and service say to each other, as typed objects: the written protocol in code.

Both ends import this module and nothing of each other. Encoded values (inputs, interim
results, results) are never in a model: they travel as the bytes they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from prefect_qiskit_runtime.errors import ConfigurationError

PROTOCOL_VERSION = 1
"""Version of what our own client and service add to IBM's protocol. Part of the embedded home."""

IfExists = Literal["update", "new", "error"]

SessionMode = Literal["dedicated", "batch"]
"""A dedicated session holds a slot of the service for its jobs; a batch only groups jobs."""

HardwareMode = Literal["session", "batch", "job"]
"""How the jobs of a program belong together on IBM Quantum: its three execution modes."""


class ReasonCode:
    """Numbers for the end of a job. Four digits are IBM's, five digits are ours."""

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


class JobStatus(StrEnum):
    """States of a job. It goes down this list and ends in one of the last three.

    Qiskit's names are aliases: `JobStatus.DONE is JobStatus.COMPLETED`.
    """

    QUEUED = "Queued"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    INITIALIZING = "Queued"  # a service knows no state before it
    DONE = "Completed"
    ERROR = "Failed"

    @property
    def qiskit_name(self) -> str:
        """The name that Qiskit has for it: QUEUED, RUNNING, DONE, ERROR or CANCELLED."""
        return {"COMPLETED": "DONE", "FAILED": "ERROR"}.get(self.name, self.name)

    @classmethod
    def _missing_(cls, value: object) -> JobStatus | None:
        # Services of several generations write them in small or capital letters.
        return next((one for one in cls if one.value.lower() == str(value).lower()), None)

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


class SessionState(StrEnum):
    """States of a session, in IBM's words.

    It is open until its first job starts. After that it is active, or inactive while it has
    had nothing to do for a time, until it is closed for good.
    """

    OPEN = "open"
    ACTIVE = "active"
    INACTIVE = "inactive"
    CLOSED = "closed"


class _Wire(BaseModel):
    """Unknown fields are kept out of the way, not refused: services add fields."""

    # Errors of validation name the place, not what stood there: it may be an input or a result.
    model_config = ConfigDict(extra="ignore", populate_by_name=True, hide_input_in_errors=True)


class ProgramSpec(_Wire):
    """JSON schemas of what goes into a program and what comes out, and what it needs.

    Attributes:
        parameters: JSON schema of the inputs, as they are on the wire.
        return_values: JSON schema of the result.
        interim_results: JSON schema of an interim result.
        backend_requirements: What a backend must have, e.g. `{"min_num_qubits": 5}`.
    """

    parameters: dict[str, Any] | None = None
    return_values: dict[str, Any] | None = None
    interim_results: dict[str, Any] | None = None
    backend_requirements: dict[str, Any] | None = None


class ProgramMetadata(_Wire):
    """What a program says of itself. Immutable with its source: a change is a new version.

    Attributes:
        is_public: Whether other users may run it; None leaves it as it is. No part of a version.
    """

    name: str = Field(min_length=1, max_length=200)
    description: str = ""
    max_execution_time: int | None = Field(
        default=None, ge=1, validation_alias=AliasChoices("max_execution_time", "cost")
    )
    spec: ProgramSpec = Field(default_factory=ProgramSpec)
    is_public: bool | None = None


class ProgramInfo(_Wire):
    """A program as the service shows it.

    Attributes:
        cost: IBM's name for max_execution_time, in seconds; 0 means the service's limit.
        version: Number of the current version, from 1.
        content_hash: SHA-256 of the version's source and metadata.
        data: The source; only for the owner, and only when one program is asked for.
    """

    id: str
    name: str
    description: str = ""
    cost: int = 0
    is_public: bool = False
    creation_date: datetime
    update_date: datetime
    spec: ProgramSpec = Field(default_factory=ProgramSpec)
    version: int = 1
    content_hash: str | None = None
    owner: str | None = None
    data: str | None = None


class ProgramUploaded(_Wire):
    """Answer to an upload.

    Attributes:
        outcome: "created", "updated" (a new version of the same id) or "unchanged".
    """

    id: str
    version: int = 1
    outcome: Literal["created", "updated", "unchanged"] = "created"


_IBM_OPTION_NAMES = {"backend_name": "backend", "job_tags": "tags"}


class RuntimeOptions(BaseModel):
    """How one job is to run. What is left out follows the backend block, then the program.

    IBM's names `backend_name` and `job_tags` are taken for `backend` and `tags`.

    Attributes:
        max_execution_time: Wall-clock limit in seconds; never above the program's own.
        log_level: Level of the job's `logging`: DEBUG, INFO, WARNING, ERROR or CRITICAL.
        tags: Labels to find the job by.
        image: The Python environment that the job runs in; default: the caller's own on the
            embedded service, the service's default elsewhere.
        private: Whether the service keeps the inputs to itself, and the result only until it is
            acknowledged.
        backend: Name of the backend, where the call does not name one.
        instance: The instance to run in; it must be the one that the client works in.
        session_id: The session or batch that the job belongs to.
        start_session: Make a session whose first job this is, and whose id is the job's. That
            is how IBM's older clients open one; `runtime_session` also closes it.
        session_time: Max time in seconds of the session that it makes.
        attempts: How many jobs one evaluation may take: one that ended for a passing reason is
            sent again. 1 never sends again.
        retry_delay_seconds: Wait before sending again; doubled each time, with jitter.
        retry_deadline_seconds: How long a service that has answered before may be away, or
            refuse for being busy, before that is an error.
        calibration_id: The calibration that the circuits were made for; IBM Quantum only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _by_our_names(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        fields: dict[str, Any] = {}
        for name, value in given.items():
            ours = str(_IBM_OPTION_NAMES.get(name, name))
            if ours in fields and fields[ours] != value:
                raise ValueError(f"{ours} is given twice, under two names")
            fields[ours] = value
        if fields.get("tags", ()) is None:
            del fields["tags"]
        if isinstance(level := fields.get("log_level"), str):
            fields["log_level"] = level.upper()
        return fields

    max_execution_time: int | None = Field(default=None, ge=1)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] | None = None
    tags: tuple[str, ...] = ()
    image: str | None = None
    private: bool | None = None
    backend: str | None = None
    instance: str | None = None
    session_id: str | None = Field(default=None, min_length=1)
    start_session: bool = False
    session_time: int | None = Field(default=None, ge=1)
    attempts: int | None = Field(default=None, ge=1)
    retry_delay_seconds: float | None = Field(default=None, ge=0)
    retry_deadline_seconds: float | None = Field(default=None, ge=0)
    calibration_id: str | None = None

    @classmethod
    def read(cls, given: RuntimeOptions | Mapping[str, Any] | None) -> RuntimeOptions:
        """Take options as an object or as a mapping of their fields.

        Raises:
            ConfigurationError: There is no such option, or it has a wrong value.
        """
        if isinstance(given, RuntimeOptions):
            return given
        try:
            return cls.model_validate(given or {})
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, fault["loc"]))
            raise ConfigurationError(
                f"{f'Option {place!r}' if place else 'Options'}: {fault['msg']}. The options of a "
                f"job are {', '.join(cls.model_fields)}."
            ) from error


class JobState(_Wire):
    """Where a job is, why it ended, and what to do about it."""

    status: JobStatus
    reason: str | None = None
    reason_code: int | None = Field(
        default=None, validation_alias=AliasChoices("reason_code", "reasonCode")
    )
    reason_solution: str | None = None

    @property
    def ran_too_long(self) -> bool:
        """Whether the service ended the job because of its time limit."""
        # Older services say it in words only, without a code.
        return self.reason_code == ReasonCode.RAN_TOO_LONG or (
            self.reason_code is None and "ran too long" in (self.reason or "").lower()
        )


class JobProgram(_Wire):
    """Which program, in which version, a job runs."""

    id: str
    version: int | None = None


class JobInfo(_Wire):
    """A job as the service shows it, without its inputs.

    Attributes:
        runtime: The image: the Python environment that the job runs in.
        cost: Its max_execution_time in seconds.
        attempt: Which attempt of one evaluation it is, from 1.
        idempotency_key: What it was submitted with, where the service knows keys.
        usage: As in `JobMetrics`; None where the service tells it there only.
        versions: Likewise; None also before the job has ended.
        interim_count: How many interim results it has published so far.
        estimated_running_time_seconds: How long the service expects it to run at most.
    """

    id: str
    backend: str
    state: JobState
    program: JobProgram
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    tags: list[str] = Field(default_factory=list)
    runtime: str | None = None
    cost: int | None = None
    session_id: str | None = None
    private: bool = False
    attempt: int = 1
    idempotency_key: str | None = None
    usage: dict[str, float] | None = None
    versions: dict[str, str] | None = None
    interim_count: int = 0
    estimated_running_time_seconds: float | None = None


class JobSubmitted(_Wire):
    """Answer to a submission.

    Attributes:
        created: When the job was made; None where the service does not say.
        runtime: The image that it runs in; likewise.
        session_id: The session that it belongs to, if any.
        tags: Its tags; None where the service does not say.
        messages: Warnings of the service, each `{"data": text}`.
        replayed: Whether the idempotency key was known: this is the job of the first submission.
            Set by the client from the header `Idempotent-Replayed`.
    """

    id: str
    backend: str
    created: datetime | None = None
    runtime: str | None = None
    session_id: str | None = None
    tags: list[str] | None = None
    messages: list[dict[str, Any]] = Field(default_factory=list)
    replayed: bool = Field(default=False, exclude=True)


class JobMetrics(_Wire):
    """Times and usage of a job.

    Attributes:
        timestamps: `created`, `running`, `finished` as ISO 8601 UTC, or None.
        usage: `seconds` (wall clock while running) and `quantum_seconds` (time on a device;
            0 on a simulator).
    """

    timestamps: dict[str, datetime | None] = Field(default_factory=dict)
    usage: dict[str, float] = Field(default_factory=dict)
    qiskit_version: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)


class SessionInfo(_Wire):
    """A session or batch as the service shows it, under IBM's names.

    Attributes:
        mode: "dedicated" or "batch".
        max_ttl: Seconds after its first job's start at which it closes.
        interactive_ttl: Seconds without a job after which it becomes inactive.
        active_ttl: Seconds for which it can be active at most.
        started_at: When its first job started.
        activated_at: When it last became active.
        elapsed_time: Seconds used: of a dedicated session those in which it held its slot, of
            a batch those that its ended jobs ran.
        timestamps: Each change of its state, as `{"status", "timestamp"}`.
    """

    id: str
    backend_name: str
    mode: SessionMode
    state: SessionState
    accepting_jobs: bool
    max_ttl: int | None = None
    interactive_ttl: int | None = None
    active_ttl: int | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    activated_at: datetime | None = None
    closed_at: datetime | None = None
    last_job_started: datetime | None = None
    last_job_completed: datetime | None = None
    elapsed_time: float | None = None
    timestamps: list[dict[str, Any]] = Field(default_factory=list)


class BackendStatus(_Wire):
    """Whether a backend takes jobs and how many wait."""

    name: str
    qubits: int
    simulator: bool = False
    operational: bool = True
    queue_length: int = 0


class Instance(_Wire):
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


class JobUsage(_Wire):
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


class InstanceUsage(_Wire):
    """How much time of backends the jobs of an instance have used.

    Attributes:
        usage_limit_seconds: What the plan allows; None for no limit.
    """

    usage_consumed_seconds: float = 0.0
    usage_limit_seconds: float | None = None
    usage_limit_reached: bool = False


class InterimEvent(_Wire):
    """One interim result of the stream; `data` is its encoded text."""

    type: Literal["interim"] = "interim"
    seq: int
    data: str


class StatusEvent(_Wire):
    """The job moved to another state."""

    type: Literal["status"] = "status"
    status: JobStatus


class EndEvent(_Wire):
    """The job has ended; nothing follows. `state` says how."""

    type: Literal["end"] = "end"
    state: JobState
    interim_count: int = 0


class Heartbeat(_Wire):
    """Nothing happened, the connection lives."""

    type: Literal["heartbeat"] = "heartbeat"


StreamEvent = InterimEvent | StatusEvent | EndEvent | Heartbeat


class Discovery(_Wire):
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


class ServiceIdentity(_Wire):
    """Answer of `/.well-known/qiskit-runtime`: who listens, and proof that it knows the token.

    Attributes:
        proof: Hex HMAC-SHA256 of the caller's nonce under the token, where a nonce was given.
    """

    product: Literal["prefect-qiskit-runtime"]
    protocol_version: int
    package_version: str
    proof: str | None = None


class ServiceStatus(_Wire):
    """What a running service says of itself."""

    package_version: str
    protocol_version: int
    pid: int
    started_at: datetime
    jobs_queued: int = 0
    jobs_running: int = 0
    streams_open: int = 0
    sessions_open: int = 0
