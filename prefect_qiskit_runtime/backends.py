"""List the backends of a service, and choose the least busy one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect_qiskit_runtime.backend import BackendLike, RuntimeBackend, as_backend
from prefect_qiskit_runtime.devices.choice import choose_backend
from prefect_qiskit_runtime.flow_run.tasks import async_task, sync_task
from prefect_qiskit_runtime.models import BackendStatus


@async_task
async def alist_backends(*, backend: BackendLike | None = None) -> list[BackendStatus]:
    """List the backends of a service with their qubits and queue lengths.

    Args:
        backend: Any backend of the service; default: the embedded service.
    """
    async with as_backend(backend or RuntimeBackend()).connect() as api:
        return await api.list_backends()


list_backends = sync_task(alist_backends)
"""Synchronous twin of `alist_backends`."""


@async_task
async def aleast_busy_backend(
    *,
    backend: BackendLike | None = None,
    min_num_qubits: int | None = None,
    simulator: bool | None = None,
    filters: Callable[[BackendStatus], bool] | None = None,
) -> RuntimeBackend:
    """Return the backend of a service that accepts jobs and has the fewest waiting.

    Args:
        backend: Any backend of the service; the chosen backend meets its requirements and keeps its
            settings. Default: the embedded service.
        min_num_qubits: Minimum number of qubits.
        simulator: Whether the backend must, or must not, be a simulator.
        filters: Called with the status of each backend; returns whether the backend is eligible.

    Returns:
        A block like the given one with the name of the chosen backend, for `run_program` and
        the other calls.

    Raises:
        NotFoundError: No backend fits.
    """
    block = as_backend(backend or RuntimeBackend())
    asked: dict[str, Any] = {}
    if min_num_qubits is not None:
        asked["min_num_qubits"] = min_num_qubits
    if simulator is not None:
        asked["simulators"] = "only" if simulator else "never"
    async with block.connect() as api:
        choice = await choose_backend(api, block.model_copy(update=asked), filters=filters)
    return block.with_name(choice.name)


least_busy_backend = sync_task(aleast_busy_backend)
"""Synchronous twin of `aleast_busy_backend`."""
