"""Sessions and batches of a service: open, find and list."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from prefect_qiskit_runtime.client._api import LEAVE_SECONDS, RuntimeApi
from prefect_qiskit_runtime.client._delivery import InterimCallback
from prefect_qiskit_runtime.client._jobs import JobsClient, RuntimeClientJob
from prefect_qiskit_runtime.client._parameters import InputsLike
from prefect_qiskit_runtime.codec import ResultDecoderLike
from prefect_qiskit_runtime.errors import QiskitRuntimeError
from prefect_qiskit_runtime.models import (
    RuntimeOptions,
    SessionInfo,
    SessionMode,
    SessionState,
    read_seconds,
)
from prefect_qiskit_runtime.twins.clean_up import cleaned_up

if TYPE_CHECKING:
    from prefect_qiskit_runtime.client._jobs import JobsClient


_logger = logging.getLogger(__name__)


class RuntimeClientSession:
    """A session or batch of a service; an async context manager that closes it.

    If an exception leaves the block, jobs still queued in the session are cancelled.

    Attributes:
        session_id: Its id.
        backend: Name of the backend that its jobs run on.
        mode: "dedicated" or "batch".
    """

    def __init__(self, client: JobsClient, api: RuntimeApi, info: SessionInfo) -> None:
        self.session_id = info.id
        self.backend = info.backend_name
        self.mode: SessionMode = info.mode or "dedicated"
        self._client = client
        self._api = api

    def __repr__(self) -> str:
        return (
            f"RuntimeClientSession({self.session_id!r}, backend={self.backend!r},"
            f" mode={self.mode!r})"
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            await self.close()
            return
        await cleaned_up(self._abandon(), 2 * LEAVE_SECONDS)

    async def _abandon(self) -> None:
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self.cancel()
        except (QiskitRuntimeError, TimeoutError):
            _logger.exception("Session %s may still be open.", self.session_id)

    async def run(
        self,
        program_id: str,
        inputs: InputsLike = None,
        *,
        options: RuntimeOptions | Mapping[str, Any] | None = None,
        callback: InterimCallback | None = None,
        result_decoder: ResultDecoderLike = None,
        idempotency_key: str | None = None,
    ) -> RuntimeClientJob:
        """Submit a job of a program within the session, as `RuntimeClient.run` does.

        Raises:
            SessionClosedError: The session accepts no more jobs.
        """
        return await self._client.run(
            program_id,
            inputs,
            backend=self.backend,
            options=options,
            callback=callback,
            result_decoder=result_decoder,
            idempotency_key=idempotency_key,
            session_id=self.session_id,
        )

    async def details(self) -> SessionInfo:
        """Return everything the service reports about the session."""
        return await self._api.get_session(self.session_id)

    async def status(self) -> SessionState:
        """Return whether the session is open, active, inactive or closed, or on the way to it."""
        return (await self.details()).state

    async def usage(self) -> float | None:
        """Return the seconds that the session has used.

        For a dedicated session, this is the time for which it held its slot; for a batch, the
        total running time of its ended jobs.
        """
        return (await self.details()).elapsed_time

    async def close(self) -> None:
        """Accept no more jobs; the session closes when its jobs have ended."""
        await self._api.close_session(self.session_id)

    async def cancel(self) -> None:
        """Close the session now: queued jobs are cancelled, a running job continues."""
        await self._api.cancel_session(self.session_id)


class SessionsClient(JobsClient):
    """A client with the methods for sessions and batches."""

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
                "batch" for a group of jobs that may run side by side.
            max_time: Latest closing time, counted from the start of its first job: seconds, or
                text such as "2h 30m". Default: the service's limit.

        Raises:
            ConfigurationError: `max_time` is not a duration.
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
            skip: Number of sessions to skip at the beginning.
            is_open: True for sessions that are not closed, False for closed ones.
        """
        infos = await self._api.list_sessions(limit=limit, offset=skip, is_open=is_open)
        return [RuntimeClientSession(self, self._api, info) for info in infos]
