"""Kept results: a call whose request was measured before is answered without a job.

The text that the job sent and its provenance are stored in Prefect's result storage. Equal calls
without a stored result are one evaluation under one durable key, so those that run at the same
time, on this machine or others, wait for one job.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from prefect_qiskit_runtime.caching import RuntimeResultSerializer
from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.codec import Decoders, fingerprint
from prefect_qiskit_runtime.errors import ConfigurationError, NotFoundError, QiskitRuntimeError
from prefect_qiskit_runtime.evaluation.evaluation import AttachPolicy, Evaluation
from prefect_qiskit_runtime.evaluation.request import Request
from prefect_qiskit_runtime.flow_run.lineage import flow_tag, lineage_here
from prefect_qiskit_runtime.flow_run.logger import logger_here
from prefect_qiskit_runtime.following.callbacks import InterimCallback, InterimDelivery
from prefect_qiskit_runtime.following.following import follow
from prefect_qiskit_runtime.models import PRIMITIVES, JobInfo, JobMetrics, package_version
from prefect_qiskit_runtime.records.records import Records
from prefect_qiskit_runtime.submission.retrying import RetryPolicy

CacheLike = bool | Literal["refresh"] | None
"""Whether one call reads and keeps results; "refresh" only keeps. None: the backend's setting."""

KEY_VERSION = 1
"""Increased when the same request gets another key: earlier results are then not found again."""


class KeptResult(BaseModel):
    """A result and its provenance in their stored form.

    Attributes:
        key: Identifies the request.
        job_id: The job that produced the result.
        attempt: Which attempt of the evaluation that job was; all attempts up to it are over.
        calibration: The reported calibration of the backend, if it is part of the key.
        versions: Versions of this package when the result was stored, and of the packages that
            the job ran with.
        result: The text that the job sent.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    job_id: str
    attempt: int
    program_id: str
    program_version: int | None
    backend: str
    service: str
    calibration: dict[str, Any] | None
    created_at: datetime
    ended_at: datetime
    interim_count: int
    versions: dict[str, str | None]
    result: str


@dataclass(frozen=True)
class CachePlan:
    """How one call uses kept results.

    Attributes:
        refresh: Whether the call ignores stored results and only keeps its own.
        expiration_seconds: Maximum age of a stored result; None for any age.
        same_calibration: Whether a stored result must come from the same calibration.
    """

    refresh: bool
    expiration_seconds: float | None
    same_calibration: bool

    @classmethod
    def from_call(cls, cache: CacheLike, request: Request) -> CachePlan | None:
        """Read the plan from a call and its backend; None if the call uses no kept results.

        Raises:
            ConfigurationError: The arguments of the call contradict each other.
        """
        if not (cache is None or isinstance(cache, bool) or cache == "refresh"):
            raise ConfigurationError(
                f"cache must be True, False or 'refresh' (run the job and keep its result), not"
                f" {cache!r:.80}."
            )
        block = request.backend
        if cache is False or (cache is None and not block.cache_results):
            return None
        if request.options.private:
            if cache is None:
                return None
            raise ConfigurationError(
                "cache cannot be used with private jobs: their results are not kept. Leave out one"
                " of the two."
            )
        if cache == "refresh" and request.durable_key is not None:
            raise ConfigurationError(
                "cache='refresh' asks for a new job, durable_key for the existing one of that name."
                " Leave out one of the two."
            )
        return cls(
            cache == "refresh",
            block.cache_expiration_seconds,
            block.cache_calibration == "same calibration",
        )

    def is_expired(self, ended_at: datetime) -> bool:
        """Return whether a result measured at this time is too old."""
        if self.expiration_seconds is None:
            return False
        return (datetime.now(UTC) - ended_at).total_seconds() > self.expiration_seconds


class CachedEvaluation:
    """A call that is answered from a kept result, or evaluated and its result kept.

    Attributes:
        job_id: The job that produced the result.
    """

    def __init__(self, api: RuntimeApi, request: Request, plan: CachePlan) -> None:
        self._api = api
        self._request = request
        self._plan = plan
        self._policy = RetryPolicy.from_options(request.options)
        self._records = Records(RuntimeResultSerializer())
        self._calibration: dict[str, Any] | None = None
        self.job_id = ""

    async def result(self, callback: InterimCallback | None, decoders: Decoders) -> Any:
        """Return the decoded result, and pass the interim results to the callback on the way.

        Raises:
            JobError: The job ended without a result and is not sent again.
        """
        key = await self._key()
        kept = await self._read(key)
        if kept is None or self._plan.refresh or self._plan.is_expired(kept.ended_at):
            return await self._evaluate(key, kept, callback, decoders)
        self.job_id = kept.job_id
        logger_here().info(
            "From the cache: job %s of %s on %s (%s service), program %s.",
            kept.job_id,
            kept.ended_at.isoformat(timespec="seconds"),
            kept.backend,
            kept.service,
            kept.program_id,
        )
        if callback is not None and kept.interim_count:
            await self._replay(kept, callback, decoders)
        return await asyncio.to_thread(decoders.decode_final, kept.result)

    async def _key(self) -> str:
        """Return the request's key, the same on every machine and for every copy of a program."""
        request, content = self._request, None
        if request.program_id not in PRIMITIVES:
            program = await self._policy.ask(lambda: self._api.get_program(request.program_id))
            content = program.content_hash or [program.id, program.version]
            if program.content_hash is not None:
                request = replace(request, program_id="by content")
        if self._plan.same_calibration:
            self._calibration = await self._ask_calibration()
        sent = await asyncio.to_thread(request.fingerprint)
        return fingerprint([KEY_VERSION, sent, content, self._calibration])

    async def _ask_calibration(self) -> dict[str, Any]:
        name, asked = self._request.backend.name, self._request.options.calibration_id
        properties = await self._policy.ask(
            lambda: self._api.backend_properties(name, calibration_id=asked)
        )
        return {
            part: properties.get(part)
            for part in ("last_update_date", "backend_version", "calibration_id")
        }

    async def _read(self, key: str) -> KeptResult | None:
        record = await self._records.read(_place(key))
        try:
            return None if record is None else KeptResult.model_validate(record)
        except ValidationError:  # stored by another version, or without a result
            return None

    async def _evaluate(
        self,
        key: str,
        kept: KeptResult | None,
        callback: InterimCallback | None,
        decoders: Decoders,
    ) -> Any:
        """Find or submit the job, and keep its result.

        A call that refreshes needs its own job. The job is named by the place of the call, so that
        a rerun after a crash does not submit it twice.
        """
        attempt = 0 if kept is None else kept.attempt
        request, attach_policy = self._request, AttachPolicy()
        if not self._plan.refresh and request.durable_key is None:
            request = replace(request, durable_key=f"cache-{key}")
            attach_policy = await self._attach_policy(attempt)
        evaluation = await Evaluation.from_request(self._api, request, attach_policy)
        result = await evaluation.result(callback, decoders)
        self.job_id = evaluation.job_id
        if request is not self._request:
            attempt = evaluation.attempt
        await self._keep(key, evaluation, attempt)
        return result

    async def _attach_policy(self, attempts_over: int) -> AttachPolicy:
        lineage = await lineage_here(None)
        own_tag = None if lineage is None or lineage.root_id is None else flow_tag(lineage.root_id)

        def is_good(found: JobInfo) -> bool:
            # A rerun of this flow run uses the run's own jobs, whatever their age.
            is_own = own_tag in found.tags
            return is_own or found.ended is None or not self._plan.is_expired(found.ended)

        # No call but a repeated one has a claim on a certain job of the cache: where retention has
        # deleted it, the next attempt replaces it.
        is_repeated = lineage is not None and lineage.is_repeated
        return AttachPolicy(
            attempts_over, is_good, is_shared=True, replaces_deleted=not is_repeated
        )

    async def _keep(self, key: str, evaluation: Evaluation, attempt: int) -> None:
        """Store a result, unless a newer one has been stored in the meantime."""
        job_id = evaluation.job_id
        try:
            info, metrics = await asyncio.gather(
                self._api.get_job(job_id), self._api.job_metrics(job_id)
            )
            assert evaluation.encoded is not None  # noqa: S101 - the evaluation has a result
            made = self._describe(key, info, metrics, attempt, evaluation.encoded)
            kept = await self._read(key)
            if kept is None or kept.ended_at <= made.ended_at:
                await self._records.write(_place(key), made.model_dump(mode="json"))
        except Exception:  # noqa: BLE001 - storages raise any error, and the result is available
            logger_here().warning(
                "The result of job %s could not be kept. The call still returns it.",
                job_id,
                exc_info=True,
            )

    def _describe(
        self, key: str, info: JobInfo, metrics: JobMetrics, attempt: int, encoded: str
    ) -> KeptResult:
        finished = info.ended or metrics.timestamps.get("finished") or datetime.now(UTC)
        return KeptResult(
            key=key,
            job_id=info.id,
            attempt=attempt,
            program_id=info.program.id,
            program_version=info.program.version,
            backend=info.backend,
            service=self._request.backend.service,
            calibration=self._calibration,
            created_at=info.created or finished,
            ended_at=finished,
            interim_count=info.interim_count,
            versions={
                "prefect-qiskit-runtime": package_version(),
                "qiskit": metrics.qiskit_version,
                **metrics.versions,
            },
            result=encoded,
        )

    async def _replay(
        self, kept: KeptResult, callback: InterimCallback, decoders: Decoders
    ) -> None:
        """Pass the job's interim results to the callback, if the service still has them."""
        delivery = InterimDelivery(kept.job_id, callback, decoders)
        try:
            await follow(self._api, kept.job_id, delivery)
        except NotFoundError:
            logger_here().info(
                "The callback gets no interim results: the service no longer has job %s.",
                kept.job_id,
            )
        except QiskitRuntimeError as error:
            logger_here().warning(
                "The callback got %d of %d interim results of job %s: %s",
                delivery.next_seq,
                kept.interim_count,
                kept.job_id,
                error,
            )


def _place(key: str) -> str:
    return f"cache/{key}"
