"""The provenance of a result: all details of its job in one model, for artifacts and frames.

A job has one `Provenance`, on any service. It holds names, numbers and times: no inputs, results,
messages or tokens.
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
"""Version of the stored form; other versions are ignored and collected from the service again."""


class Calibration(BaseModel):
    """The calibration of a backend that was in force.

    Attributes:
        updated_at: When the calibration was last changed.
        calibration_id: Its id at the service, if it has one.
        backend_version: Version of the backend's configuration.
    """

    model_config = ConfigDict(frozen=True)

    updated_at: datetime | None = None
    calibration_id: str | None = None
    backend_version: str | None = None


class Provenance(BaseModel):
    """The provenance of one job and its result. Unknown values are None or empty.

    Attributes:
        job_id: The job.
        key: The key that it was submitted with: the name of the attempt.
        status: Its status when the provenance was collected; once the job has ended, all values
            are final.
        reason_code: Why it ended, if the service reports a number.
        program_id: The program that it ran.
        program_version: The version of the program.
        service: "embedded", "team" or "ibm".
        service_url: Address of the service; None for the embedded service.
        instance: The instance that the job belongs to.
        backend: The backend that it ran on.
        calibration: The calibration of the backend when the job started.
        seeds: The inputs and options that make it reproducible.
        shots: The default for all PUBs, or one number for each PUB if they differ.
        precision: The default for all PUBs, or one number for each PUB if they differ.
        options: Further options: `job` (options of the job) and `primitive`.
        options_ignored: The options that the backend does not support.
        simulation_methods: Methods by which the primitives of the job simulated circuits, such as
            "statevector".
        tags: Its tags.
        session_id: The session or batch that it belongs to.
        private: Whether its inputs are private; the provenance then contains nothing of them.
        image: The Python environment that it ran in.
        versions: Packages of the flow's environment, if it was submitted there.
        job_versions: Packages that the job ran with.
        submitted_at: When it was submitted; None if the service does not report it.
        started_at: When it left the queue.
        ended_at: When it ended.
        queue_seconds: Time from submission to start.
        run_seconds: Time from start to end.
        usage_seconds: The usage that the service reports.
        quantum_seconds: Time on a quantum device, as measured by the service.
        estimated_quantum_seconds: Estimate of that time before the job was sent to IBM Quantum,
            with the formula that IBM documents.
        attempt: Which attempt of the evaluation it is, from 1.
        earlier_job_ids: The jobs of the previous attempts.
        root_flow_run_id: The top-level flow run, which its tag names.
        flow_run_id: The flow run that waited for it first.
        task_run_id: The task run that waited for it first.
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
    simulation_methods: list[str] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    session_id: str | None = None
    private: bool = False
    image: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    job_versions: dict[str, str] = Field(default_factory=dict)
    submitted_at: datetime | None
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
            as_json: Whether times are ISO 8601 text instead of `datetime`.
        """
        fields = self.model_dump(mode="json" if as_json else "python")
        return dict(_flat(fields))

    row = old_method("row", "to_row")


def _flat(nested: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in nested.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}", json.dumps(value)
        else:
            yield f"{prefix}{name}", value
