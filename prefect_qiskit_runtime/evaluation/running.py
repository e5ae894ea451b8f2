"""Run requests: submit their jobs, follow them to a result, and join the results of parts."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.codec import Decoders, joined_program_results
from prefect_qiskit_runtime.evaluation.evaluation import Evaluation
from prefect_qiskit_runtime.evaluation.kept_results import CachedEvaluation, CacheLike, CachePlan
from prefect_qiskit_runtime.evaluation.request import Request
from prefect_qiskit_runtime.following.callbacks import InterimCallback
from prefect_qiskit_runtime.following.following import CANCEL_SECONDS, deliver
from prefect_qiskit_runtime.runtime_job import RuntimeJob
from prefect_qiskit_runtime.twins.clean_up import cleaned_up


async def submit(request: Request, decoders: Decoders) -> RuntimeJob:
    """Find or submit the job of a request, and return it."""
    async with request.backend.connect() as api:
        evaluation = await Evaluation.from_request(api, request)
        job_id = await evaluation.submit()
    return RuntimeJob(
        job_id,
        request.backend.with_name(evaluation.backend_name),
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
    """Return the decoded result of a request, from the kept results or from its job."""
    async with request.backend.connect() as api:
        if callback is not None and not include_final:
            api.require_interim_results()
        job_id, result = await evaluate(api, request, decoders, callback=callback, cache=cache)
    if include_final and callback is not None:
        await deliver(callback, job_id, result)
    return result


async def evaluate(
    api: RuntimeApi,
    request: Request,
    decoders: Decoders,
    *,
    callback: InterimCallback | None = None,
    cache: CacheLike = None,
) -> tuple[str, Any]:
    """Return the id of the job that produced the result of a request, and the result."""
    plan = CachePlan.from_call(cache, request)
    evaluation = (
        await Evaluation.from_request(api, request)
        if plan is None
        else CachedEvaluation(api, request, plan)
    )
    result = await evaluation.result(callback, decoders)
    return evaluation.job_id, result


async def run_parts(requests: Sequence[Request], decoders: Decoders, cache: CacheLike) -> Any:
    """Wait for the results of all parts of a call, and return them as one.

    If one part fails or the caller is cancelled, the other parts and their jobs are cancelled.
    """
    async with requests[0].backend.connect() as api:
        found = await _all_of(
            [evaluate(api, request, decoders, cache=cache) for request in requests]
        )
    parts = [request.part or range(0) for request in requests]
    job_ids, results = zip(*found, strict=True)
    if requests[0].program_id == "executor":
        return await asyncio.to_thread(joined_program_results, results, parts)
    return _join_results(results, parts, job_ids)


async def _all_of(evaluations: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    tasks = [asyncio.ensure_future(evaluation) for evaluation in evaluations]
    try:
        # `wait` does not cancel the tasks when it is cancelled itself, so each is cancelled once.
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in ended:
            task.result()
    except BaseException:
        for task in tasks:
            task.cancel()
        await cleaned_up(asyncio.wait(tasks), 2 * CANCEL_SECONDS)
        raise
    return [task.result() for task in tasks]


def _join_results(results: Sequence[Any], parts: Sequence[range], job_ids: Sequence[str]) -> Any:
    from qiskit.primitives import PrimitiveResult

    metadata = dict(_common([result.metadata for result in results]))
    metadata["parts"] = [
        {"job_id": job_id, "pubs": [part.start, part.stop], "metadata": result.metadata}
        for job_id, part, result in zip(job_ids, parts, results, strict=True)
    ]
    return PrimitiveResult([pub for result in results for pub in result], metadata=metadata)


def _common(metadata: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield the plain entries that are the same in all parts."""
    first, *others = metadata
    for name, value in first.items():
        is_plain = value is None or isinstance(value, str | int | float)
        if is_plain and all(name in other and other[name] == value for other in others):
            yield name, value
