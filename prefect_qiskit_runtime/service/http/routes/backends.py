"""Endpoints of backends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter

from prefect_qiskit_runtime.service.devices import actual_name
from prefect_qiskit_runtime.service.http.auth import Caller, Context
from prefect_qiskit_runtime.service.http.dialect import IsLegacy
from prefect_qiskit_runtime.service.http.openapi import answers, object_of
from prefect_qiskit_runtime.service.store.jobs import count_pending

router = APIRouter(prefix="/backends")


@router.get("", responses=answers(object_of(devices={"type": "array"})))
async def list_backends(context: Context, _: Caller, is_legacy: IsLegacy) -> dict[str, Any]:
    """List the backends with their queues; IBM's older clients get only names."""
    if is_legacy:
        return {"devices": context.devices.legacy_names}
    waiting = _by_backend(await context.store.read(count_pending))
    names = context.devices.names
    configurations = await asyncio.to_thread(
        lambda: [context.devices.configuration(name) for name in names]
    )
    devices = [
        {
            "name": name,
            "status": {"name": "online"},
            "queue_length": waiting.get(name, 0),
            "qubits": configuration["n_qubits"],
            # IBM's client of today reads this one.
            "physical_qubits": configuration["n_qubits"],
            "is_simulator": configuration["simulator"],
        }
        for name, configuration in zip(names, configurations, strict=True)
    ]
    return {"devices": devices}


@router.get("/{name}/configuration", responses=answers({"type": "object"}))
async def get_configuration(
    name: str,
    context: Context,
    _: Caller,
    is_legacy: IsLegacy,
    calibration_id: str | None = None,
) -> dict[str, Any]:
    """Return the configuration of a backend, which is the same for every calibration."""
    devices = context.devices
    configuration = devices.legacy_configuration(name) if is_legacy else devices.configuration(name)
    devices.calibration(name, calibration_id)
    return configuration


@router.get("/{name}/properties", responses=answers({"type": "object"}))
async def get_properties(
    name: str,
    context: Context,
    _: Caller,
    is_legacy: IsLegacy,
    calibration_id: str | None = None,
    updated_before: datetime | None = None,
) -> dict[str, Any]:
    """Return a calibration of a backend, by default the newest; empty for an ideal backend.

    With a time, it is the last calibration before, or empty if there is none.
    """
    devices = context.devices
    read = devices.legacy_properties if is_legacy else devices.properties
    if updated_before is not None and updated_before.tzinfo is None:
        updated_before = updated_before.replace(tzinfo=UTC)
    return await asyncio.to_thread(read, name, calibration_id, before=updated_before)


@router.get("/{name}/defaults", responses=answers({"type": "object"}))
async def get_defaults(name: str, context: Context, _: Caller) -> dict[str, Any]:
    """Return pulse defaults without any pulses.

    Older clients need them to build `backend.target` of open-pulse backends, which fails with an
    empty object as well as with a 404.
    """
    context.devices.configuration(name)
    return {
        "qubit_freq_est": [],
        "meas_freq_est": [],
        "buffer": 0,
        "pulse_library": [],
        "cmd_def": [],
    }


@router.get(
    "/{name}/status",
    responses=answers(
        object_of(
            state={"type": "boolean"}, status={"type": "string"}, length_queue={"type": "integer"}
        )
    ),
)
async def get_status(name: str, context: Context, _: Caller) -> dict[str, Any]:
    """Return that a backend accepts jobs, and how many are pending."""
    configuration = context.devices.configuration(name)
    waiting = _by_backend(await context.store.read(count_pending))
    return {
        "backend_name": name,
        "backend_version": configuration["backend_version"],
        "state": True,
        "status": "active",
        "message": "",
        "length_queue": waiting.get(actual_name(name), 0),
    }


def _by_backend(pending: dict[tuple[str, Any], int]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for (backend, _state), count in pending.items():
        totals[backend] = totals.get(backend, 0) + count
    return totals
