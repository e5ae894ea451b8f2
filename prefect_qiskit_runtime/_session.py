"""A session or batch as flows hold it: an id, and the backend whose service has it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from prefect_qiskit_runtime.backend import OptionsLike, RuntimeBackend
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.models import RuntimeOptions, SessionInfo, SessionState
from prefect_qiskit_runtime.twins.sync import run_sync


class RuntimeSession:
    """A session or batch, opened here or found by its id.

    Each method asks the service, and has an async twin with the prefix `a`.

    One that `runtime_session` or `runtime_batch` has opened is opened anew where the service has
    closed it, at its max time say, and a call still has a job for it.

    Attributes:
        session_id: The service's id of it.
        earlier_ids: Those of the sessions before, which the service has closed; the first first.
        backend: The backend that its jobs run on.
    """

    def __init__(
        self,
        session_id: str,
        backend: RuntimeBackend,
        *,
        open_another: Callable[[str], Awaitable[str]] | None = None,
    ) -> None:
        self.session_id = session_id
        self.earlier_ids: list[str] = []
        self.backend = backend
        self._open_another = open_another
        self._opening = asyncio.Lock()

    def __getstate__(self) -> dict[str, Any]:
        # In another process nobody would close what is opened anew.
        return {**vars(self), "_open_another": None, "_opening": asyncio.Lock()}

    def __repr__(self) -> str:
        return f"RuntimeSession({self.session_id!r}, backend={self.backend.name!r})"

    async def adetails(self) -> SessionInfo:
        """Everything that the service says of it."""
        async with self.backend.connect() as api:
            return await api.get_session(self.session_id)

    def details(self) -> SessionInfo:
        """Everything that the service says of it."""
        return run_sync(self.adetails())

    async def astatus(self) -> SessionState:
        """Whether it is open, active, inactive or closed."""
        return (await self.adetails()).state

    def status(self) -> SessionState:
        """Whether it is open, active, inactive or closed."""
        return run_sync(self.astatus())

    async def ausage_seconds(self) -> float:
        """How long it has held the backend, by the service's clock; with the sessions before."""
        async with self.backend.connect() as api:
            infos = [await api.get_session(one) for one in (*self.earlier_ids, self.session_id)]
        return sum(info.elapsed_time or 0.0 for info in infos)

    def usage_seconds(self) -> float:
        """How long it has held the backend, by the service's clock; with the sessions before."""
        return run_sync(self.ausage_seconds())

    async def areopened(self, closed_id: str) -> bool:
        """Go on in another session where the service has closed one; say whether there is one.

        There is none after `close` or `cancel`, and for one that was not opened here.
        """
        async with self._opening:
            if self.session_id == closed_id:
                if self._open_another is None:
                    return False
                self.session_id = await self._open_another(closed_id)
                self.earlier_ids.append(closed_id)
            return True

    async def aclose(self) -> None:
        """Take no more jobs; it closes when those that it has are done."""
        self._open_another = None
        async with self.backend.connect() as api:
            await api.close_session(self.session_id)

    def close(self) -> None:
        """Take no more jobs; it closes when those that it has are done."""
        run_sync(self.aclose())

    async def acancel(self) -> None:
        """Close it now; the jobs that wait in it are cancelled, one that runs goes on."""
        self._open_another = None
        async with self.backend.connect() as api:
            await api.cancel_session(self.session_id)

    def cancel(self) -> None:
        """Close it now; the jobs that wait in it are cancelled, one that runs goes on."""
        run_sync(self.acancel())


SessionLike = RuntimeSession | str | None
"""A session, or its id; None for a job that belongs to none."""


def in_session(options: OptionsLike, session: SessionLike) -> RuntimeOptions:
    """Return the options of a job that is to belong to a session.

    Raises:
        ConfigurationError: It is no session, or the options name another one.
    """
    read = RuntimeOptions.read(options)
    if session is None:
        return read
    if not isinstance(session, RuntimeSession | str):
        raise ConfigurationError(
            f"session must be what runtime_session or runtime_batch gave, or the id of a session, "
            f"not {type(session).__name__}: {session!r:.80}"
        )
    session_id = session if isinstance(session, str) else session.session_id
    if read.session_id not in (None, session_id) or read.start_session:
        raise ConfigurationError(
            f"The job is to belong to session {session_id}, but its options name another one. "
            f"Leave session_id and start_session out of the options."
        )
    return read.model_copy(update={"session_id": session_id})


def opened(session: SessionLike) -> RuntimeSession | None:
    """Return a session that can be opened anew; None for an id, and for none."""
    return session if isinstance(session, RuntimeSession) else None
