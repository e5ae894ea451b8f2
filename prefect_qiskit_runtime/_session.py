"""A session or batch as flows hold it: an id, and the backend whose service has it."""

from __future__ import annotations

from prefect_qiskit_runtime._sync import run_sync
from prefect_qiskit_runtime.backend import OptionsLike, RuntimeBackend
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.models import RuntimeOptions, SessionInfo, SessionState


class RuntimeSession:
    """A session or batch, opened here or found by its id.

    Each method asks the service, and has an async twin with the prefix `a`.

    Attributes:
        session_id: The service's id of it.
        backend: The backend that its jobs run on.
    """

    def __init__(self, session_id: str, backend: RuntimeBackend) -> None:
        self.session_id = session_id
        self.backend = backend

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

    async def aclose(self) -> None:
        """Take no more jobs; it closes when those that it has are done."""
        async with self.backend.connect() as api:
            await api.close_session(self.session_id)

    def close(self) -> None:
        """Take no more jobs; it closes when those that it has are done."""
        run_sync(self.aclose())

    async def acancel(self) -> None:
        """Close it now; the jobs that wait in it are cancelled, one that runs goes on."""
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
