"""Endpoints of instances, as IBM's clients use them."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Depends

from prefect_qiskit_runtime.errors import NotFoundError
from prefect_qiskit_runtime.service import instances, jobs
from prefect_qiskit_runtime.service.http.auth import Caller, Context
from prefect_qiskit_runtime.service.http.routes import backends
from prefect_qiskit_runtime.service.store.jobs import used_quantum_seconds

router = APIRouter()


async def _require(hub: str, group: str, project: str) -> None:
    if not instances.is_ours(hub, group, project):
        name = f"{hub}/{group}/{project}"
        raise NotFoundError(f"There is no instance {name!r}.", kind="instance", identifier=name)


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
async def get_properties(name: str, context: Context, owner: Caller) -> dict[str, Any]:
    """Return the calibration of a backend."""
    return await backends.get_properties(name, context, owner, is_legacy=True)


@_project.get("/devices/{name}/defaults")
async def get_defaults(name: str, context: Context, owner: Caller) -> dict[str, Any]:
    """Return pulse defaults without any pulses."""
    return await backends.get_defaults(name, context, owner)


router.include_router(_project)
