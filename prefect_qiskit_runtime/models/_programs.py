"""Programs as uploaded, and as shown by the service."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, Field

from prefect_qiskit_runtime.models._wire import UNKNOWN, Moment, Side, Wire

IfExists = Literal["update", "new", "error"]

HardwareMode = Literal["session", "batch", "job"]
"""How a program's jobs are grouped on IBM Quantum: its three execution modes."""

PUB_PRIMITIVES = ("sampler", "estimator")
"""The primitives that take PUBs, as program ids."""

PRIMITIVES = (*PUB_PRIMITIVES, "executor", "noise-learner")
"""Ids of programs that are not uploaded. Our services run all but the noise learner, IBM runs all
of them, and nothing else since it removed custom programs."""


class ProgramSpec(Wire):
    """JSON schemas of a program's inputs and outputs, and its backend requirements.

    Attributes:
        parameters: JSON schema of the inputs in their wire format.
        return_values: JSON schema of the result.
        interim_results: JSON schema of an interim result.
        backend_requirements: Properties that a backend must have, e.g. `{"min_num_qubits": 5}`.
    """

    parameters: dict[str, Any] | None = None
    return_values: dict[str, Any] | None = None
    interim_results: dict[str, Any] | None = None
    backend_requirements: dict[str, Any] | None = None


class ProgramMetadata(Wire):
    """A program's metadata. Immutable, like its source: a change makes a new version.

    Attributes:
        is_public: Whether other users may run the program; None leaves it unchanged. Not part
            of a version.
    """

    name: str = Field(min_length=1, max_length=200)
    description: str = ""
    max_execution_time: int | None = Field(
        default=None, ge=1, validation_alias=AliasChoices("max_execution_time", "cost")
    )
    spec: ProgramSpec = Field(default_factory=ProgramSpec)
    is_public: bool | None = None


class ProgramInfo(Wire):
    """The service's view of a program.

    Only the id is essential: "unknown" or None stands for any other field that the service leaves
    out or sends in a form that cannot be read.

    Attributes:
        cost: IBM's name for max_execution_time, in seconds; 0 for the service's limit.
        version: Number of the current version, from 1.
        content_hash: SHA-256 of the version's source and metadata.
        data: The source; only for the owner, and only when a single program is requested.
    """

    id: str = Field(min_length=1)
    name: Side[str] = UNKNOWN
    description: Side[str] = ""
    cost: Side[int] = 0
    is_public: Side[bool] = False
    creation_date: Side[Moment | None] = None
    update_date: Side[Moment | None] = None
    spec: Side[ProgramSpec] = Field(default_factory=ProgramSpec)
    version: Side[int] = 1
    content_hash: Side[str | None] = None
    owner: Side[str | None] = None
    data: Side[str | None] = None


class ProgramUploaded(Wire):
    """Answer to an upload.

    Attributes:
        outcome: "created", "updated" (a new version of the same id) or "unchanged".
    """

    id: str
    version: int = 1
    outcome: Literal["created", "updated", "unchanged"] = "created"
