"""Collect the provenance of a job from its submission, its service and its backend.

The provenance of a job that has ended is kept in Prefect's result storage, because no service can
later return the versions and the calibration of that day.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import metadata
from typing import Any

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging import get_logger
from pydantic import ValidationError

from prefect_qiskit_runtime.backend import RuntimeBackend, service_identity
from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.errors import NotFoundError, QiskitRuntimeError
from prefect_qiskit_runtime.flow_run.lineage import flow_run_of_tag
from prefect_qiskit_runtime.models import JobInfo, JobMetrics, RuntimeOptions
from prefect_qiskit_runtime.provenance import Calibration, Provenance
from prefect_qiskit_runtime.records.job_settings import JobSettings
from prefect_qiskit_runtime.records.records import Records

logger = get_logger("prefect_qiskit_runtime")

_DISTRIBUTIONS = ("prefect-qiskit-runtime", "prefect", "qiskit", "qiskit-ibm-runtime", "qiskit-aer")
_KEY_PREFIX = "pqr-"
# A loop of short jobs does not request the calibration for each: it is read again after this time.
_CALIBRATION_SECONDS = 60.0
_CALIBRATIONS_KEPT = 100
# Recorded in separate fields, or about the client.
_NO_OPTIONS = {"tags", "backend", "instance", "session_id", "start_session", "session_time"}


@dataclass(frozen=True)
class Sent:
    """Details of a job that are known only to its submitter.

    Attributes:
        key: Name of the attempt.
        attempt: Its number, from 1.
        earlier_job_ids: Jobs of the previous attempts.
        options: The options of the job.
        settings: The settings read from its inputs; None for a private job.
        versions: Versions of the packages in this environment.
        estimated_quantum_seconds: How long the job was expected to hold a QPU; None if that was
            not estimated.
    """

    key: str | None
    attempt: int
    earlier_job_ids: tuple[str, ...]
    options: dict[str, Any]
    settings: JobSettings | None
    versions: dict[str, str]
    estimated_quantum_seconds: float | None = None

    @classmethod
    def from_submission(
        cls,
        program_id: str,
        inputs: Mapping[str, Any],
        options: RuntimeOptions,
        *,
        key: str,
        job_ids: list[str],
        attempt: int,
    ) -> Sent:
        """Describe a submission.

        Args:
            program_id: The program.
            inputs: The inputs, as the user gave them.
            options: The options of the job.
            key: Name of the attempt.
            job_ids: Jobs of all attempts; the last one belongs to this attempt.
            attempt: Number of the attempt.
        """
        given = options.model_dump(mode="json", exclude_defaults=True, exclude=_NO_OPTIONS)
        return cls(
            key=key,
            attempt=attempt,
            earlier_job_ids=tuple(dict.fromkeys(job_ids[:-1])),
            options=given,
            settings=None if options.private else JobSettings.from_inputs(program_id, inputs),
            versions=own_versions(),
        )


@cache
def own_versions() -> dict[str, str]:
    """Return the versions of the relevant packages in this environment."""
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


async def collect(
    api: RuntimeApi,
    backend: RuntimeBackend,
    info: JobInfo,
    sent: Sent | None,
    *,
    asks_inputs: bool = True,
) -> Provenance:
    """Collect everything that is known about a job.

    Args:
        api: Its service.
        backend: A backend of that service, which has the service's address.
        info: The service's view of the job.
        sent: Details from its submission; None if another process submitted it.
        asks_inputs: Whether to fetch the inputs and read the settings from them, if `sent` is None.
    """
    metrics, calibration, settings = await asyncio.gather(
        _metrics(api, info),
        calibrations.find(api, backend, info, _asked_calibration(backend, sent)),
        _settings(api, info, sent, asks_inputs=asks_inputs),
    )
    fields = {
        **_of_service(info, metrics),
        **_of_place(backend),
        **_of_runs(info),
        **({} if settings is None else _of_settings(settings)),
        **({} if sent is None else _of_sender(sent, settings)),
    }
    if info.simulation:  # known to the service even if another process sent the job
        options = fields.get("options", {})
        job = {"simulation": info.simulation, **options.get("job", {})}
        fields["options"] = {**options, "job": job}
    return Provenance(calibration=calibration, **fields)


def _asked_calibration(backend: RuntimeBackend, sent: Sent | None) -> str | None:
    """Return the id of the calibration that was requested for a job, if it is known."""
    return backend.calibration_id if sent is None else sent.options.get("calibration_id")


def _of_service(info: JobInfo, metrics: JobMetrics) -> dict[str, Any]:
    started = info.started or metrics.timestamps.get("running")
    ended = info.ended or metrics.timestamps.get("finished")
    qiskit = metrics.qiskit_version
    return {
        "job_id": info.id,
        "key": info.idempotency_key or _key_among(info.tags),
        "status": info.state.status,
        "reason_code": info.state.reason_code,
        "program_id": info.program.id,
        "program_version": info.program.version,
        "backend": info.backend,
        "tags": info.tags,
        "session_id": info.session_id,
        "private": info.private,
        "simulation_methods": info.simulation_methods or [],
        "image": info.runtime,
        "job_versions": metrics.versions or ({} if qiskit is None else {"qiskit": qiskit}),
        "submitted_at": info.created,
        "started_at": started,
        "ended_at": ended,
        "queue_seconds": _seconds_between(info.created, started),
        "run_seconds": _seconds_between(started, ended),
        "usage_seconds": metrics.usage.get("seconds"),
        "quantum_seconds": metrics.quantum_seconds,
        "attempt": info.attempt,
    }


def _of_place(backend: RuntimeBackend) -> dict[str, Any]:
    service, *where = service_identity(backend)
    names = ("service_url", "instance")
    return {"service": service, **{name: text or None for name, text in zip(names, where)}}  # noqa: B905 - the embedded service has neither


def _of_runs(info: JobInfo) -> dict[str, Any]:
    root = next(filter(None, map(flow_run_of_tag, info.tags)), None)
    task, flow = TaskRunContext.get(), FlowRunContext.get()
    flow_run_id = flow.flow_run.id if flow is not None and flow.flow_run is not None else None
    if task is not None:
        flow_run_id = task.task_run.flow_run_id or flow_run_id
    ids = {
        "root_flow_run_id": root,
        "flow_run_id": flow_run_id,
        "task_run_id": None if task is None else task.task_run.id,
    }
    return {name: None if one is None else str(one) for name, one in ids.items()}


def _of_settings(settings: JobSettings) -> dict[str, Any]:
    return {
        "seeds": settings.seeds,
        "shots": settings.shots,
        "precision": settings.precision,
        "options": {"primitive": settings.options} if settings.options else {},
        "options_ignored": settings.ignored,
    }


def _of_sender(sent: Sent, settings: JobSettings | None) -> dict[str, Any]:
    of_inputs = {} if settings is None else _of_settings(settings)["options"]
    return {
        "key": sent.key,
        "attempt": sent.attempt,
        "earlier_job_ids": list(sent.earlier_job_ids),
        "options": {**({"job": sent.options} if sent.options else {}), **of_inputs},
        "versions": sent.versions,
        "estimated_quantum_seconds": sent.estimated_quantum_seconds,
    }


def _key_among(tags: Sequence[str]) -> str | None:
    return next((tag for tag in tags if tag.startswith(_KEY_PREFIX)), None)


def _seconds_between(since: datetime | None, until: datetime | None) -> float | None:
    return None if since is None or until is None else (until - since).total_seconds()


async def _metrics(api: RuntimeApi, info: JobInfo) -> JobMetrics:
    """Return times and usage: our services send them with the job, IBM's needs a request."""
    if info.quantum_seconds is not None and info.versions is not None:
        return JobMetrics(usage=info.usage or {}, versions=info.versions)
    try:
        return await api.job_metrics(info.id)
    except NotFoundError:  # IBM has no metrics for a job that did not start
        return JobMetrics()


async def _settings(
    api: RuntimeApi, info: JobInfo, sent: Sent | None, *, asks_inputs: bool
) -> JobSettings | None:
    if sent is not None:
        return sent.settings
    if info.private or not asks_inputs:
        return None
    inputs = json.loads(await api.job_inputs(info.id))
    return JobSettings.from_inputs(info.program.id, inputs)


@dataclass(frozen=True)
class _Known:
    """A calibration and the period in which it is known to have been in force."""

    calibration: Calibration | None
    since: datetime
    until: datetime

    def covers(self, moment: datetime) -> bool:
        """Return whether the calibration applies to a job that started at a moment."""
        return self.since <= moment <= self.until + timedelta(seconds=_CALIBRATION_SECONDS)


class Calibrations:
    """Finds the calibration that was in force when a job started, with few requests."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], list[_Known]] = {}
        self._of_ids: dict[tuple[str, ...], Calibration | None] = {}

    async def find(
        self, api: RuntimeApi, backend: RuntimeBackend, info: JobInfo, asked: str | None
    ) -> Calibration | None:
        """Return the calibration of a job; None if the backend has none or it cannot be read.

        Args:
            api: The service.
            backend: A backend of the service.
            info: The job.
            asked: Id of the calibration that was requested for the job; None for the newest.
        """
        if asked is not None:
            return await self._find_by_id(api, backend, info.backend, asked)
        started = info.started or info.created
        if started is None:
            return None
        key = (*service_identity(backend), info.backend)
        known = self._known.setdefault(key, [])
        found = next((one for one in reversed(known) if one.covers(started)), None)
        if found is None:
            try:
                found = await self._ask(api, info.backend, started)
            except QiskitRuntimeError as error:
                logger.debug("The calibration of %s is not known: %s", info.backend, error)
                return None
            known.append(found)
            del known[:-_CALIBRATIONS_KEPT]
        return found.calibration

    async def _find_by_id(
        self, api: RuntimeApi, backend: RuntimeBackend, name: str, asked: str
    ) -> Calibration | None:
        key = (*service_identity(backend), name, asked)
        if key not in self._of_ids:
            try:
                found = _read(await api.backend_properties(name, calibration_id=asked))
            except QiskitRuntimeError as error:
                logger.debug("Calibration %s of %s is not known: %s", asked, name, error)
                return None
            known = found or Calibration()
            self._of_ids[key] = known.model_copy(update={"calibration_id": asked})
        return self._of_ids[key]

    async def _ask(self, api: RuntimeApi, name: str, started: datetime) -> _Known:
        now = datetime.now(UTC)
        found = _read(await api.backend_properties(name))
        if found is None:
            return _Known(None, datetime.min.replace(tzinfo=UTC), now)
        if found.updated_at is None or found.updated_at <= started:
            return _Known(found, found.updated_at or started, now)
        before = _read(await api.backend_properties(name, updated_before=started))
        since = started if before is None or before.updated_at is None else before.updated_at
        return _Known(before, since, started)


calibrations = Calibrations()
"""The calibrations that this process knows."""


def _read(properties: Mapping[str, Any]) -> Calibration | None:
    if not properties:
        return None
    given = {
        "updated_at": properties.get("last_update_date"),
        "calibration_id": properties.get("calibration_id"),
        "backend_version": properties.get("backend_version"),
    }
    try:
        return Calibration.model_validate(given)
    except ValidationError:  # in a different form
        return None


async def read_stored(records: Records, job_id: str) -> Provenance | None:
    """Return the stored provenance of an ended job; None if none is readable."""
    record = await records.read(_place(job_id))
    try:
        return None if record is None else Provenance.model_validate(record)
    except ValidationError:  # stored by another version
        return None


async def store(records: Records, provenance: Provenance) -> None:
    """Store the provenance of a job that has ended."""
    await records.write(_place(provenance.job_id), provenance.model_dump(mode="json"))


def _place(job_id: str) -> str:
    return f"provenance-{job_id}"
