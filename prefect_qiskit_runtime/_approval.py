"""Limits of QPU time that somebody has raised for a flow run, by resuming it where it was paused.

What was granted is known in this process; a flow run that is run again asks again.
"""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime

from prefect import get_client
from prefect.states import Paused

from prefect_qiskit_runtime.client import settings_of_environment
from prefect_qiskit_runtime.flow_run.logger import logger_here

_APPROVAL_SECONDS = 86_400

_granted: dict[tuple[str, str], float] = {}


def granted_seconds(root_id: uuid.UUID | None, whose: str) -> float:
    """Return how much was granted beyond a limit.

    Args:
        root_id: The root flow run; None outside of flow runs, where nothing is granted.
        whose: What the limit is of: a scope, or a program.
    """
    return _granted.get((str(root_id), whose), 0.0)


def grant(root_id: uuid.UUID, whose: str, limit_seconds: float, *, at_least_seconds: float) -> None:
    """Grant as much again as a limit, and no less than gets any further.

    Args:
        root_id: As in `granted_seconds`.
        whose: As in `granted_seconds`.
        limit_seconds: The limit.
        at_least_seconds: What it takes beyond the limit.
    """
    before = granted_seconds(root_id, whose)
    _granted[str(root_id), whose] = max(before + limit_seconds, at_least_seconds)
    logger_here().info("The flow run was resumed: its budget for the %s is extended.", whose)


async def is_resumed(root_id: uuid.UUID, why: str) -> bool:
    """Pause a flow run in Prefect until it is resumed; say whether it was."""
    interval_seconds = settings_of_environment().flow_state_interval_seconds
    async with get_client() as client:
        paused = Paused(
            name="AwaitingApproval",
            message=why,
            timeout_seconds=_APPROVAL_SECONDS,
            pause_key=str(uuid.uuid4()),
        )
        await client.set_flow_run_state(root_id, paused)
        logger_here().warning("%s The flow run is paused: resume it in the UI to go on.", why)
        while True:
            state = (await client.read_flow_run(root_id)).state
            if state is None or not state.is_paused():
                return state is not None and state.is_running()
            timeout = state.state_details.pause_timeout
            if timeout is not None and datetime.now(UTC) > timeout:
                return False
            await asyncio.sleep(interval_seconds)
