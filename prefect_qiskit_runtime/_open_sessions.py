"""The sessions that a flow run has open, noted on it as a label.

Sessions have no tags. What comes from outside to clean up behind a flow run finds in the label
of its root which sessions it left open. Each process has a label of its own, and a note that
cannot be written costs a warning, never the session.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.objects import FlowRun

from prefect_qiskit_runtime._lineage import root_flow_run_id_here
from prefect_qiskit_runtime._watching import logger_here

_LABEL = "qiskit-runtime.open-sessions."
_NOTE_SECONDS = 10.0


class _OpenSessions:
    """Those of this process, by root flow run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_root: dict[UUID, list[str]] = {}
        self._label = f"{_LABEL}{secrets.token_hex(4)}"

    def add(self, root_id: UUID, session_id: str) -> None:
        with self._lock:
            self._by_root.setdefault(root_id, []).append(session_id)
            self._write(root_id)

    def remove(self, root_id: UUID, session_id: str) -> None:
        with self._lock:
            self._by_root[root_id].remove(session_id)
            self._write(root_id)

    def of(self, root_id: UUID) -> list[str]:
        with self._lock:
            return list(self._by_root.get(root_id, ()))

    def _write(self, root_id: UUID) -> None:
        """Write the label, under the lock: one that is older must not come later."""
        with get_client(sync_client=True) as client:
            note = " ".join(self._by_root[root_id])
            client.update_flow_run_labels(root_id, {self._label: note})


_open = _OpenSessions()


async def note_opened(session_id: str) -> None:
    """Take note that the flow run around this code has opened a session."""
    await _note(_open.add, session_id)


async def note_closed(session_id: str) -> None:
    """Take note that the flow run around this code has closed a session."""
    await _note(_open.remove, session_id)


async def open_sessions_here() -> list[str]:
    """Return the sessions that the flow run around this code has open in this process."""
    root_id = await root_flow_run_id_here()
    return [] if root_id is None else _open.of(root_id)


def sessions_left_open(root: FlowRun) -> list[str]:
    """Return the sessions that the label of a root flow run names as open."""
    notes = [str(note) for label, note in root.labels.items() if label.startswith(_LABEL)]
    return [session_id for note in notes for session_id in note.split()]


async def _note(write: Callable[[UUID, str], None], session_id: str) -> None:
    try:
        root_id = await root_flow_run_id_here()
        if root_id is not None:
            async with asyncio.timeout(_NOTE_SECONDS):
                await asyncio.to_thread(write, root_id, session_id)
    except Exception:  # noqa: BLE001 - whatever Prefect's client raises: logged
        logger_here().warning(
            "Prefect's API does not keep a note of session %s. If this flow is killed now, no "
            "hook closes it.",
            session_id,
            exc_info=True,
        )
