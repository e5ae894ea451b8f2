"""Sessions and batches for flows, which are always closed.

A session reserves a slot of the service, so its jobs do not wait behind other users' jobs. A batch
groups jobs that may run in parallel. Both are context managers: `runtime_session` for synchronous
flows and `aruntime_session` for asynchronous ones. A session never stays open after its block. If
the block ends normally, the session finishes its jobs and accepts no more. If it ends with an
exception (including an interrupt or a cancelled flow), the jobs still queued in the session are
cancelled. If a process is killed and leaves a session open, a retry of the flow run reuses it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ContextDecorator, asynccontextmanager, suppress
from itertools import count
from typing import Any, Self

from prefect_qiskit_runtime.backend import (
    BackendLike,
    OptionsLike,
    RuntimeBackend,
    as_backend,
    service_identity,
)
from prefect_qiskit_runtime.client import LEAVE_SECONDS, RuntimeApi
from prefect_qiskit_runtime.codec import fingerprint
from prefect_qiskit_runtime.devices.choice import chosen_name
from prefect_qiskit_runtime.errors import ConfigurationError, ConflictError, QiskitRuntimeError
from prefect_qiskit_runtime.flow_run.cancelled import require_not_cancelled
from prefect_qiskit_runtime.flow_run.claims import claims
from prefect_qiskit_runtime.flow_run.lineage import Lineage, group_key, lineage_here, submission_key
from prefect_qiskit_runtime.flow_run.logger import logger_here
from prefect_qiskit_runtime.flow_run.open_sessions import (
    close_left_by_earlier_runs,
    note_closed,
    note_opened,
)
from prefect_qiskit_runtime.models import (
    NO_SESSIONS_IN_PLAN,
    RuntimeOptions,
    SessionInfo,
    SessionMode,
    SessionState,
    read_seconds,
)
from prefect_qiskit_runtime.submission.retrying import RetryPolicy, is_met
from prefect_qiskit_runtime.twins.clean_up import cleaned_up
from prefect_qiskit_runtime.twins.sync import blocking, run_sync

__all__ = [
    "RuntimeSession",
    "SessionLike",
    "aruntime_batch",
    "aruntime_session",
    "runtime_batch",
    "runtime_session",
]


class RuntimeSession:
    """A session or batch, opened here or found by its id.

    Each method asks the service, and has an async twin with the prefix `a`.

    If the service closes a session that `runtime_session` or `runtime_batch` opened, for example
    at its max time, a new one is opened for the next job.

    Attributes:
        session_id: The service's id of the session.
        earlier_ids: The ids of earlier sessions that the service closed, in order.
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
        # A session opened in another process would not be closed there.
        return {**vars(self), "_open_another": None, "_opening": asyncio.Lock()}

    def __repr__(self) -> str:
        return f"RuntimeSession({self.session_id!r}, backend={self.backend.name!r})"

    async def adetails(self) -> SessionInfo:
        """All details that the service has about the session."""
        async with self.backend.connect() as api:
            return await api.get_session(self.session_id)

    details = blocking(adetails)

    async def astatus(self) -> SessionState:
        """Whether it is open, active, inactive or closed."""
        return (await self.adetails()).state

    status = blocking(astatus)

    async def ausage_seconds(self) -> float:
        """Seconds that it and its earlier sessions held the backend, by the service's clock.

        Where the service does not report them, the most that the session can have used.
        """
        async with self.backend.connect() as api:
            infos = [await api.get_session(one) for one in (*self.earlier_ids, self.session_id)]
        return sum(info.most_seconds for info in infos)

    usage_seconds = blocking(ausage_seconds)

    async def areopened(self, closed_id: str) -> bool:
        """Continue in a new session after the service has closed one; return whether there is one.

        No new session is opened after `close` or `cancel`, or if this one was not opened here.
        """
        async with self._opening:
            if self.session_id == closed_id:
                if self._open_another is None:
                    return False
                self.session_id = await self._open_another(closed_id)
                self.earlier_ids.append(closed_id)
            return True

    async def aclose(self) -> None:
        """Accept no more jobs; the session closes when its jobs are done."""
        self._open_another = None
        async with self.backend.connect() as api:
            await api.close_session(self.session_id)

    close = blocking(aclose)

    async def acancel(self) -> None:
        """Close it now: queued jobs are cancelled, a running job continues."""
        self._open_another = None
        async with self.backend.connect() as api:
            await api.cancel_session(self.session_id)

    cancel = blocking(acancel)


SessionLike = RuntimeSession | str | None
"""A session, or its id; None for a job outside of sessions."""


def in_session(options: OptionsLike, session: SessionLike) -> RuntimeOptions:
    """Return the options of a job in a session.

    Raises:
        ConfigurationError: `session` is not a session, or the options name a different one.
    """
    read = RuntimeOptions.read(options)
    if session is None:
        return read
    if not isinstance(session, RuntimeSession | str):
        raise ConfigurationError(
            f"session must be a session from runtime_session or runtime_batch, or the id of one, "
            f"not {type(session).__name__}: {session!r:.80}"
        )
    session_id = session if isinstance(session, str) else session.session_id
    if read.session_id not in (None, session_id) or read.start_session:
        raise ConfigurationError(
            f"The job was given session {session_id}, but its options name another one. "
            f"Leave session_id and start_session out of the options."
        )
    return read.model_copy(update={"session_id": session_id})


def opened(session: SessionLike) -> RuntimeSession | None:
    """Return a session that can be opened again; None if `session` is an id or None."""
    return session if isinstance(session, RuntimeSession) else None


@asynccontextmanager
async def aruntime_session(
    backend: BackendLike, *, max_time: int | str | None = None
) -> AsyncIterator[RuntimeSession]:
    """Open a session for the block and close it at its end.

    From its first job on, the session reserves one slot of the service. Its jobs run there one
    after another and never wait behind other users' jobs.

    Args:
        backend: A `RuntimeBackend`, or the name of a backend of the embedded service.
        max_time: Maximum time until it closes, counted from the start of its first job: seconds,
            or text such as "2h 30m". Default: the service's default, 8 hours.

    Yields:
        The session, for the argument `session` of `run_program` and similar functions.

    Raises:
        ConfigurationError: `max_time` is not a valid duration.
        InvalidInputError: `max_time` is longer than the service allows.
        NotFoundError: The backend does not exist.
    """
    async with _opened(backend, "dedicated", max_time) as session:
        yield session


def runtime_session(
    backend: BackendLike, *, max_time: int | str | None = None
) -> AbstractContextManager[RuntimeSession]:
    """Open a session for the block and close it at its end; see `aruntime_session`."""
    return _Opened(backend, "dedicated", max_time)


@asynccontextmanager
async def aruntime_batch(
    backend: BackendLike, *, max_time: int | str | None = None
) -> AsyncIterator[RuntimeSession]:
    """Open a batch for the block and close it at its end.

    A batch groups jobs that do not depend on each other. They run in parallel as far as the
    service's queue allows.

    Args:
        backend: A `RuntimeBackend`, or the name of a backend of the embedded service.
        max_time: As in `aruntime_session`.

    Yields:
        The batch, for the argument `session` of `submit_program` and similar functions.

    Raises:
        ConfigurationError: `max_time` is not a valid duration.
        InvalidInputError: `max_time` is longer than the service allows.
        NotFoundError: The backend does not exist.
    """
    async with _opened(backend, "batch", max_time) as batch:
        yield batch


def runtime_batch(
    backend: BackendLike, *, max_time: int | str | None = None
) -> AbstractContextManager[RuntimeSession]:
    """Open a batch for the block and close it at its end; see `aruntime_batch`."""
    return _Opened(backend, "batch", max_time)


class _Opening:
    """The lifetime of a session, from before it is opened until the block ends.

    After any interruption, the caller can check here whether a session must be closed.
    """

    def __init__(self, backend: BackendLike, mode: SessionMode, max_time: int | str | None) -> None:
        self._backend = as_backend(backend)
        self._mode: SessionMode = mode
        self._max_time = None if max_time is None else read_seconds(max_time, "max_time")
        self._policy = RetryPolicy.from_options(self._backend.options())
        self._session: RuntimeSession | None = None
        self._keys: Iterator[str] | None = None

    async def open(self) -> RuntimeSession:
        lineage = await lineage_here(None)
        await require_not_cancelled(lineage)
        self._keys = None if lineage is None else self._keys_of(lineage)
        info = await self._create()
        self._session = RuntimeSession(
            info.id,
            self._backend.with_name(info.backend_name),
            open_another=self._open_another,
        )
        await note_opened(info.id)
        return self._session

    async def _create(self) -> SessionInfo:
        backend = self._backend
        try:
            async with backend.connect() as api:
                info = await self._found_or_opened(api)
        except QiskitRuntimeError as error:
            if error.code != NO_SESSIONS_IN_PLAN:
                raise
            raise ConfigurationError(
                f"No session was opened on {backend.name}: the plan of the IBM Quantum instance"
                " does not include sessions. Use runtime_batch, run without a session, or use an"
                " instance with another plan."
            ) from error
        logger_here().info(
            "%s %s opened on %s (%s service).",
            "Batch" if self._mode == "batch" else "Session",
            info.id,
            info.backend_name,
            backend.service,
        )
        return info

    async def _open_another(self, closed_id: str) -> str:
        """Open a session to replace one that the service has closed."""
        await require_not_cancelled(await lineage_here(None), look_again=True)
        info = await self._create()
        await note_opened(info.id)
        await note_closed(closed_id)
        return info.id

    async def _found_or_opened(self, api: RuntimeApi) -> SessionInfo:
        """Open a session, or reuse the one of a process that was killed in this block."""
        backend = self._backend if self._session is None else self._session.backend
        name = await self._policy.ask(lambda: chosen_name(api, backend), may_ask_again=is_met(api))

        async def opened(key: str | None) -> SessionInfo:
            return await self._policy.ask(
                lambda: api.create_session(
                    name,
                    mode=self._mode,
                    max_time=self._max_time,
                    idempotency_key=key,
                ),
                may_ask_again=is_met(api),
            )

        if self._keys is None:
            return await opened(None)
        if not api.kind.is_keyed:
            # Without a key, only noted sessions are closed: one without a job is free and expires.
            if self._session is None:
                await close_left_by_earlier_runs(api, self._policy)
            return await opened(None)
        while True:
            info = await opened(next(self._keys))
            if info.takes_jobs:
                return info

    def _keys_of(self, lineage: Lineage) -> Iterator[str]:
        """Generate the session keys of this block, a new one for each attempt."""
        print_ = fingerprint(
            {
                "service": service_identity(self._backend),
                "backend": self._backend.name,
                "mode": self._mode,
                "max_time": self._max_time,
            }
        )
        occurrence = claims.take(group_key(lineage, print_), lineage)
        return (submission_key(lineage, print_, occurrence, attempt) for attempt in count(1))

    async def close(self) -> None:
        """Accept no more jobs, at the end of the block."""
        assert self._session is not None  # noqa: S101 - for the type checker: it was opened
        with suppress(ConflictError):  # the service has closed it already
            await self._policy.ask(self._session.aclose)
        await note_closed(self._session.session_id)
        with suppress(QiskitRuntimeError):
            logger_here().info(
                "The block of session %s ended; the backend was held for %.1f s so far.",
                self._session.session_id,
                await self._session.ausage_seconds(),
            )

    async def abandon(self) -> None:
        """Cancel the session; errors are only logged, because another one is being raised."""
        if self._session is None:
            return
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._session.acancel()
                await note_closed(self._session.session_id)
        except (QiskitRuntimeError, TimeoutError) as error:
            logger_here().error(
                "Session %s may still be open: closing it failed: %s",
                self._session.session_id,
                error,
            )


@asynccontextmanager
async def _opened(
    backend: BackendLike, mode: SessionMode, max_time: int | str | None
) -> AsyncIterator[RuntimeSession]:
    opening = _Opening(backend, mode, max_time)
    try:
        session = await opening.open()
        yield session
    except BaseException:
        await cleaned_up(opening.abandon(), 2 * LEAVE_SECONDS)
        raise
    await opening.close()


class _Opened(AbstractContextManager[RuntimeSession], ContextDecorator):
    """The block of a session in synchronous code.

    Not a generator: Python would clean up one that is never left when it collects garbage, in any
    thread, with any locks held, and requests to a service could wait there for ever.
    """

    def __init__(self, backend: BackendLike, mode: SessionMode, max_time: int | str | None) -> None:
        self._arguments = (backend, mode, max_time)

    def __enter__(self) -> RuntimeSession:
        self._opening = _Opening(*self._arguments)
        try:
            return run_sync(self._opening.open())
        except BaseException:
            run_sync(self._opening.abandon())
            raise

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        run_sync(self._opening.close() if kind is None else self._opening.abandon())

    def _recreate_cm(self) -> Self:  # by ContextDecorator, for each call
        return type(self)(*self._arguments)
