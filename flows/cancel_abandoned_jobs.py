"""Cancel, every few minutes, the jobs of flow runs that will not resume.

    python flows/cancel_abandoned_jobs.py my-backend another-backend

This serves a deployment of this flow for saved `RuntimeBackend` blocks; without a name, it covers
the embedded service of this machine. It stays in the foreground.
"""

from __future__ import annotations

import sys
from typing import Annotated

from prefect import flow
from pydantic import Field

from prefect_qiskit_runtime import RuntimeBackend, acancel_abandoned_jobs

INTERVAL_SECONDS = 300


@flow
async def cancel_abandoned_jobs(
    blocks: list[str] | None = None,
    *,
    crashed_after_minutes: Annotated[float, Field(ge=0)] = 60,
    deleted: bool = False,
) -> list[str]:
    """Cancel pending jobs of flow runs that were cancelled, or crashed a while ago.

    Args:
        blocks: Names of saved `RuntimeBackend` blocks, one for each service; empty for the
            embedded service.
        crashed_after_minutes: Time within which a crashed flow run may be retried.
        deleted: Also cancel the jobs of flow runs that this Prefect server does not know. Set it
            only if all flows that use the services run on this one.

    Returns:
        Ids of the cancelled jobs.
    """
    backends = [await RuntimeBackend.aload(name) for name in blocks or ()]
    return await acancel_abandoned_jobs(
        *(backends or [RuntimeBackend()]),
        crashed_after_seconds=60 * crashed_after_minutes,
        deleted=deleted,
    )


if __name__ == "__main__":
    cancel_abandoned_jobs.serve(
        name="every-5-minutes", interval=INTERVAL_SECONDS, parameters={"blocks": sys.argv[1:]}
    )
