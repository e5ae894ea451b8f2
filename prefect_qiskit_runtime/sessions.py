"""Sessions and batches for flows, which always close.

A session holds a slot of the service: its jobs do not wait behind those of others. A batch
groups jobs that may run side by side. Both are context managers, `runtime_session` for
synchronous flows and `aruntime_session` for asynchronous ones. However the block is left, no
open session stays behind: at its end the session finishes the jobs that it has and takes no
more; when it is left by an exception (an interrupt or a cancelled flow included), the jobs that
still wait in it are cancelled. What a killed process has left open, the flow run takes up again
when it is retried.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from typing import Any

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

    details = blocking(adetails)

    async def astatus(self) -> SessionState:
        """Whether it is open, active, inactive or closed."""
        return (await self.adetails()).state

    status = blocking(astatus)

    async def ausage_seconds(self) -> float:
        """How long it has held the backend, by the service's clock; with the sessions before."""
        async with self.backend.connect() as api:
            infos = [await api.get_session(one) for one in (*self.earlier_ids, self.session_id)]
        return sum(info.elapsed_time or 0.0 for info in infos)

    usage_seconds = blocking(ausage_seconds)

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

    close = blocking(aclose)

    async def acancel(self) -> None:
        """Close it now; the jobs that wait in it are cancelled, one that runs goes on."""
        self._open_another = None
        async with self.backend.connect() as api:
            await api.cancel_session(self.session_id)

    cancel = blocking(acancel)


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


@asynccontextmanager
async def aruntime_session(
    backend: BackendLike, *, max_time: int | str | None = None
) -> AsyncIterator[RuntimeSession]:
    """Open a session for the block and close it at its end.

    From its first job on, the session holds one slot of the service. Its jobs run there one
    after the other and never wait behind those of others.

    Args:
        backend: A `RuntimeBackend`, or the name of a backend of the embedded service.
        max_time: When it closes at the latest, counted from the start of its first job: seconds,
            or text such as "2h 30m". Default: the service's, 8 hours.

    Yields:
        The session, for the argument `session` of `run_program` and its like.

    Raises:
        ConfigurationError: `max_time` is no length of time.
        InvalidInputError: `max_time` is longer than the service allows.
        NotFoundError: There is no such backend.
    """
    async with _opened(backend, "dedicated", max_time) as session:
        yield session


@contextmanager
def runtime_session(
    backend: BackendLike, *, max_time: int | str | None = None
) -> Iterator[RuntimeSession]:
    """Open a session for the block and close it at its end; see `aruntime_session`."""
    with _opened_sync(backend, "dedicated", max_time) as session:
        yield session


@asynccontextmanager
async def aruntime_batch(
    backend: BackendLike, *, max_time: int | str | None = None
) -> AsyncIterator[RuntimeSession]:
    """Open a batch for the block and close it at its end.

    A batch groups jobs that do not depend on each other. They run side by side, as the queue of
    the service allows.

    Args:
        backend: A `RuntimeBackend`, or the name of a backend of the embedded service.
        max_time: As in `aruntime_session`.

    Yields:
        The batch, for the argument `session` of `submit_program` and its like.

    Raises:
        ConfigurationError: `max_time` is no length of time.
        InvalidInputError: `max_time` is longer than the service allows.
        NotFoundError: There is no such backend.
    """
    async with _opened(backend, "batch", max_time) as batch:
        yield batch


@contextmanager
def runtime_batch(
    backend: BackendLike, *, max_time: int | str | None = None
) -> Iterator[RuntimeSession]:
    """Open a batch for the block and close it at its end; see `aruntime_batch`."""
    with _opened_sync(backend, "batch", max_time) as batch:
        yield batch


class _Opening:
    """A session from before it is opened until it is left.

    Whatever interrupts the caller, it finds here whether there is a session to close.
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
                f"No session was opened on {backend.name}: the plan of the IBM Quantum instance has"
                " none. Use runtime_batch, run without a session, or take an instance of another"
                " plan."
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
        """Open a session in place of one that the service has closed."""
        info = await self._create()
        await note_opened(info.id)
        await note_closed(closed_id)
        return info.id

    async def _found_or_opened(self, api: RuntimeApi) -> SessionInfo:
        """Open a session, or take up the one of a process that was killed in this block."""
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
            # None that it has not named: one without a job costs nothing, and ends by itself.
            if self._session is None:
                await close_left_by_earlier_runs(api, self._policy)
            return await opened(None)
        while True:
            info = await opened(next(self._keys))
            if info.accepting_jobs and info.state is not SessionState.CLOSED:
                return info

    def _keys_of(self, lineage: Lineage) -> Iterator[str]:
        """Give what this block calls its session: each time that it has run, another."""
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
        """Take no more jobs: the end of the block."""
        assert self._session is not None  # noqa: S101 - for the type checker: it was opened
        with suppress(ConflictError):  # the service has closed it already
            await self._policy.ask(self._session.aclose)
        await note_closed(self._session.session_id)
        with suppress(QiskitRuntimeError):
            logger_here().info(
                "Session %s was left; the backend was held for %.1f s so far.",
                self._session.session_id,
                await self._session.ausage_seconds(),
            )

    async def abandon(self) -> None:
        """Cancel what was opened; what goes wrong is logged, another error is on its way."""
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


@contextmanager
def _opened_sync(
    backend: BackendLike, mode: SessionMode, max_time: int | str | None
) -> Iterator[RuntimeSession]:
    opening = _Opening(backend, mode, max_time)
    try:
        session = run_sync(opening.open())
        yield session
    except BaseException:
        run_sync(opening.abandon())
        raise
    run_sync(opening.close())
