"""Programs, as they are uploaded and shown."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import AliasChoices, Field

from prefect_qiskit_runtime.models._wire import Wire

IfExists = Literal["update", "new", "error"]

HardwareMode = Literal["session", "batch", "job"]
"""How the jobs of a program belong together on IBM Quantum: its three execution modes."""

PUB_PRIMITIVES = ("sampler", "estimator")
"""The primitives that take PUBs, as program ids."""

PRIMITIVES = (*PUB_PRIMITIVES, "executor", "noise-learner")
"""Ids of programs that are not uploaded. Our services run all but the noise learner, IBM runs all
of them, and nothing else since it removed custom programs."""


class ProgramSpec(Wire):
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


class ProgramMetadata(Wire):
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


class ProgramInfo(Wire):
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


class ProgramUploaded(Wire):
    """Answer to an upload.

    Attributes:
        outcome: "created", "updated" (a new version of the same id) or "unchanged".
    """

    id: str
    version: int = 1
    outcome: Literal["created", "updated", "unchanged"] = "created"
