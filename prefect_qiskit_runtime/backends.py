"""Backends of a service: what there is to run on."""

from __future__ import annotations

from prefect_qiskit_runtime._tasks import async_task, sync_task
from prefect_qiskit_runtime.backend import BackendLike, RuntimeBackend, as_backend
from prefect_qiskit_runtime.models import BackendStatus


@async_task
async def alist_backends(*, backend: BackendLike | None = None) -> list[BackendStatus]:
    """List the backends of a service with their qubits and queues.

    Args:
        backend: Any backend of the service; default: the embedded service.
    """
    async with as_backend(backend or RuntimeBackend()).connect() as api:
        return await api.list_backends()


list_backends = sync_task(alist_backends)
"""Synchronous twin of `alist_backends`."""
