"""Where results come from: what is known of a job, in one model, on a page and in a frame.

A job has one `Provenance`, wherever its service is. It holds names, numbers and times:
no inputs, results, messages or tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from prefect_qiskit_runtime.models import JobStatus
from prefect_qiskit_runtime.renamed import old_method

__all__ = ["Calibration", "Provenance"]

FORMAT_VERSION = 1
"""Of the stored form; what this version does not know is asked from the service again."""


class Calibration(BaseModel):
    """Which calibration of a backend was in force.

    Attributes:
        updated_at: When it was last changed.
        calibration_id: The service's id of it, where it has one.
        backend_version: Version of the backend's configuration.
    """

    model_config = ConfigDict(frozen=True)

    updated_at: datetime | None = None
    calibration_id: str | None = None
    backend_version: str | None = None


class Provenance(BaseModel):
    """Where the result of one job comes from. What is not known is None or empty.

    Attributes:
        job_id: The job.
        key: What it was submitted with: the name of the attempt.
        status: Where it was when this was made; all that follows is final once it has ended.
        reason_code: Why it ended, where the service says it by a number.
        program_id: What it ran.
        program_version: In which version.
        service: "embedded", "team" or "ibm".
        service_url: Where that is; None for the embedded one.
        instance: The instance that the job belongs to.
        backend: Where it ran.
        calibration: What the backend was calibrated to when the job started.
        seeds: The inputs and options that make it reproducible.
        shots: For PUBs that say nothing, or one for each PUB where they differ.
        precision: Likewise.
        options: What was sent besides: `job` (how it is to run) and `primitive`.
        options_ignored: Those that the backend does not support.
        tags: Its labels.
        session_id: The session or batch that it belongs to.
        private: Whether its inputs are told to nobody: nothing of them is in here.
        image: The Python environment that it ran in.
        versions: Packages of the flow's environment, where it was submitted from here.
        job_versions: Packages that the job ran with.
        submitted_at: When it was made.
        started_at: When it left the queue.
        ended_at: When it ended.
        queue_seconds: From submission to start.
        run_seconds: From start to end.
        usage_seconds: What the service counts as used.
        quantum_seconds: Time on a quantum device, as the service has measured it.
        estimated_quantum_seconds: What that was estimated to be before the job was sent to IBM
            Quantum, by the formula that IBM documents.
        attempt: Which attempt of the evaluation it is, from 1.
        earlier_job_ids: The jobs of the attempts before.
        root_flow_run_id: The flow run at the top, which its tag names.
        flow_run_id: The flow run that has waited for it first.
        task_run_id: The task run, likewise.
    """

    model_config = ConfigDict(frozen=True)

    format_version: Literal[1] = FORMAT_VERSION
    job_id: str
    key: str | None = None
    status: JobStatus
    reason_code: int | None = None
    program_id: str
    program_version: int | None = None
    service: str
    service_url: str | None = None
    instance: str | None = None
    backend: str
    calibration: Calibration | None = None
    seeds: dict[str, int] = Field(default_factory=dict)
    shots: int | list[int | None] | None = None
    precision: float | list[float | None] | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    options_ignored: list[str] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    session_id: str | None = None
    private: bool = False
    image: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    job_versions: dict[str, str] = Field(default_factory=dict)
    submitted_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    queue_seconds: float | None = None
    run_seconds: float | None = None
    usage_seconds: float | None = None
    quantum_seconds: float | None = None
    estimated_quantum_seconds: float | None = None
    attempt: int = 1
    earlier_job_ids: list[str] = Field(default_factory=list)
    root_flow_run_id: str | None = None
    flow_run_id: str | None = None
    task_run_id: str | None = None

    def to_row(self, *, as_json: bool = False) -> dict[str, Any]:
        """Return it as one flat row: nested values under dotted names, lists as JSON text.

        Args:
            as_json: Times as ISO 8601 text instead of `datetime`.
        """
        told = self.model_dump(mode="json" if as_json else "python")
        return dict(_flat(told))

    row = old_method("row", "to_row")


def _flat(nested: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in nested.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}", json.dumps(value)
        else:
            yield f"{prefix}{name}", value
