"""Sessions and batches of a service: open, find and list."""

from __future__ import annotations

from prefect_qiskit_runtime.client._client_session import RuntimeClientSession
from prefect_qiskit_runtime.client._jobs import JobsClient
from prefect_qiskit_runtime.models import SessionMode, read_seconds


class SessionsClient(JobsClient):
    """A client with the calls on sessions and batches."""

    async def open_session(
        self,
        backend: str,
        *,
        mode: SessionMode = "dedicated",
        max_time: int | str | None = None,
    ) -> RuntimeClientSession:
        """Open a session, or a batch; use it in `async with`, which closes it.

        Args:
            backend: Name of the backend that its jobs run on.
            mode: "dedicated" for a session, which holds a slot of the service for its jobs;
                "batch" for one that groups jobs that may run side by side.
            max_time: When it closes at the latest, counted from the start of its first job:
                seconds, or text such as "2h 30m". Default: the service's.

        Raises:
            ConfigurationError: `max_time` is no length of time.
            NotFoundError: The service has no such backend.
            InvalidInputError: `max_time` is longer than the service allows.
        """
        seconds = None if max_time is None else read_seconds(max_time, "max_time")
        info = await self._api.create_session(backend, mode=mode, max_time=seconds)
        return RuntimeClientSession(self, self._api, info)

    async def session(self, session_id: str) -> RuntimeClientSession:
        """Return a session or batch of yours.

        Raises:
            NotFoundError: You have no such session.
        """
        return RuntimeClientSession(self, self._api, await self._api.get_session(session_id))

    async def sessions(
        self, limit: int | None = 10, skip: int = 0, *, is_open: bool | None = None
    ) -> list[RuntimeClientSession]:
        """List your sessions and batches, the newest first.

        Args:
            limit: At most this many; None for all.
            skip: Leave out this many of the first.
            is_open: True for those that are not closed, False for those that are.
        """
        infos = await self._api.list_sessions(limit=limit, offset=skip, is_open=is_open)
        return [RuntimeClientSession(self, self._api, info) for info in infos]
