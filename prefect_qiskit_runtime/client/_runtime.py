"""The client for people: the method names of the Qiskit Runtime services, without Prefect."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Self

from prefect_qiskit_runtime._decoders import Decoders, ResultDecoderLike
from prefect_qiskit_runtime._durations import read_seconds
from prefect_qiskit_runtime.client._api import RuntimeApi
from prefect_qiskit_runtime.client._client_job import InterimCallback, RuntimeClientJob
from prefect_qiskit_runtime.client._client_session import RuntimeClientSession
from prefect_qiskit_runtime.client._embedded import embedded_api
from prefect_qiskit_runtime.client._listing import format_programs
from prefect_qiskit_runtime.client._sources import (
    Metadata,
    Source,
    read_changes,
    read_program,
    read_source,
)
from prefect_qiskit_runtime.client._transport import Verify
from prefect_qiskit_runtime.codec import encode_inputs
from prefect_qiskit_runtime.errors import ConfigurationError, NotFoundError
from prefect_qiskit_runtime.models import (
    BackendStatus,
    IfExists,
    JobInfo,
    JobState,
    ProgramInfo,
    RuntimeOptions,
    SessionMode,
)
from prefect_qiskit_runtime.settings import Settings

Options = RuntimeOptions | Mapping[str, Any] | None

# What the Qiskit Runtime clients call these options.
_IBM_NAMES = {"backend_name": "backend", "job_tags": "tags"}


class RuntimeClient:
    """Programs and jobs of one Runtime service; an async context manager.

    Without a url it is the embedded service of this machine, started when needed.

    Args:
        url: Base of the service's API; None for the embedded service.
        token: The user's token for it.
        instance: The instance (CRN) to use, where the service has several.
        verify: Whether to verify TLS certificates, or the path of a certificate to trust.
        settings: Home, time limits; read from the environment by default.

    Example:
        ```python
        from prefect_qiskit_runtime import RuntimeClient

        async with RuntimeClient() as client:
            program_id = await client.upload_program("hello_world.py")
            job = await client.run(program_id, {"iterations": 3}, callback=print)
            print(await job.result())
        ```
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        instance: str | None = None,
        verify: Verify = True,
        settings: Settings | None = None,
    ) -> None:
        if (url is None) != (token is None):
            raise ConfigurationError(
                "Give both url and token, or neither for the embedded service of this machine."
            )
        self._api: RuntimeApi
        if url is None or token is None:
            self._api = embedded_api(settings)
        else:
            self._api = RuntimeApi(url, token, instance=instance, verify=verify, settings=settings)
        self._deliveries: set[asyncio.Task[JobState | None]] = set()

    async def __aenter__(self) -> Self:
        await self._api.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for delivery in self._deliveries:
            delivery.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)
        await self._api.__aexit__(*exc_info)

    # Programs -----------------------------------------------------------------------------

    async def upload_program(
        self,
        source: Source,
        metadata: Metadata = None,
        *,
        name: str | None = None,
        description: str | None = None,
        max_execution_time: int | None = None,
        spec: Mapping[str, Any] | None = None,
        is_public: bool = False,
        if_exists: IfExists = "update",
    ) -> str:
        """Upload a program and return its id.

        Args:
            source: Path of the Python file, or the source itself as text or bytes.
            metadata: Path of a JSON file, a mapping, or `ProgramMetadata`.
            name: Over the metadata's; default: the name of the file.
            description: Over the metadata's.
            max_execution_time: Wall-clock limit of its jobs in seconds, over the metadata's.
            spec: JSON schemas of parameters, return values and interim results.
            is_public: Whether other users of the service may run it.
            if_exists: When you have a program of this name with another content: `update`
                makes a new version with the same id, `new` another program, `error` refuses.

        Raises:
            ConfigurationError: A file cannot be read, or there is no name.
            InvalidInputError: The source or the metadata break a rule.
            ConflictError: The name is taken and `if_exists="error"`.
        """
        draft = await asyncio.to_thread(
            read_program,
            source,
            metadata,
            name=name,
            description=description,
            max_execution_time=max_execution_time,
            spec=spec,
        )
        uploaded = await self._api.upload_program(
            draft.source, draft.metadata, is_public=is_public, if_exists=if_exists
        )
        return uploaded.id

    async def update_program(
        self,
        program_id: str,
        source: Source | None = None,
        metadata: Metadata = None,
        *,
        name: str | None = None,
        description: str | None = None,
        max_execution_time: int | None = None,
        spec: Mapping[str, Any] | None = None,
    ) -> None:
        """Change the source or the metadata of a program; what is left out stays.

        Raises:
            ConfigurationError: Nothing to change is given.
            NotFoundError: You have no such program.
        """
        changes = await asyncio.to_thread(
            read_changes,
            metadata,
            name=name,
            description=description,
            max_execution_time=max_execution_time,
            spec=spec,
        )
        if source is None and not changes:
            raise ConfigurationError(
                f"Nothing to change in program {program_id}: give source, metadata or a field."
            )
        if source is not None:
            text = await asyncio.to_thread(read_source, source)
            await self._api.update_program_data(program_id, text)
        if changes:
            await self._api.update_program_metadata(program_id, changes)

    async def delete_program(self, program_id: str) -> None:
        """Delete a program. Jobs that ran it keep their results."""
        await self._api.delete_program(program_id)

    async def set_program_visibility(self, program_id: str, public: bool) -> None:
        """Let every user of the service run a program, or only you."""
        await self._api.set_program_visibility(program_id, public=public)

    async def program(self, program_id: str) -> ProgramInfo:
        """Return a program with its metadata and, if it is yours, its source."""
        return await self._api.get_program(program_id)

    async def programs(
        self,
        refresh: bool = True,  # noqa: ARG002 - nothing is cached; for callers of older clients
        limit: int | None = 20,
        skip: int = 0,
    ) -> list[ProgramInfo]:
        """List the programs that you may run, the newest first.

        Args:
            refresh: Without effect: the answer is always fresh.
            limit: At most this many; None for all.
            skip: Leave out this many of the first.
        """
        return await self._api.list_programs(limit=limit, offset=skip)

    async def pprint_programs(
        self,
        refresh: bool = True,
        detailed: bool = False,
        limit: int | None = 20,
        skip: int = 0,
    ) -> None:
        """Print the programs that you may run.

        Args:
            refresh: Without effect: the answer is always fresh.
            detailed: Print their limits and schemas as well.
            limit: At most this many; None for all.
            skip: Leave out this many of the first.
        """
        programs = await self.programs(refresh, limit, skip)
        print(format_programs(programs, detailed=detailed))  # noqa: T201 - what it is for

    # Jobs ---------------------------------------------------------------------------------

    async def run(
        self,
        program_id: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        backend: str | None = None,
        options: Options = None,
        callback: InterimCallback | None = None,
        result_decoder: ResultDecoderLike = None,
        idempotency_key: str | None = None,
        session_id: str | None = None,
        start_session: bool = False,
    ) -> RuntimeClientJob:
        """Submit a job of a program and return it, without waiting for it.

        Args:
            program_id: The program.
            inputs: What its `main` gets.
            backend: Name of the backend; None leaves it to the options, then to the service.
            options: `RuntimeOptions`, or a mapping that may name the backend as well.
            callback: Called as `callback(job_id, interim)` with each decoded interim result
                while this client is open; one that raises is logged.
            result_decoder: A class with `decode(text)`, a pair of them (interim, final), or an
                import path as text.
            idempotency_key: The same key gives the same job again.
            session_id: The session or batch that the job is to belong to.
            start_session: Make a session whose first job this is and whose id is the job's;
                `open_session` also closes it.

        Raises:
            EncodingError: An input has no encoding; `path` names it.
            NotFoundError: No such program, backend or session.
            SessionClosedError: The session takes no more jobs.
            InvalidInputError: The inputs break the program's schema.
        """
        named_backend, options = _read_options(options, session_id, start_session)
        Decoders.choose(result_decoder)  # refused here, a wrong one does not cost a job
        params = await asyncio.to_thread(encode_inputs, inputs or {})
        submitted = await self._api.submit_job(
            program_id,
            params,
            backend=backend or named_backend,
            options=options,
            idempotency_key=idempotency_key,
        )
        job = RuntimeClientJob(
            self._api,
            submitted.id,
            program_id=program_id,
            backend=submitted.backend,
            result_decoder=result_decoder,
        )
        if callback is not None:
            self._deliveries.add(delivery := job.deliver(self._prepare(callback)))
            delivery.add_done_callback(self._deliveries.discard)
        return job

    def _prepare(self, callback: InterimCallback) -> InterimCallback:
        """Make a callback ready to be called in the event loop."""
        return callback

    async def job(self, job_id: str) -> RuntimeClientJob:
        """Return a job of yours, running or ended.

        Raises:
            NotFoundError: You have no such job.
        """
        return self._job(await self._api.get_job(job_id))

    async def jobs(
        self,
        limit: int | None = 10,
        skip: int = 0,
        *,
        backend_name: str | None = None,
        pending: bool | None = None,
        program_id: str | None = None,
        job_tags: Iterable[str] = (),
        session_id: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        descending: bool = True,
    ) -> list[RuntimeClientJob]:
        """List your jobs, the newest first.

        Args:
            limit: At most this many; None for all.
            skip: Leave out this many of the first.
            backend_name: Those on this backend only.
            pending: True for those that have not ended, False for those that have.
            program_id: Those of this program only.
            job_tags: Those that have all of these tags only.
            session_id: Those of this session only.
            created_after: Those made after this time only.
            created_before: Those made before this time only.
            descending: False for the oldest first.
        """
        infos = await self._api.list_jobs(
            limit=limit,
            offset=skip,
            backend=backend_name,
            pending=pending,
            program_id=program_id,
            tags=job_tags,
            session_id=session_id,
            created_after=created_after,
            created_before=created_before,
            oldest_first=not descending,
        )
        return [self._job(info) for info in infos]

    async def delete_job(self, job_id: str) -> None:
        """Delete an ended job with its inputs, results and log.

        Raises:
            ConflictError: It has not ended.
        """
        await self._api.delete_job(job_id)

    def _job(self, info: JobInfo) -> RuntimeClientJob:
        return RuntimeClientJob(
            self._api, info.id, program_id=info.program.id, backend=info.backend
        )

    # Sessions -----------------------------------------------------------------------------

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

    # Backends -----------------------------------------------------------------------------

    async def backends(
        self,
        name: str | None = None,
        *,
        min_num_qubits: int | None = None,
        simulator: bool | None = None,
        operational: bool | None = None,
    ) -> list[BackendStatus]:
        """List the backends of the service; None does not filter."""
        return [
            backend
            for backend in await self._api.list_backends()
            if name in (None, backend.name)
            and backend.qubits >= (min_num_qubits or 0)
            and simulator in (None, backend.simulator)
            and operational in (None, backend.operational)
        ]

    async def backend(self, name: str) -> BackendStatus:
        """Return a backend by its name.

        Raises:
            NotFoundError: The service has none of that name.
        """
        found = await self.backends(name)
        if not found:
            raise NotFoundError(
                f"The service at {self._api.url} has no backend {name!r}; backends() lists them.",
                kind="backend",
                identifier=name,
            )
        return found[0]


def _read_options(
    options: Options, session_id: str | None, start_session: bool
) -> tuple[str | None, RuntimeOptions]:
    """Take options by our names or by IBM's; return the backend and the rest."""
    backend: str | None = None
    if options is not None and not isinstance(options, RuntimeOptions):
        options = {_IBM_NAMES.get(field, field): value for field, value in options.items()}
        backend = options.pop("backend", None)
    read = RuntimeOptions.read(options)
    if session_id is not None:
        read = read.model_copy(update={"session_id": session_id})
    return backend, read.model_copy(update={"start_session": start_session or read.start_session})
