"""The forms of IBM's answers: its fields only, as of the version that a request names.

Two versions of IBM's API differ in the usage of jobs, which the service writes as the request asks.
Before 2026-03-15, `bss` repeats the wall-clock time, also in jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prefect_qiskit_runtime.service.faults.scenarios import matches
from prefect_qiskit_runtime.service.http.views import CHARGED_SINCE

# The fields of each kind of object; other fields of our answers are left out.
_JOB = (
    "id",
    "hub",
    "group",
    "project",
    "backend",
    "state",
    "status",
    "program",
    "created",
    "tags",
    "runtime",
    "cost",
    "session_id",
    "private",
    "params",
    "estimated_running_time_seconds",
    "usage",
)
_METRICS = ("timestamps", "qiskit_version", "usage", "bss", "circuits_execution_time_ns")
_STATE = ("status", "reason", "reason_code", "reasonCode", "reason_solution")
_DEVICE = ("name", "status", "queue_length", "qubits", "physical_qubits", "is_simulator")
_STATUS = ("state", "status", "length_queue", "backend_version")
_SESSION = (
    "id",
    "backend_name",
    "interactive_ttl",
    "max_ttl",
    "active_ttl",
    "state",
    "accepting_jobs",
    "last_job_started",
    "last_job_completed",
    "started_at",
    "closed_at",
    "activated_at",
    "mode",
    "elapsed_time",
    "timestamps",
)

Form = Callable[[Any, str], Any]
"""Converts an answer of ours to IBM's, for a version."""


def form_of(method: str, path: str) -> Form | None:
    """Return the form of the answers of an endpoint; None if they are the same as ours."""
    for (known_method, known_path), form in _FORMS.items():
        if method == known_method and matches(known_path, path):
            return form
    return None


def _submission(body: Any, version: str) -> dict[str, Any]:  # noqa: ARG001 - as the other forms
    return _only(("id", "backend", "messages"), body)


def _job(job: Any, version: str) -> dict[str, Any]:
    known = {name: value for name, value in _only(_JOB, job).items() if value is not None}
    known["state"] = _only(_STATE, job["state"])
    known["program"] = _only(("id",), job["program"])
    if version < CHARGED_SINCE:
        known["bss"] = {"seconds": job["usage"]["seconds"]}
    return known


def _jobs(body: Any, version: str) -> dict[str, Any]:
    return {**body, "jobs": [_job(job, version) for job in body["jobs"]]}


def _metrics(body: Any, version: str) -> dict[str, Any]:  # noqa: ARG001 - as the other forms
    return _only(_METRICS, body)


def _devices(body: Any, version: str) -> dict[str, Any]:  # noqa: ARG001 - as the other forms
    return {"devices": [_only(_DEVICE, device) for device in body["devices"]]}


def _status(body: Any, version: str) -> dict[str, Any]:  # noqa: ARG001 - as the other forms
    return _only(_STATUS, body)


def _plan(body: Any, version: str) -> dict[str, Any]:  # noqa: ARG001 - as the other forms
    return _only(("overview_ui", "metadata"), body)


def _opened(body: Any, version: str) -> dict[str, Any]:  # noqa: ARG001 - as the other forms
    return _only(("id",), body)


def _session(body: Any, version: str) -> dict[str, Any]:  # noqa: ARG001 - as the other forms
    return _only(_SESSION, body)


def _sessions(body: Any, version: str) -> dict[str, Any]:
    return {**body, "sessions": [_session(one, version) for one in body["sessions"]]}


def _only(names: Iterable[str], fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fields[name] for name in names if name in fields}


_FORMS: dict[tuple[str, str], Form] = {
    ("GET", "/catalog/api/v1/*"): _plan,
    ("GET", "/backends"): _devices,
    ("GET", "/backends/*/status"): _status,
    ("POST", "/jobs"): _submission,
    ("GET", "/jobs"): _jobs,
    ("GET", "/jobs/*"): _job,
    ("GET", "/jobs/*/metrics"): _metrics,
    ("POST", "/sessions"): _opened,
    ("GET", "/sessions"): _sessions,
    ("GET", "/sessions/*"): _session,
}
