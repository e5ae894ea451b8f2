"""`RuntimeJob`: one job of a service, held by its id.

It holds no connection and carries no secret, so it can be returned from a task, pickled to another
worker and used there, provided that its login is in a saved block.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from prefect.blocks.abstract import JobRun

from prefect_qiskit_runtime.backend import BlockReference, RuntimeBackend, without_login
from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.codec import Decoders, ResultDecoderLike
from prefect_qiskit_runtime.following.callbacks import InterimDelivery
from prefect_qiskit_runtime.following.following import (
    fetch_decoded,
    fetch_inputs,
    fetch_job_error,
    follow,
)
from prefect_qiskit_runtime.models import UNKNOWN, InterimEvent, JobInfo, JobMetrics, JobStatus
from prefect_qiskit_runtime.provenance import Provenance
from prefect_qiskit_runtime.records.provenance import Sent, collect, read_stored
from prefect_qiskit_runtime.records.records import Records
from prefect_qiskit_runtime.records.summaries import job_summaries
from prefect_qiskit_runtime.renamed import Question, warn_renamed
from prefect_qiskit_runtime.submission.retrying import RetryPolicy, is_met
from prefect_qiskit_runtime.twins.sync import blocking, run_sync, sync_iterator_twin

T = TypeVar("T")


class RuntimeJob(JobRun[Any]):
    """A job that was submitted here or found by its id.

    Each method that asks the service has an async twin with the prefix `a`.

    Attributes:
        job_id: The service's id of the job.
        program_id: The program it runs; None if only the id of the job is known.
        tags: The job's tags when this object was created.
        preparation: The choices made before submission: the backend and the reason for it, how
            circuits were transpiled, and the estimated usage. For a job on IBM Quantum that was
            found by its id it has only the estimate; for other such jobs it is empty.
    """

    def __init__(
        self,
        job_id: str,
        backend: RuntimeBackend,
        *,
        program_id: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        decoders: Decoders | None = None,
        private: bool | None = None,
        preparation: Mapping[str, Any] | None = None,
        sent: Sent | None = None,
    ) -> None:
        self.job_id = job_id
        self.preparation = dict(preparation or {})
        self._backend: RuntimeBackend | BlockReference = backend
        self.program_id = program_id
        self.tags = list(tags)
        self._private = private
        self._sent = sent
        self._inputs = None if inputs is None else dict(inputs)
        self._decoders = decoders or Decoders()

    @property
    def backend(self) -> RuntimeBackend:
        """The backend it runs on, with its service.

        Raises:
            ConfigurationError: The job comes from another process, or was kept as a result, and the
                login of its service is not in a saved block.
        """
        if isinstance(self._backend, BlockReference):
            self._backend = self._backend.resolved()
        return self._backend

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the login: task results are stored, and secrets must stay in their block."""
        return {**vars(self), "_backend": without_login(self._backend)}

    @classmethod
    def from_info(
        cls, info: JobInfo, backend: RuntimeBackend, *, decoders: Decoders | None = None
    ) -> RuntimeJob:
        """Create it from the service's description of a job."""
        return cls(
            info.id,
            backend if info.backend == UNKNOWN else backend.with_name(info.backend),
            program_id=info.program.id,
            tags=info.tags,
            decoders=decoders,
            private=info.private,
        )

    def __repr__(self) -> str:
        return f"RuntimeJob({self.job_id!r}, backend={self.backend.name!r})"

    # -- asking ------------------------------------------------------------------------------

    async def ainfo(self) -> JobInfo:
        """All details that the service has about the job, except its inputs and results."""
        async with self.backend.connect() as api:
            return await api.get_job(self.job_id)

    info = blocking(ainfo)

    async def astatus(self) -> JobStatus:
        """The current status of the job."""
        return (await self.ainfo()).state.status

    status = blocking(astatus)

    async def ainputs(self) -> dict[str, Any]:
        """The inputs of the job, fetched from the service if it was not submitted here."""
        if self._inputs is None:
            async with self.backend.connect() as api:
                self._inputs = await fetch_inputs(api, self.job_id)
        return self._inputs

    @property
    def inputs(self) -> Question[dict[str, Any]]:
        """A call that returns the job's inputs, fetched if it was submitted elsewhere."""
        return Question(lambda: run_sync(self.ainputs()), "RuntimeJob.inputs")

    async def alogs(self) -> str:
        """The output and the log of the program so far."""
        async with self.backend.connect() as api:
            return await api.job_logs(self.job_id)

    logs = blocking(alogs)

    async def ametrics(self) -> JobMetrics:
        """Times and usage of the job."""
        async with self.backend.connect() as api:
            return await api.job_metrics(self.job_id)

    metrics = blocking(ametrics)

    @property
    def usage(self) -> dict[str, float]:
        """Wall-clock `seconds` and `quantum_seconds`; the old name of `metrics().usage`."""
        warn_renamed("RuntimeJob.usage", "metrics().usage")
        return self.metrics().usage

    async def aerror_message(self) -> str | None:
        """The reason why the job ended without a result; None if it did not."""
        async with self.backend.connect() as api:
            error = await fetch_job_error(api, self.job_id)
        return None if error is None else str(error)

    error_message = blocking(aerror_message)

    async def aprovenance(self) -> Provenance:
        """The provenance of the result: ids, versions, calibration, settings, times and usage.

        If a flow run has waited for the job, its record in Prefect's result storage is returned;
        otherwise the details are requested from the service.
        """
        stored = await read_stored(Records(), self.job_id)
        if stored is not None:
            return stored
        async with self.backend.connect() as api:
            return await collect(api, self.backend, await api.get_job(self.job_id), self._sent)

    @property
    def provenance(self) -> Question[Provenance]:
        """A call that returns the provenance of the result; see `aprovenance`."""
        return Question(lambda: run_sync(self.aprovenance()), "RuntimeJob.provenance")

    async def ainterim_results(self, decoder: ResultDecoderLike = None) -> list[Any]:
        """Return the interim results so far, decoded."""
        decoders = Decoders.choose(decoder) if decoder else self._decoders
        async with self.backend.connect() as api:
            texts = await api.job_interim_results(self.job_id)
        return await asyncio.to_thread(lambda: [decoders.decode_interim(text) for text in texts])

    interim_results = blocking(ainterim_results)

    def _about(self) -> dict[str, str]:
        """The labels of the job's events."""
        labels = {"backend": self.backend.name, "service": self.backend.service}
        return labels | ({"program-id": self.program_id} if self.program_id else {})

    # -- waiting -----------------------------------------------------------------------------

    async def astream(self, from_: int = 0) -> AsyncGenerator[Any, None]:
        """Stream the interim results from number `from_` on, decoded, until the job ends."""
        async with self.backend.connect() as api:
            api.require_interim_results()
            async for event in api.stream(self.job_id, from_seq=from_):
                if isinstance(event, InterimEvent):
                    yield self._decoders.decode_interim(event.data)

    stream = sync_iterator_twin(astream)

    async def await_for_final_state(self, timeout_seconds: float | None = None) -> JobStatus:
        """Wait until the job has ended, however it ends.

        Raises:
            TimeoutError: The job did not end in time; it continues.
        """
        async with self.backend.connect() as api, job_summaries(api, self.backend) as summarise:
            status = await self._final_status(api, timeout_seconds)
            summarise(self.job_id, self._sent)
            return status

    async def _final_status(self, api: RuntimeApi, timeout_seconds: float | None) -> JobStatus:
        delivery = InterimDelivery(self.job_id, None, self._decoders)
        try:
            async with asyncio.timeout(timeout_seconds):
                end = await self._ask(
                    api, lambda: follow(api, self.job_id, delivery, self._about())
                )
                return end.state.status
        except TimeoutError as error:
            raise TimeoutError(
                f"Job {self.job_id} has not ended within {timeout_seconds:g} s. It continues; "
                f"wait again, or cancel it."
            ) from error

    async def _ask(self, api: RuntimeApi, question: Callable[[], Awaitable[T]]) -> T:
        """Ask, with the backend's retries once this process has reached the service."""
        policy = RetryPolicy.from_options(self.backend.options())
        return await policy.ask(question, may_ask_again=is_met(api))

    wait_for_final_state = blocking(await_for_final_state)

    async def await_for_completion(self) -> None:
        """Wait until the job has ended; the name that Prefect's job runs share."""
        await self.await_for_final_state()

    def wait_for_completion(self) -> None:  # type: ignore[override]
        """Wait until the job has ended; the name that Prefect's job runs share."""
        self.wait_for_final_state()

    async def aresult(
        self, decoder: ResultDecoderLike = None, timeout_seconds: float | None = None
    ) -> Any:
        """Wait for the job and return its result, decoded.

        Args:
            decoder: Overrides the decoder that was given at submission.
            timeout_seconds: Maximum time to wait; the job continues after that.

        Raises:
            JobError: The job ended without a result; the error's class gives the reason.
            TimeoutError: The job did not end in time.
        """
        decoders = Decoders.choose(decoder) if decoder else self._decoders
        async with self.backend.connect() as api, job_summaries(api, self.backend) as summarise:
            status = await self._final_status(api, timeout_seconds)
            summarise(self.job_id, self._sent)
            if self._private is None:
                self._private = (await api.get_job(self.job_id)).private
            return await self._ask(
                api,
                lambda: fetch_decoded(
                    api, self.job_id, status, decoders, private=bool(self._private)
                ),
            )

    result = blocking(aresult)

    async def afetch_result(self) -> Any:
        """Wait for the job and return its result; the name that Prefect's job runs share."""
        return await self.aresult()

    def fetch_result(self) -> Any:  # type: ignore[override]
        """Wait for the job and return its result; the name that Prefect's job runs share."""
        return self.result()

    # -- changing ----------------------------------------------------------------------------

    async def acancel(self) -> None:
        """Cancel the job.

        Raises:
            ConflictError: The job has already ended.
        """
        async with self.backend.connect() as api:
            await api.cancel_job(self.job_id)

    cancel = blocking(acancel)

    async def aupdate_tags(self, tags: Sequence[str]) -> list[str]:
        """Replace the tags of the job; return the new ones."""
        async with self.backend.connect() as api:
            await api.update_job_tags(self.job_id, list(tags))
        self.tags = list(tags)
        return self.tags

    update_tags = blocking(aupdate_tags)
