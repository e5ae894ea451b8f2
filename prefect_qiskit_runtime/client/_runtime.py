"""The client for people: the method names of the Qiskit Runtime services, without Prefect."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Self

from prefect_qiskit_runtime._decoders import Decoders, ResultDecoderLike
from prefect_qiskit_runtime.client._account import IbmAccount
from prefect_qiskit_runtime.client._accounts import AccountMethods, SavedAccount
from prefect_qiskit_runtime.client._api import RuntimeApi
from prefect_qiskit_runtime.client._client_backend import BackendMethods
from prefect_qiskit_runtime.client._client_job import InterimCallback, RuntimeClientJob
from prefect_qiskit_runtime.client._connection import Channel, Connection, choose_api
from prefect_qiskit_runtime.client._ibm import IbmApi
from prefect_qiskit_runtime.client._listing import format_programs
from prefect_qiskit_runtime.client._proxies import Proxies, ProxiesLike
from prefect_qiskit_runtime.client._sources import (
    Metadata,
    Source,
    read_changes,
    read_program,
    read_source,
)
from prefect_qiskit_runtime.client._transport import Verify
from prefect_qiskit_runtime.codec import encode_inputs
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.models import (
    IfExists,
    JobInfo,
    JobState,
    ProgramInfo,
    RuntimeOptions,
)
from prefect_qiskit_runtime.settings import Settings

Options = RuntimeOptions | Mapping[str, Any] | None

# What the Qiskit Runtime clients call these options.
_IBM_NAMES = {"backend_name": "backend", "job_tags": "tags"}


class RuntimeClient(AccountMethods, BackendMethods):
    """Programs, jobs and backends of one Runtime service; an async context manager.

    Without arguments it is the embedded service of this machine, started when needed; with url
    and token a team's; with a channel and a token IBM Quantum. `from_saved_account` takes what
    qiskit has saved.

    Args:
        url: Base of the service's API; None for the embedded service or, with a channel, IBM's.
        token: The user's token, or the API key.
        channel: "ibm_quantum_platform" or "ibm_cloud" for IBM Quantum, and for a service that
            imitates it at `url`. "ibm_quantum" is a team's service.
        instance: The instance to use, where there are several: its CRN, for IBM also its name.
        region: Choose among IBM's instances of this region, where none is named.
        verify: Whether to verify TLS certificates, or the path of a certificate to trust.
        proxies: As in `{"urls": {"https": "http://proxy.example.org:3128"}}`.
        private_endpoint: Use the hosts that IBM's private network reaches.
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
        channel: Channel | None = None,
        instance: str | None = None,
        region: str | None = None,
        verify: Verify = True,
        proxies: ProxiesLike = None,
        private_endpoint: bool = False,
        settings: Settings | None = None,
    ) -> None:
        api = choose_api(
            Connection(
                url, token, channel, instance, region, verify, proxies, private_endpoint, settings
            )
        )
        self._talk_to(api)

    @classmethod
    def from_saved_account(
        cls,
        name: str | None = None,
        *,
        filename: str | None = None,
        channel: str | None = None,
        instance: str | None = None,
        region: str | None = None,
        verify: bool | None = None,
        proxies: ProxiesLike = None,
        private_endpoint: bool | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Return a client of IBM Quantum with an account that qiskit, or `save_account`, saved.

        Without a name it is the one that `QiskitRuntimeService()` takes: QISKIT_IBM_TOKEN with
        QISKIT_IBM_URL and QISKIT_IBM_INSTANCE; else of the channel (or QISKIT_IBM_CHANNEL) the
        one saved as default, the one under the channel's default name, any other; else any.

        Args:
            name: The account's name.
            filename: The file; None for qiskit's own.
            channel: Choose among the accounts of this channel, where no name is given.
            instance: In place of the saved one, as are those that follow.
            region: As in the constructor.
            verify: As in the constructor.
            proxies: As in the constructor.
            private_endpoint: As in the constructor.
            settings: As in the constructor.

        Raises:
            ConfigurationError: On entering: there is none, or it cannot be used.
        """
        account = SavedAccount(
            name=name,
            filename=filename,
            channel=channel,
            instance=instance,
            region=region,
            proxies=Proxies.read(proxies),
            verify=verify,
            private_endpoint=private_endpoint,
        )
        return cls.of_ibm(account, settings=settings)

    @classmethod
    def of_ibm(
        cls, account: IbmAccount | SavedAccount, *, settings: Settings | None = None
    ) -> Self:
        """Return a client of IBM Quantum for an account that was read, or can be."""
        client = cls.__new__(cls)
        client._talk_to(IbmApi(account, settings=settings))
        return client

    def _talk_to(self, api: RuntimeApi) -> None:
        self._api = api
        self._configurations: dict[str, Mapping[str, Any]] = {}
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

        Raises:
            EncodingError: An input has no encoding; `path` names it.
            NotFoundError: No such program or backend.
            InvalidInputError: The inputs break the program's schema.
        """
        named_backend, options = _read_options(options)
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


def _read_options(options: Options) -> tuple[str | None, RuntimeOptions]:
    """Take options by our names or by IBM's; return the backend and the rest."""
    if options is None or isinstance(options, RuntimeOptions):
        return None, RuntimeOptions.read(options)
    named = {_IBM_NAMES.get(field, field): value for field, value in options.items()}
    backend = named.pop("backend", None)
    return backend, RuntimeOptions.read(named)
