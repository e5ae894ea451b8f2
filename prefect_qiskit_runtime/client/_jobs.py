"""Jobs of a service: run, find, list and delete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from prefect_qiskit_runtime.client._api import RuntimeApi
from prefect_qiskit_runtime.client._delivery import Deliveries, Delivery, InterimCallback
from prefect_qiskit_runtime.client._outcome import job_error
from prefect_qiskit_runtime.client._parameters import InputsLike, ParameterNamespace, read_inputs
from prefect_qiskit_runtime.client._programs import ProgramsClient
from prefect_qiskit_runtime.client._results import read_error, read_result
from prefect_qiskit_runtime.codec import Decoders, ResultDecoderLike, decode, encode_inputs
from prefect_qiskit_runtime.errors import ConfigurationError, ConflictError, JobError
from prefect_qiskit_runtime.models import (
    PUB_PRIMITIVES,
    UNKNOWN,
    InterimEvent,
    JobInfo,
    JobMetrics,
    JobState,
    JobStatus,
    JobSubmitted,
    RuntimeOptions,
)
from prefect_qiskit_runtime.program.primitive_options import (
    PrimitiveName,
    require_known_inputs,
    require_known_options,
)

_LOG_TAIL_CHARACTERS = 4000


@dataclass(frozen=True)
class JobFacts:
    """The fields of a job that are known without a request, as last reported by the service."""

    job_id: str
    program_id: str
    backend: str
    tags: tuple[str, ...] = ()
    image: str | None = None
    session_id: str | None = None
    private: bool = False
    created: datetime | None = None

    @classmethod
    def of_info(cls, info: JobInfo, known: JobFacts | None = None) -> JobFacts:
        """Extract them from the service's description of a job.

        Args:
            info: The description.
            known: The facts so far, for what the description does not say.
        """
        facts = cls(
            info.id,
            info.program.id,
            info.backend,
            tags=tuple(info.tags),
            image=info.runtime,
            session_id=info.session_id,
            private=info.private,
            created=info.created,
        )
        if known is None:
            return facts
        return replace(
            facts,
            program_id=known.program_id if facts.program_id == UNKNOWN else facts.program_id,
            backend=known.backend if facts.backend == UNKNOWN else facts.backend,
            private=known.private or facts.private,
            created=facts.created or known.created,
        )

    @classmethod
    def of_submitted(
        cls, submitted: JobSubmitted, program_id: str, options: RuntimeOptions
    ) -> JobFacts:
        """Extract them from the answer to a submission, or from the options if IBM omits them."""
        return cls(
            submitted.id,
            program_id,
            submitted.backend,
            tags=options.tags if submitted.tags is None else tuple(submitted.tags),
            image=submitted.runtime or options.image,
            session_id=submitted.session_id or options.session_id,
            private=bool(options.private),
            created=submitted.created,
        )


class KnownJob:
    """The attributes of a job, and of its twin, that are known without a request."""

    def _known(self) -> JobFacts:
        raise NotImplementedError

    @property
    def job_id(self) -> str:
        """Id of the job."""
        return self._known().job_id

    @property
    def program_id(self) -> str:
        """The program that it runs."""
        return self._known().program_id

    @property
    def primitive_id(self) -> str:
        """The program that it runs, under the name used by later clients of IBM."""
        return self._known().program_id

    @property
    def backend(self) -> str:
        """The name of the backend that it runs on."""
        return self._known().backend

    @property
    def tags(self) -> list[str]:
        """Its labels, as of the last request by this object."""
        return list(self._known().tags)

    @property
    def image(self) -> str | None:
        """The Python environment that it runs in; None for the service's default."""
        return self._known().image

    @property
    def session_id(self) -> str | None:
        """The session that it belongs to."""
        return self._known().session_id

    @property
    def private(self) -> bool:
        """Whether its inputs are hidden and its result can be read only once."""
        return self._known().private

    @property
    def creation_date(self) -> datetime | None:
        """When it was created, in local time; None if the service did not report it."""
        created = self._known().created
        return None if created is None else created.astimezone()


class RuntimeClientJob(KnownJob):
    """A job of a Runtime service. It lives in the service, independently of this object.

    Values that never change are attributes; methods ask the service.
    `tags` are those of the last request by this object: `info()` updates them.
    """

    def __init__(
        self,
        api: RuntimeApi,
        facts: JobFacts,
        deliveries: Deliveries,
        *,
        result_decoder: ResultDecoderLike = None,
    ) -> None:
        self._api = api
        self._facts = facts
        self._deliveries = deliveries
        self._decoder = result_decoder
        self._delivery: asyncio.Task[JobState | None] | None = None
        self._ended: JobState | None = None

    def __repr__(self) -> str:
        return (
            f"RuntimeClientJob({self.job_id!r}, program_id={self.program_id!r},"
            f" backend={self.backend!r})"
        )

    @property
    def instance(self) -> str | None:
        """The instance that the client works in."""
        return self._api.instance

    def _known(self) -> JobFacts:
        return self._facts

    # Asking -------------------------------------------------------------------------------

    async def info(self) -> JobInfo:
        """Return everything the service reports about the job."""
        info = await self._api.get_job(self.job_id)
        self._facts = JobFacts.of_info(info, known=self._facts)
        return info

    async def status(self) -> JobStatus:
        """Return the status of the job. Qiskit's names work too, as in `JobStatus.DONE`."""
        return (await self.info()).state.status

    async def running(self) -> bool:
        """Return whether the job is running."""
        return await self.status() is JobStatus.RUNNING

    async def done(self) -> bool:
        """Return whether the job has ended with a result."""
        return await self.status() is JobStatus.DONE

    async def errored(self) -> bool:
        """Return whether the job has failed; a job that ran too long has failed."""
        state = (await self.info()).state
        return state.status is JobStatus.ERROR or state.ran_too_long

    async def cancelled(self) -> bool:
        """Return whether the job was cancelled for a reason other than its time limit."""
        state = (await self.info()).state
        return state.status is JobStatus.CANCELLED and not state.ran_too_long

    async def in_final_state(self) -> bool:
        """Return whether the job has ended, with or without a result."""
        return (await self.status()).is_terminal

    async def inputs(self) -> dict[str, Any]:
        """Return the inputs of the job, decoded."""
        return await asyncio.to_thread(decode, await self._api.job_inputs(self.job_id))

    async def logs(self) -> str:
        """Return the job's standard output and error, even while it runs."""
        return await self._api.job_logs(self.job_id)

    async def metrics(self) -> JobMetrics:
        """Return times, usage and versions of the job."""
        return await self._api.job_metrics(self.job_id)

    async def usage(self, partial: bool = False) -> float | None:
        """Return the seconds that the job has used a device: 0 on a simulator.

        IBM calculates the final usage some time after the end of a job; until then it is None.

        Args:
            partial: Whether to return the usage so far, of an unfinished job or one whose usage is
                not final; otherwise it is 0 until the job has ended.
        """
        if not partial and not await self.in_final_state():
            return 0.0
        metrics = await self.metrics()
        if partial:
            return metrics.usage.get("qpu_charge_time_seconds", metrics.quantum_seconds)
        return metrics.quantum_seconds

    async def usage_estimation(self) -> dict[str, float | None]:
        """Return `quantum_seconds`: the longest running time that the service expects."""
        return {"quantum_seconds": (await self.info()).estimated_running_time_seconds}

    async def properties(self) -> dict[str, Any]:
        """Return the calibration of the job's backend, in IBM's form; empty for an ideal one."""
        return await self._api.backend_properties(self.backend)

    async def error_message(self) -> str | None:
        """Return the error of a job without a result, with the program's traceback; else None."""
        error = await self._error()
        if error is None:
            return None
        return f"{error}\n\n{error.traceback}" if error.traceback else str(error)

    # Waiting ------------------------------------------------------------------------------

    async def wait_for_final_state(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - the name that IBM's clients have
    ) -> JobStatus:
        """Wait until the job has ended and its callback has all results; return the status.

        Args:
            timeout: Maximum number of seconds to wait.

        Raises:
            TimeoutError: The job has not ended in time; it continues.
        """
        try:
            async with asyncio.timeout(timeout):
                return (await self._final_state()).status
        except TimeoutError as exc:
            raise TimeoutError(
                f"Job {self.job_id} has not ended within {timeout:g} s. It continues:"
                " wait again, or cancel it."
            ) from exc

    async def result(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - the name that IBM's clients have
        decoder: ResultDecoderLike = None,
    ) -> Any:
        """Wait for the end of the job and return its decoded result.

        Args:
            timeout: Maximum number of seconds to wait; the job continues after that.
            decoder: A class with `decode(text)`, or a pair (interim, final). Default: the one
                given at submission, then the package's decoder.

        Raises:
            JobError: The job ended without a result; its class identifies the cause.
            DecodingError: The result arrived, but the decoder failed on it.
            NotFoundError: The job is private, and its result was read before.
            TimeoutError: The job has not ended in time.
        """
        decoders = Decoders.choose(decoder, self._decoder)
        if await self.wait_for_final_state(timeout) is not JobStatus.COMPLETED:
            error = await self._error()
            if error is not None:
                raise error
        return (
            await read_result(
                self._api,
                self.job_id,
                decoders.decode_final,
                is_sent_once=self._api.sends_once(private=self._known().private),
            )
        )[1]

    async def interim_results(self, decoder: ResultDecoderLike = None) -> list[Any]:
        """Return the decoded interim results published so far."""
        decoders = Decoders.choose(decoder, self._decoder)
        texts = await self._api.job_interim_results(self.job_id)
        return await asyncio.to_thread(lambda: [decoders.decode_interim(text) for text in texts])

    async def stream(
        self, from_: int = 0, decoder: ResultDecoderLike = None
    ) -> AsyncGenerator[Any]:
        """Yield the decoded interim results, beginning at number `from_`, until the job ends."""
        decoders = Decoders.choose(decoder, self._decoder)
        self._api.require_interim_results()
        async with aclosing(self._api.stream(self.job_id, from_)) as events:
            async for event in events:
                if isinstance(event, InterimEvent):
                    yield decoders.decode_interim(event.data)

    async def stream_results(
        self,
        callback: InterimCallback,
        decoder: ResultDecoderLike = None,
        include_final: bool = False,
    ) -> None:
        """Start to pass all interim results to a callback, from the first on, without waiting.

        Args:
            callback: Called as `callback(job_id, interim)`, like the one of `run`.
            decoder: As in `result`.
            include_final: Whether the last call passes the final result.

        Raises:
            ConflictError: Another callback already receives them, or the job has ended; in that
                case use `stream` or `interim_results`.
        """
        if self._is_streaming():
            raise ConflictError(
                f"A callback already receives the results of job {self.job_id}:"
                " cancel_result_streaming() ends it."
            )
        if (status := await self.status()).is_terminal:
            raise ConflictError(
                f"Job {self.job_id} has ended ({status.value}): stream() and interim_results()"
                " return its interim results."
            )
        self.deliver(callback, decoder=decoder, include_final=include_final)

    async def cancel_result_streaming(self) -> None:
        """Stop passing results to a callback, if one is active. The job continues."""
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            delivery.cancel()
            await asyncio.wait([delivery])

    def deliver(
        self,
        callback: InterimCallback,
        *,
        decoder: ResultDecoderLike = None,
        include_final: bool = False,
    ) -> None:
        """Pass each interim result to a callback while the job runs, in a separate task."""
        self._delivery = self._deliveries.start(
            Delivery(
                self._api,
                self.job_id,
                self._deliveries.prepare(callback),
                Decoders.choose(decoder, self._decoder),
                include_final=include_final,
                private=self._known().private,
            )
        )

    # Changing -----------------------------------------------------------------------------

    async def cancel(self) -> None:
        """Cancel the job.

        Raises:
            ConflictError: The job has already ended.
        """
        await self._api.cancel_job(self.job_id)

    async def update_tags(self, new_tags: Iterable[str]) -> list[str]:
        """Replace the tags of the job; return the new ones."""
        tags = tuple(dict.fromkeys(new_tags))
        await self._api.update_job_tags(self.job_id, tags)
        self._facts = replace(self._facts, tags=tags)
        return self.tags

    def _is_streaming(self) -> bool:
        return self._delivery is not None and not self._delivery.done()

    async def _final_state(self) -> JobState:
        # Not awaited directly: cancelling the delivery must not cancel this caller.
        while (delivery := self._delivery) is not None and self._ended is None:
            await asyncio.wait([delivery])
            if not delivery.cancelled():
                self._ended = delivery.result()
            if self._delivery is delivery:
                break
        if self._ended is None:
            self._ended = await self._api.wait_for_job(self.job_id)
        return self._ended

    async def _error(self) -> JobError | None:
        info = await self.info()
        if info.state.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
            return None
        body, log = await asyncio.gather(
            read_error(self._api, self.job_id), self._api.job_logs(self.job_id)
        )
        return job_error(info, body, log[-_LOG_TAIL_CHARACTERS:] or None)


Options = RuntimeOptions | Mapping[str, Any] | None
_BACKEND_NAMES = {"backend", "backend_name"}
_OPTION_NAMES = {*RuntimeOptions.model_fields, "backend_name", "job_tags"}


class JobsClient(ProgramsClient):
    """A client with the methods for jobs."""

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

        The order of the arguments is that of qiskit-ibm-runtime. In qiskit-ibmq-provider, the
        options came before the inputs: pass both by name when porting such code.

        Args:
            program_id: The program.
            inputs: Inputs of its `main`: by name, or as returned by `program.parameters()`.
            options: `RuntimeOptions`, or a mapping of its fields; `backend_name` and `job_tags`
                are accepted for `backend` and `tags`. A keyword below overrides the same option.
            callback: Called as `callback(job_id, interim)` with each decoded interim result
                while this client is open; its exceptions are logged.
            result_decoder: A class with `decode(text)`, a pair of them (interim, final), or an
                import path as text.
            session_id: The session that the job belongs to.
            start_session: Whether it opens a session, which has the same id as the job.
            backend: Name of the backend; if it is not given at all, the service chooses.
            image: The Python environment to run in.
            instance: The instance to run in; it must be the client's instance.
            job_tags: Labels to find the job by.
            max_execution_time: Wall-clock limit in seconds, never above the program's.
            log_level: Level of the job's `logging`, as in `"INFO"`.
            include_final: Whether the last call of the callback passes the final result.
            idempotency_key: A repeated key returns the same job.

        Raises:
            ConfigurationError: An option, the decoder or the order of the arguments is wrong.
            EncodingError: An input has no encoding; `path` names it.
            NotFoundError: The program or the backend does not exist.
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
        Decoders.choose(result_decoder)  # fail before a job is submitted
        facts = await self._submit(program_id, inputs, chosen, idempotency_key)
        job = RuntimeClientJob(self._api, facts, self._deliveries, result_decoder=result_decoder)
        if callback is not None:
            job.deliver(callback, include_final=include_final)
        return job

    async def _submit(
        self, program_id: str, inputs: InputsLike, chosen: RuntimeOptions, key: str | None
    ) -> JobFacts:
        given = read_inputs(inputs)
        if program_id in PUB_PRIMITIVES:
            require_known_inputs(given)
            if isinstance(options := given.get("options"), Mapping):
                require_known_options(cast("PrimitiveName", program_id), options)
        params = await asyncio.to_thread(
            encode_inputs, given, is_for_ibm=not self._api.kind.reads_our_forms
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
            skip: Number of jobs to skip at the beginning.
            backend_name: Only jobs on this backend.
            pending: True for jobs that have not ended, False for those that have.
            program_id: Only jobs of this program.
            instance: Must be the client's instance.
            job_tags: Only jobs that have all of these tags.
            session_id: Only jobs of this session.
            created_after: Only jobs created at this time or later; local time if it has no zone.
            created_before: Only jobs created at this time or before; local time if it has no zone.
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
        """Delete a job with its inputs, results and log; cancel it first if it has not ended."""
        await self._api.delete_job(job_id)


def _check_order(inputs: InputsLike, options: Options) -> None:
    """Reject options in place of the inputs, which was the order of qiskit-ibmq-provider.

    Raises:
        ConfigurationError: The two appear to be swapped.
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
