"""Primitives: sample circuits, estimate expectation values, run quantum programs.

PUBs, options and results are those of Qiskit's primitives. `run_*` waits and returns the decoded
result; `submit_*` returns the job. Without shots and precision, the estimator is exact on the
ideal backend, and IBM Quantum takes its own default. IBM Quantum takes no `seed`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from prefect_qiskit_runtime.backend import BackendLike
from prefect_qiskit_runtime.codec import Decoders, QuantumProgramResultDecoder
from prefect_qiskit_runtime.dry_run import dry_run_of
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.evaluation.kept_results import CacheLike
from prefect_qiskit_runtime.evaluation.request import Request
from prefect_qiskit_runtime.evaluation.running import run, run_parts, submit
from prefect_qiskit_runtime.flow_run.tasks import async_task, sync_task
from prefect_qiskit_runtime.pubs.executor_inputs import ExecutorCall
from prefect_qiskit_runtime.pubs.primitive_inputs import PrimitiveCall, PrimitiveOptionsLike
from prefect_qiskit_runtime.pubs.requests import program_requests, pub_requests
from prefect_qiskit_runtime.pubs.splitting import SplitLike
from prefect_qiskit_runtime.sessions import SessionLike

if TYPE_CHECKING:
    from qiskit.primitives import PrimitiveResult, PubResult, SamplerPubResult
    from qiskit_ibm_runtime import QuantumProgram
    from qiskit_ibm_runtime.results import QuantumProgramResult

    from prefect_qiskit_runtime.runtime_job import RuntimeJob


@async_task
async def asubmit_sampler(
    pubs: Iterable[Any],
    *,
    backend: BackendLike,
    shots: int | None = None,
    seed: int | None = None,
    transpile: bool | None = None,
    options: PrimitiveOptionsLike = None,
    session: SessionLike = None,
    durable_key: str | None = None,
    dry_run: bool = False,
) -> RuntimeJob:
    """Submit a job of the sampler, and return at once.

    Args:
        pubs: As in `run_sampler`.
        backend: As in `run_sampler`.
        shots: As in `run_sampler`.
        seed: As in `run_sampler`.
        transpile: As in `run_sampler`.
        options: As in `run_sampler`.
        session: As in `run_sampler`.
        durable_key: As in `run_sampler`.
        dry_run: As in `run_sampler`.

    Returns:
        The job; its `result()` is a `PrimitiveResult`. It goes on whatever happens to the flow.

    Raises:
        InvalidInputError: A PUB is none, or an option is not supported.
    """
    call = PrimitiveCall("sampler", pubs, options, shots, None, seed, transpile)
    requests = await pub_requests(call, backend, session, durable_key)
    return await _submit(requests, dry_run=dry_run)


submit_sampler = sync_task(asubmit_sampler)
"""Synchronous twin of `asubmit_sampler`."""


@async_task
async def arun_sampler(
    pubs: Iterable[Any],
    *,
    backend: BackendLike,
    shots: int | None = None,
    seed: int | None = None,
    transpile: bool | None = None,
    options: PrimitiveOptionsLike = None,
    session: SessionLike = None,
    durable_key: str | None = None,
    split: SplitLike = None,
    cache: CacheLike = None,
    dry_run: bool = False,
) -> PrimitiveResult[SamplerPubResult]:
    """Sample circuits and wait for the measured bit strings.

    If the caller is cancelled, interrupted or times out, the job is cancelled.

    Args:
        pubs: Each a circuit with measurements, or (circuit, parameter values, shots), or a
            `SamplerPub`.
        backend: A `RuntimeBackend`, or the name of a backend of the embedded service.
        shots: For PUBs that name none; 4096 if nothing names them.
        seed: Makes the results reproducible; each PUB still gets samples of its own.
        transpile: Whether the circuits are transpiled for the backend, by the settings of its
            block; default: as the block says. Without it, devices and backends that imitate one
            refuse circuits outside of their instruction set.
        options: Options of the sampler in the form of qiskit-ibm-runtime, as a mapping or as its
            `SamplerOptions`. `max_execution_time` and `environment` are those of the job.
        session: The session or batch that the job is to belong to, or its id.
        durable_key: As in `run_program`.
        split: For PUBs that are too many, or too large, for one job: "size" puts as many into each
            job as its inputs may have bytes (300 MB, or `max_payload_bytes` of the block), a number
            so many at most. Each job is found again like any other. None: one job.
        cache: As in `run_program`.
        dry_run: Submit nothing, and return a `DryRun`: checks, sizes, an estimate of QPU time.

    Returns:
        One result for each PUB. Its `data` has a `BitArray` for each classical register, its
        metadata says how it was done. Metadata of the whole has, for several jobs, an entry
        "parts": of each its id, the range of its PUBs, and its metadata.

    Raises:
        InvalidInputError: A PUB is none, or an option is not supported.
        JobError: The job ended without a result; the class says how.
    """
    call = PrimitiveCall("sampler", pubs, options, shots, None, seed, transpile)
    requests = await pub_requests(call, backend, session, durable_key, split)
    return await _run(requests, cache=cache, dry_run=dry_run)


run_sampler = sync_task(arun_sampler)
"""Synchronous twin of `arun_sampler`."""


@async_task
async def asubmit_estimator(
    pubs: Iterable[Any],
    *,
    backend: BackendLike,
    precision: float | None = None,
    shots: int | None = None,
    seed: int | None = None,
    transpile: bool | None = None,
    options: PrimitiveOptionsLike = None,
    session: SessionLike = None,
    durable_key: str | None = None,
    dry_run: bool = False,
) -> RuntimeJob:
    """Submit a job of the estimator, and return at once.

    Args:
        pubs: As in `run_estimator`.
        backend: As in `run_estimator`.
        precision: As in `run_estimator`.
        shots: As in `run_estimator`.
        seed: As in `run_estimator`.
        transpile: As in `run_estimator`.
        options: As in `run_estimator`.
        session: As in `run_estimator`.
        durable_key: As in `run_estimator`.
        dry_run: As in `run_estimator`.

    Returns:
        The job; its `result()` is a `PrimitiveResult`. It goes on whatever happens to the flow.

    Raises:
        InvalidInputError: A PUB is none, or an option is not supported.
    """
    _choose_one(shots, precision)
    call = PrimitiveCall("estimator", pubs, options, shots, precision, seed, transpile)
    requests = await pub_requests(call, backend, session, durable_key)
    return await _submit(requests, dry_run=dry_run)


submit_estimator = sync_task(asubmit_estimator)
"""Synchronous twin of `asubmit_estimator`."""


@async_task
async def arun_estimator(
    pubs: Iterable[Any],
    *,
    backend: BackendLike,
    precision: float | None = None,
    shots: int | None = None,
    seed: int | None = None,
    transpile: bool | None = None,
    options: PrimitiveOptionsLike = None,
    session: SessionLike = None,
    durable_key: str | None = None,
    split: SplitLike = None,
    cache: CacheLike = None,
    dry_run: bool = False,
) -> PrimitiveResult[PubResult]:
    """Estimate expectation values and wait for them.

    Without shots and precision, anywhere, they are exact on the ideal backend, with standard
    deviations of zero; backends with noise then take 4096 shots. If the caller is cancelled,
    interrupted or times out, the job is cancelled.

    Args:
        pubs: Each (circuit, observables), then optionally parameter values and a precision, or
            an `EstimatorPub`.
        backend: A `RuntimeBackend`, or the name of a backend of the embedded service.
        precision: For PUBs that name none: 1/precision**2 shots, rounded up, for each group of
            observables that are measured together. 0 asks for exact values.
        shots: In place of a precision, for PUBs that name none: shots for each group.
        seed: Makes the results reproducible; each PUB still gets samples of its own.
        transpile: Whether the circuits are transpiled for the backend, by the settings of its
            block, and the observables get their layout; default: as the block says. Without it,
            devices and backends that imitate one refuse circuits outside of their instruction set.
        options: Options of the estimator in the form of qiskit-ibm-runtime, as a mapping or as
            its `EstimatorOptions`. `max_execution_time` and `environment` are those of the job.
        session: The session or batch that the job is to belong to, or its id.
        durable_key: As in `run_program`.
        split: As in `run_sampler`.
        cache: As in `run_program`.
        dry_run: Submit nothing, and return a `DryRun`: checks, sizes, an estimate of QPU time.

    Returns:
        One result for each PUB. Its `data` has the values `evs` and their standard errors
        `stds`, broadcast from observables and parameter values; its metadata says how they came
        about.

    Raises:
        InvalidInputError: A PUB is none, or an option is not supported.
        JobError: The job ended without a result; the class says how.
    """
    _choose_one(shots, precision)
    call = PrimitiveCall("estimator", pubs, options, shots, precision, seed, transpile)
    requests = await pub_requests(call, backend, session, durable_key, split)
    return await _run(requests, cache=cache, dry_run=dry_run)


run_estimator = sync_task(arun_estimator)
"""Synchronous twin of `arun_estimator`."""


@async_task
async def asubmit_executor(
    program: QuantumProgram,
    *,
    backend: BackendLike,
    seed: int | None = None,
    options: PrimitiveOptionsLike = None,
    session: SessionLike = None,
    durable_key: str | None = None,
    dry_run: bool = False,
) -> RuntimeJob:
    """Submit a job of the executor, and return at once.

    Args:
        program: As in `run_executor`.
        backend: As in `run_executor`.
        seed: As in `run_executor`.
        options: As in `run_executor`.
        session: As in `run_executor`.
        durable_key: As in `run_executor`.
        dry_run: As in `run_executor`.

    Returns:
        The job; its `result()` is a `QuantumProgramResult`. It goes on whatever happens to the
        flow.

    Raises:
        ConfigurationError: This environment has no quantum programs.
        EncodingError: `program` is none.
        InvalidInputError: An option is not supported.
    """
    call = ExecutorCall(program, options, seed)
    requests = await program_requests(call, backend, session, durable_key)
    return await _submit(requests, dry_run=dry_run)


submit_executor = sync_task(asubmit_executor)
"""Synchronous twin of `asubmit_executor`."""


@async_task
async def arun_executor(
    program: QuantumProgram,
    *,
    backend: BackendLike,
    seed: int | None = None,
    options: PrimitiveOptionsLike = None,
    session: SessionLike = None,
    durable_key: str | None = None,
    split: SplitLike = None,
    cache: CacheLike = None,
    dry_run: bool = False,
) -> QuantumProgramResult:
    """Run a quantum program and wait for what it measured.

    If the caller is cancelled, interrupted or times out, the job is cancelled.

    Args:
        program: A `QuantumProgram` of qiskit-ibm-runtime or samplomatic, with its shots and
            items: circuits with arrays of arguments, or templates with a samplex that draws
            them.
        backend: A `RuntimeBackend`, or the name of a backend of the embedded service.
        seed: Makes the draws of samplexes and the samples reproducible.
        options: Options of the executor in the form of qiskit-ibm-runtime, as a mapping or as
            its `ExecutorOptions`. `max_execution_time` and `environment` are those of the job.
        session: The session or batch that the job is to belong to, or its id.
        durable_key: As in `run_program`.
        split: As in `run_sampler`, for items in place of PUBs.
        cache: As in `run_program`.
        dry_run: Submit nothing, and return a `DryRun`: checks, sizes, an estimate of QPU time.

    Returns:
        For each item a mapping from names to arrays: a Boolean one for each classical register
        (the item's shape, then shot and bit), and what the samplex tells about its draws.

    Raises:
        ConfigurationError: This environment has no quantum programs.
        EncodingError: `program` is none.
        InvalidInputError: An option is not supported.
        JobError: The job ended without a result; the class says how.
    """
    call = ExecutorCall(program, options, seed)
    requests = await program_requests(call, backend, session, durable_key, split)
    return await _run(requests, cache=cache, dry_run=dry_run)


run_executor = sync_task(arun_executor)
"""Synchronous twin of `arun_executor`."""


async def _submit(requests: list[Request], *, dry_run: bool) -> RuntimeJob:
    if dry_run:
        return cast("Any", await dry_run_of(requests))
    (request,) = requests
    return await submit(request, _decoders_of(request))


async def _run(requests: list[Request], *, cache: CacheLike, dry_run: bool) -> Any:
    if dry_run:
        return await dry_run_of(requests)
    decoders = _decoders_of(requests[0])
    if len(requests) > 1:
        return await run_parts(requests, decoders, cache)
    return await run(requests[0], decoders, cache=cache)


def _decoders_of(request: Request) -> Decoders:
    is_executor = request.program_id == "executor"
    return Decoders.choose(QuantumProgramResultDecoder if is_executor else None)


def _choose_one(shots: int | None, precision: float | None) -> None:
    if shots is not None and precision is not None:
        raise ConfigurationError(
            f"An estimator takes shots or precision, not both (shots={shots}, "
            f"precision={precision}): precision p means 1/p**2 shots."
        )
