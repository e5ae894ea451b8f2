"""The open sessions of a flow run, stored on it as a label.

Sessions have no tags, so a process that cleans up after a flow run reads the label of its root to
find the sessions that were left open. Each process has its own label for each start of the root. If
a label cannot be written, a warning is logged and the session stays usable.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.objects import FlowRun

from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.errors import NotFoundError
from prefect_qiskit_runtime.flow_run.lineage import Run, lineage_here, root_flow_run_id_here
from prefect_qiskit_runtime.flow_run.logger import logger_here
from prefect_qiskit_runtime.submission.retrying import RetryPolicy

_LABEL = "qiskit-runtime.open-sessions."
_NOTE_SECONDS = 10.0


class _OpenSessions:
    """The open sessions of this process, by root flow run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_root: dict[Run, list[str]] = {}
        self._name = secrets.token_hex(4)

    def add(self, root: Run, session_id: str) -> None:
        with self._lock:
            self._by_root.setdefault(root, []).append(session_id)
            self._write(root)

    def remove(self, root: Run, session_id: str) -> None:
        with self._lock:
            self._by_root[root].remove(session_id)
            self._write(root)

    def sessions_of(self, root_id: UUID) -> list[str]:
        with self._lock:
            runs = [root for root in self._by_root if root.run_id == str(root_id)]
            return [session_id for root in runs for session_id in self._by_root[root]]

    def _write(self, root: Run) -> None:
        """Write the label, under the lock, so that an older label cannot replace a newer one."""
        with get_client(sync_client=True) as client:
            note = " ".join(self._by_root[root])
            label = f"{_LABEL}{root.run_count}-{self._name}"
            client.update_flow_run_labels(UUID(root.run_id), {label: note})


_open = _OpenSessions()


async def note_opened(session_id: str) -> None:
    """Record that the flow run around this code has opened a session."""
    await _note(_open.add, session_id)


async def note_closed(session_id: str) -> None:
    """Record that the flow run around this code has closed a session."""
    await _note(_open.remove, session_id)


async def open_sessions_here() -> list[str]:
    """Return the sessions that the flow run around this code has open in this process."""
    root_id = await root_flow_run_id_here()
    return [] if root_id is None else _open.sessions_of(root_id)


def sessions_left_open(root: FlowRun) -> list[str]:
    """Return the sessions that are open according to the labels of a root flow run."""
    return [session_id for _, note in _notes(root.labels) for session_id in note.split()]


async def close_left_by_earlier_runs(api: RuntimeApi, policy: RetryPolicy) -> None:
    """Close the sessions that earlier starts of the flow run left open when they were killed.

    The jobs of these sessions continue, and calls can attach to them.
    """
    lineage = await lineage_here(None)
    if lineage is None or not lineage.is_rerun:
        return
    root = lineage.flow_runs[-1]
    async with get_client() as client:
        labels = (await client.read_flow_run(UUID(root.run_id))).labels
        for label, note in _notes(labels):
            run_count, _, _ = label.removeprefix(_LABEL).partition("-")
            if not note or int(run_count) >= root.run_count:
                continue
            for session_id in note.split():
                with suppress(NotFoundError):  # on another service, or deleted long ago
                    await policy.ask(partial(api.close_session, session_id))
                    logger_here().info("Session %s of an earlier run was closed.", session_id)


def _notes(labels: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return ((label, str(note)) for label, note in labels.items() if label.startswith(_LABEL))


async def _note(write: Callable[[Run, str], None], session_id: str) -> None:
    try:
        lineage = await lineage_here(None)
        if lineage is not None:
            async with asyncio.timeout(_NOTE_SECONDS):
                await asyncio.to_thread(write, lineage.flow_runs[-1], session_id)
    except Exception:  # noqa: BLE001 - Prefect's client raises any error: logged
        logger_here().warning(
            "Session %s could not be recorded in Prefect's API. If this flow is killed now, no "
            "hook closes the session.",
            session_id,
            exc_info=True,
        )
