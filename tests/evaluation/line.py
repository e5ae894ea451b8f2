"""The queue in which submissions to an account wait, made shorter for tests."""

from __future__ import annotations

from prefect import get_client

from prefect_qiskit_runtime import RuntimeBackend
from prefect_qiskit_runtime.evaluation import submission_line


async def limits_of(backend: RuntimeBackend) -> str:
    """The common prefix of the names of the limits."""
    async with backend.connect() as api:
        return submission_line.limit_name(api)


async def set_pace(backend: RuntimeBackend, seconds: float) -> None:
    """Allow five submissions in this time instead of in a minute."""
    name = await limits_of(backend)
    async with get_client() as client:
        for number in range(1, 6):
            await client.upsert_global_concurrency_limit_by_name(
                f"{name}-submission-{number}", 1, slot_decay_per_second=1 / seconds
            )
