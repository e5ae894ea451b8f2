"""The protocol between client and service, as typed objects.

Both ends import this package and nothing from each other. Encoded values (inputs, interim
results, results) are never part of a model: they travel unchanged, as bytes.
"""

from prefect_qiskit_runtime.models._accounts import BackendStatus, Instance, InstanceUsage, JobUsage
from prefect_qiskit_runtime.models._jobs import (
    EndEvent,
    Heartbeat,
    InterimEvent,
    JobInfo,
    JobMetrics,
    JobProgram,
    JobState,
    JobStatus,
    JobSubmitted,
    ReasonCode,
    StatusEvent,
    StreamEvent,
    UsedUpLimit,
)
from prefect_qiskit_runtime.models._options import RuntimeOptions, Simulation
from prefect_qiskit_runtime.models._programs import (
    PRIMITIVES,
    PUB_PRIMITIVES,
    HardwareMode,
    IfExists,
    ProgramInfo,
    ProgramMetadata,
    ProgramSpec,
    ProgramUploaded,
)
from prefect_qiskit_runtime.models._reason_codes import NO_SESSIONS_IN_PLAN, NextStep, next_step
from prefect_qiskit_runtime.models._schemas import check_inputs, compile_schema
from prefect_qiskit_runtime.models._service import (
    BASELINE_CAPABILITIES,
    CAPABILITIES,
    IBM_QUANTUM,
    OUR_SERVICE,
    SIMULATION_METHOD,
    Discovery,
    ServiceIdentity,
    ServiceKind,
    ServiceStatus,
    is_loopback,
    package_version,
)
from prefect_qiskit_runtime.models._sessions import (
    LONGEST_SESSION_SECONDS,
    SessionInfo,
    SessionMode,
    SessionState,
    read_seconds,
)
from prefect_qiskit_runtime.models._wire import PROTOCOL_VERSION, UNKNOWN, Side, Wire

__all__ = [
    "BASELINE_CAPABILITIES",
    "CAPABILITIES",
    "IBM_QUANTUM",
    "LONGEST_SESSION_SECONDS",
    "NO_SESSIONS_IN_PLAN",
    "OUR_SERVICE",
    "PRIMITIVES",
    "PROTOCOL_VERSION",
    "PUB_PRIMITIVES",
    "SIMULATION_METHOD",
    "UNKNOWN",
    "BackendStatus",
    "Discovery",
    "EndEvent",
    "HardwareMode",
    "Heartbeat",
    "IfExists",
    "Instance",
    "InstanceUsage",
    "InterimEvent",
    "JobInfo",
    "JobMetrics",
    "JobProgram",
    "JobState",
    "JobStatus",
    "JobSubmitted",
    "JobUsage",
    "NextStep",
    "ProgramInfo",
    "ProgramMetadata",
    "ProgramSpec",
    "ProgramUploaded",
    "ReasonCode",
    "RuntimeOptions",
    "ServiceIdentity",
    "ServiceKind",
    "ServiceStatus",
    "SessionInfo",
    "SessionMode",
    "SessionState",
    "Side",
    "Simulation",
    "StatusEvent",
    "StreamEvent",
    "UsedUpLimit",
    "Wire",
    "check_inputs",
    "compile_schema",
    "is_loopback",
    "next_step",
    "package_version",
    "read_seconds",
]
