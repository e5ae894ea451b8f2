"""Backends of a service: what there is to run on."""

from __future__ import annotations

from collections.abc import Callable

from prefect_qiskit_runtime._tasks import async_task, sync_task
from prefect_qiskit_runtime._watching import logger_here
from prefect_qiskit_runtime.backend import BackendLike, RuntimeBackend, as_backend
from prefect_qiskit_runtime.errors import NotFoundError
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


@async_task
async def aleast_busy_backend(
    *,
    backend: BackendLike | None = None,
    min_num_qubits: int | None = None,
    simulator: bool | None = None,
    filters: Callable[[BackendStatus], bool] | None = None,
) -> RuntimeBackend:
    """Return the backend of a service that takes jobs and has the fewest waiting.

    Args:
        backend: Any backend of the service, whose settings the chosen one keeps; default: the
            embedded service.
        min_num_qubits: One with so many qubits at least.
        simulator: Whether it must, or must not, be a simulator.
        filters: Called with the status of each; only those for which it is true are considered.

    Returns:
        A block like the given one with the name of the chosen backend, for `run_program` and
        the other calls.

    Raises:
        NotFoundError: No backend fits.
    """
    block = as_backend(backend or RuntimeBackend())
    async with block.connect() as api:
        listed = await api.list_backends()
    fitting = [
        one
        for one in listed
        if one.operational
        and one.qubits >= (min_num_qubits or 0)
        and simulator in (None, one.simulator)
        and (filters is None or filters(one))
    ]
    if not fitting:
        raise NotFoundError(
            f"None of the {len(listed)} backends of the {block.service} service takes jobs and fits"
            f" (min_num_qubits={min_num_qubits}, simulator={simulator},"
            f" filters={'given' if filters else None}); list_backends shows them.",
            kind="backend",
        )
    chosen = min(fitting, key=lambda one: one.queue_length)
    logger_here().info(
        "Backend %s is the least busy of %d: %d jobs wait for it.",
        chosen.name,
        len(fitting),
        chosen.queue_length,
    )
    return block.model_copy(update={"name": chosen.name})


least_busy_backend = sync_task(aleast_busy_backend)
"""Synchronous twin of `aleast_busy_backend`."""
