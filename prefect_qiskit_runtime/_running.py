"""Requests on their way: submitted, followed to a result, or only looked at."""

from __future__ import annotations

from typing import Any

from prefect_qiskit_runtime._identity import Request
from prefect_qiskit_runtime._result_cache import CachedEvaluation, CacheLike, CachePlan
from prefect_qiskit_runtime._submission import Evaluation
from prefect_qiskit_runtime._watching import InterimCallback, deliver
from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.codec import Decoders
from prefect_qiskit_runtime.runtime_job import RuntimeJob


async def submit(request: Request, decoders: Decoders) -> RuntimeJob:
    """Submit the job of a request, or find it, and return it."""
    async with request.backend.connect() as api:
        evaluation = await Evaluation.of(api, request)
        job_id = await evaluation.submit()
    return RuntimeJob(
        job_id,
        request.backend.at(evaluation.backend_name),
        program_id=request.program_id,
        inputs=evaluation.placement.inputs,
        decoders=decoders,
        private=bool(request.options.private),
        preparation=evaluation.placement.record,
        sent=evaluation.sent,
    )


async def run(
    request: Request,
    decoders: Decoders,
    *,
    callback: InterimCallback | None = None,
    include_final: bool = False,
    cache: CacheLike = None,
) -> Any:
    """Return the decoded result of a request, kept or of its job."""
    async with request.backend.connect() as api:
        if callback is not None and not include_final:
            api.require_interim_results()
        job_id, result = await evaluated(api, request, decoders, callback=callback, cache=cache)
    if include_final and callback is not None:
        await deliver(callback, job_id, result)
    return result


async def evaluated(
    api: RuntimeApi,
    request: Request,
    decoders: Decoders,
    *,
    callback: InterimCallback | None = None,
    cache: CacheLike = None,
) -> tuple[str, Any]:
    """Return the job that gave the result of a request, and the result."""
    plan = CachePlan.of(cache, request)
    evaluation = (
        await Evaluation.of(api, request) if plan is None else CachedEvaluation(api, request, plan)
    )
    result = await evaluation.result(callback, decoders)
    return evaluation.job_id, result
