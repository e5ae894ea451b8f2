"""Jobs of a service: run, find, list and delete."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from prefect_qiskit_runtime._decoders import Decoders, ResultDecoderLike
from prefect_qiskit_runtime.client._client_job import JobFacts, RuntimeClientJob
from prefect_qiskit_runtime.client._delivery import InterimCallback
from prefect_qiskit_runtime.client._parameters import InputsLike, ParameterNamespace, read_inputs
from prefect_qiskit_runtime.client._programs import ProgramsClient
from prefect_qiskit_runtime.codec import encode_inputs
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.models import RuntimeOptions
from prefect_qiskit_runtime.program._primitive_options import require_known_inputs

Options = RuntimeOptions | Mapping[str, Any] | None

_BACKEND_NAMES = {"backend", "backend_name"}
_OPTION_NAMES = {*RuntimeOptions.model_fields, "backend_name", "job_tags"}


class JobsClient(ProgramsClient):
    """A client with the calls on jobs."""

    async def run(  # noqa: PLR0917 - the order of IBM's clients
        self,
        program_id: str,
        inputs: InputsLike = None,
        options: Options = None,
        callback: InterimCallback | None = None,
        result_decoder: ResultDecoderLike = None,
        session_id: str | None = None,
        start_session: bool = False,
        *,
        backend: str | None = None,
        image: str | None = None,
        instance: str | None = None,
        job_tags: Iterable[str] | None = None,
        max_execution_time: int | None = None,
        log_level: str | None = None,
        include_final: bool = False,
        idempotency_key: str | None = None,
    ) -> RuntimeClientJob:
        """Submit a job of a program and return it, without waiting for it.

        The order of the arguments is that of qiskit-ibm-runtime. qiskit-ibmq-provider had the
        options before the inputs: give them by name then.

        Args:
            program_id: The program.
            inputs: What its `main` gets: by name, or as `program.parameters()` gave them.
            options: `RuntimeOptions`, or a mapping of its fields; `backend_name` and `job_tags`
                will do for `backend` and `tags`. A keyword below wins over the same option.
            callback: Called as `callback(job_id, interim)` with each decoded interim result
                while this client is open; one that raises is logged.
            result_decoder: A class with `decode(text)`, a pair of them (interim, final), or an
                import path as text.
            session_id: The session that the job belongs to.
            start_session: Whether it opens a session, whose id is that of the job.
            backend: Name of the backend; with none anywhere the service chooses.
            image: The Python environment to run in.
            instance: The instance to run in; it must be the one that the client works in.
            job_tags: Labels to find the job by.
            max_execution_time: Wall-clock limit in seconds, never above the program's.
            log_level: Level of the job's `logging`, as in `"INFO"`.
            include_final: Whether the callback gets the final result too, as its last call.
            idempotency_key: The same key gives the same job again.

        Raises:
            ConfigurationError: An option, the decoder or the order of the arguments is wrong.
            EncodingError: An input has no encoding; `path` names it.
            NotFoundError: No such program or backend.
            InvalidInputError: The inputs break the program's schema.
        """
        _check_order(inputs, options)
        chosen = _laid_over(
            RuntimeOptions.read(options),
            backend=backend,
            image=image,
            instance=instance,
            tags=None if job_tags is None else tuple(job_tags),
            max_execution_time=max_execution_time,
            log_level=log_level,
            session_id=session_id,
            start_session=start_session or None,
        )
        await self._require_instance(chosen.instance)
        if callback is not None and not include_final:
            self._api.require_interim_results()
        Decoders.choose(result_decoder)  # refused here, a wrong one does not cost a job
        facts = await self._submit(program_id, inputs, chosen, idempotency_key)
        job = RuntimeClientJob(self._api, facts, self._deliveries, result_decoder=result_decoder)
        if callback is not None:
            job.deliver(callback, include_final=include_final)
        return job

    async def _submit(
        self, program_id: str, inputs: InputsLike, chosen: RuntimeOptions, key: str | None
    ) -> JobFacts:
        given = read_inputs(inputs)
        if program_id in ("sampler", "estimator"):
            require_known_inputs(given)
        params = await asyncio.to_thread(
            encode_inputs, given, is_for_ibm=not self._api.reads_our_forms
        )
        submitted = await self._api.submit_job(
            program_id, params, backend=chosen.backend, options=chosen, idempotency_key=key
        )
        return JobFacts.of_submitted(submitted, program_id, chosen)

    async def job(self, job_id: str) -> RuntimeClientJob:
        """Return a job of yours, running or ended.

        Raises:
            NotFoundError: You have no such job.
        """
        facts = JobFacts.of_info(await self._api.get_job(job_id))
        return RuntimeClientJob(self._api, facts, self._deliveries)

    async def jobs(  # noqa: PLR0917 - the order of IBM's clients
        self,
        limit: int | None = 10,
        skip: int = 0,
        backend_name: str | None = None,
        pending: bool | None = None,
        program_id: str | None = None,
        instance: str | None = None,
        job_tags: Iterable[str] | None = None,
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
            instance: It must be the instance that the client works in.
            job_tags: Those that have all of these tags only.
            session_id: Those of this session only.
            created_after: Those made at this time or later; without a zone it is local time.
            created_before: Those made at this time or before; likewise.
            descending: False for the oldest first.
        """
        await self._require_instance(instance)
        infos = await self._api.list_jobs(
            limit=limit,
            offset=skip,
            backend=backend_name,
            pending=pending,
            program_id=program_id,
            tags=job_tags or (),
            session_id=session_id,
            created_after=created_after,
            created_before=created_before,
            oldest_first=not descending,
        )
        return [
            RuntimeClientJob(self._api, JobFacts.of_info(info), self._deliveries) for info in infos
        ]

    async def delete_job(self, job_id: str) -> None:
        """Delete an ended job with its inputs, results and log.

        Raises:
            ConflictError: It has not ended.
        """
        await self._api.delete_job(job_id)


def _check_order(inputs: InputsLike, options: Options) -> None:
    """Refuse options in the place of the inputs: the order of qiskit-ibmq-provider.

    Raises:
        ConfigurationError: The two look exchanged.
    """
    exchanged = isinstance(inputs, RuntimeOptions) or isinstance(options, ParameterNamespace)
    if not exchanged and isinstance(inputs, Mapping) and isinstance(options, Mapping):
        names_backend = _BACKEND_NAMES & inputs.keys() and not _BACKEND_NAMES & options.keys()
        exchanged = bool(names_backend) and inputs.keys() <= _OPTION_NAMES
    if exchanged:
        raise ConfigurationError(
            "inputs and options are exchanged: run(program_id, inputs, options) is the order here"
            " and in qiskit-ibm-runtime, qiskit-ibmq-provider had the options first. Give them by"
            " name: run(program_id, options=..., inputs=...)."
        )


def _laid_over(options: RuntimeOptions, **keywords: Any) -> RuntimeOptions:
    given = {name: value for name, value in keywords.items() if value is not None}
    return RuntimeOptions.read({**options.model_dump(exclude_none=True), **given})
