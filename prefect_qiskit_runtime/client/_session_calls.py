"""Sessions and batches in the protocol, one method per endpoint."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable
from contextlib import suppress
from typing import ClassVar

from prefect_qiskit_runtime._clean_up import cleaned_up
from prefect_qiskit_runtime.client._answers import Call
from prefect_qiskit_runtime.client._calls import Page, read_model, read_pages, segment
from prefect_qiskit_runtime.client._transport import Transport
from prefect_qiskit_runtime.errors import QiskitRuntimeError
from prefect_qiskit_runtime.models import SessionInfo, SessionMode

LEAVE_SECONDS = 10.0
"""How long a caller that is going away tries to close its session."""


class SessionCalls(Transport):
    """The part of a service's protocol that is about sessions.

    Attributes:
        reads_our_forms: Whether the jobs of the service decode inputs with our codec; IBM's read
            plain QPY.
        keyed_submission: Whether the service makes one job of all submissions with the same
            key, and one session of all requests for one. Where it does not, whoever submits has
            to look for the job before and after.
    """

    keyed_submission: ClassVar[bool] = True
    reads_our_forms: ClassVar[bool] = True

    async def create_session(
        self,
        backend: str,
        *,
        mode: SessionMode = "dedicated",
        max_time: int | None = None,
        idempotency_key: str | None = None,
    ) -> SessionInfo:
        """Open a session or a batch on a backend.

        A caller that is cancelled while the request is under way leaves no session behind that
        nobody knows of: the answer is awaited, and the session closed.

        Args:
            backend: Where its jobs run.
            mode: "dedicated" for a session that holds a slot, "batch" for one that does not.
            max_time: Seconds after the start of its first job at which it closes; the service's
                when None.
            idempotency_key: Where the service knows keys, the same session is given for it
                again. Default: one that nobody else has.

        Raises:
            NotFoundError: No such backend.
            InvalidInputError: The max time is longer than the service's.
        """
        asking = asyncio.ensure_future(
            self._create_session(backend, mode, max_time, idempotency_key)
        )
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            await cleaned_up(self._cancel_opened(asking), LEAVE_SECONDS)
            raise

    async def _cancel_opened(self, asking: Awaitable[SessionInfo]) -> None:
        with suppress(QiskitRuntimeError):
            await self.cancel_session((await asking).id)

    async def _create_session(
        self, backend: str, mode: SessionMode, max_time: int | None, key: str | None
    ) -> SessionInfo:
        kind = "batch" if mode == "batch" else "session"
        call = Call(
            "POST",
            "/sessions",
            f"open a {kind} on {backend}",
            "backend",
            backend,
            repeatable=self.keyed_submission,
        )
        is_keyed = self.keyed_submission
        headers = {"Idempotency-Key": key or secrets.token_hex(16)} if is_keyed else None
        fields = {"mode": mode, "backend": backend, "max_ttl": max_time}
        body = json.dumps({name: value for name, value in fields.items() if value is not None})
        return read_model(
            call, await self.request(call, content=body, headers=headers), SessionInfo
        )

    async def get_session(self, session_id: str) -> SessionInfo:
        """Return a session."""
        call = _session_call("GET", session_id, "get")
        return read_model(call, await self.request(call), SessionInfo)

    async def list_sessions(
        self, *, limit: int | None = None, offset: int = 0, is_open: bool | None = None
    ) -> list[SessionInfo]:
        """Return this user's sessions and batches, the newest first.

        Args:
            limit: How many at most; None for all.
            offset: How many to leave out at the beginning.
            is_open: True for those that are not closed, False for those that are.
        """
        call = Call("GET", "/sessions", "list sessions", repeatable=True)
        wanted = Page("sessions", SessionInfo, limit, offset)
        return await read_pages(self, call, {"open": is_open}, wanted)

    async def close_session(self, session_id: str) -> None:
        """Take no more jobs into a session: it closes when those that it has are done."""
        call = _session_call("PATCH", session_id, "close")
        await self.request(call, content=json.dumps({"accepting_jobs": False}))

    async def cancel_session(self, session_id: str) -> None:
        """Close a session now: the jobs that wait in it are cancelled, one that runs goes on."""
        await self.request(_session_call("DELETE", session_id, "cancel", "/close"))


def _session_call(method: str, session_id: str, doing: str, path: str = "") -> Call:
    return Call(
        method,
        f"/sessions/{segment('session', session_id)}{path}",
        f"{doing} session {session_id}",
        kind="session",
        identifier=session_id,
        repeatable=True,  # whatever it does, a second time does nothing more
    )
