"""Endpoints of instances, as IBM's clients use them."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Json

from prefect_qiskit_runtime.errors import NotFoundError
from prefect_qiskit_runtime.service import instances, jobs
from prefect_qiskit_runtime.service.devices import actual_name
from prefect_qiskit_runtime.service.http.auth import Caller, Context
from prefect_qiskit_runtime.service.http.routes import backends
from prefect_qiskit_runtime.service.request_json import validate
from prefect_qiskit_runtime.service.store.jobs import page_jobs, used_quantum_seconds
from prefect_qiskit_runtime.service.store.records import JobFilter

router = APIRouter()


async def _require(hub: str, group: str, project: str) -> None:
    if not instances.is_ours(hub, group, project):
        name = f"{hub}/{group}/{project}"
        raise NotFoundError(f"There is no instance {name!r}.", kind="instance", identifier=name)


class _Before(BaseModel):
    lt: datetime


class _LastUpdate(BaseModel):
    last_update_date: _Before


class _Where(BaseModel):
    where: _LastUpdate


class _Calibrations(BaseModel):
    """Query of a calibration, as sent by qiskit-ibmq-provider."""

    filter: Json[_Where]


_project = APIRouter(
    prefix="/Network/{hub}/Groups/{group}/Projects/{project}", dependencies=[Depends(_require)]
)


@router.get("/instance")
async def get_instance(_: Caller) -> dict[str, Any]:
    """Return that Q-CTRL is not available; requested by qiskit-ibm-runtime 0.15."""
    return {"qctrl_enabled": False}


@router.get("/instances/usage")
async def get_usage(context: Context, owner: Caller) -> dict[str, Any]:
    """Return the backend time that the caller's jobs have used. There is no limit."""
    used = await context.store.read(used_quantum_seconds, owner)
    return {"usage_consumed_seconds": used, "usage_limit_reached": False}


@router.get("/Network")
async def list_hubs(_: Caller) -> list[dict[str, Any]]:
    """List the caller's hubs, groups and projects."""
    return instances.hubs()


@router.get("/Network/bookings/v2")
@router.get("/Network/devices/{name}/bookings/v2")
async def list_bookings(context: Context, _: Caller, name: str | None = None) -> list[Any]:
    """List no reservations: backends cannot be reserved here."""
    if name is not None:
        context.devices.configuration(name)
    return []


@router.post("/v3/resources/search")
async def search_instances(owner: Caller) -> dict[str, Any]:
    """List the caller's instances as IBM Cloud's global search does."""
    return {"items": instances.search_items(owner)}


@router.get("/catalog/api/v1/{plan}")
async def get_plan(plan: str, _: Caller) -> dict[str, Any]:
    """Return the plan of an instance as IBM Cloud's catalog does."""
    if plan != instances.PLAN:
        raise NotFoundError(f"There is no plan {plan!r}.", kind="plan", identifier=plan)
    return instances.catalog_entry()


@router.get("/facade/v1/jobs/{job_id}/type")
async def get_job_type(job_id: str, context: Context, owner: Caller) -> dict[str, str]:
    """Return the type of a job; requested by qiskit-ibm-provider."""
    await jobs.find(context, job_id, owner)
    return {"type": "RUNTIME"}


@_project.get("/devices/v/1")
async def list_devices(context: Context, _: Caller) -> list[dict[str, Any]]:
    """List the configurations of all backends; requested by qiskit-ibmq-provider."""
    devices = context.devices
    return await asyncio.to_thread(
        lambda: [devices.legacy_configuration(name) for name in devices.legacy_names]
    )


@_project.get("/devices/{name}/queue/status")
async def get_queue(name: str, context: Context, owner: Caller) -> dict[str, Any]:
    """Return that a backend accepts jobs, and how many are pending."""
    status = await backends.get_status(name, context, owner)
    return {**status, "lengthQueue": status["length_queue"]}


@_project.get("/devices/{name}/properties")
async def get_properties(
    name: str,
    context: Context,
    owner: Caller,
    which: Annotated[str | None, Query(alias="filter")] = None,
) -> dict[str, Any]:
    """Return the newest calibration of a backend, or the last before a time."""
    before = None
    if which is not None:
        query = validate(_Calibrations, {"filter": which}, "filter of calibrations")
        before = query.filter.where.last_update_date.lt
    return await backends.get_properties(
        name, context, owner, is_legacy=True, updated_before=before
    )


@_project.get("/devices/{name}/jobsLimit")
async def get_jobs_limit(name: str, context: Context, owner: Caller) -> dict[str, int]:
    """Return that there is no limit, and how many of the caller's jobs are pending."""
    context.devices.configuration(name)
    which = JobFilter(limit=1, backend=actual_name(name), pending=True)
    _, pending = await context.store.read(page_jobs, owner, which)
    return {"maximumJobs": -1, "runningJobs": pending}


@_project.get("/devices/{name}/defaults")
async def get_defaults(name: str, context: Context, owner: Caller) -> dict[str, Any]:
    """Return pulse defaults without any pulses."""
    return await backends.get_defaults(name, context, owner)


router.include_router(_project)
