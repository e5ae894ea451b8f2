"""Primitives: sample circuits, estimate expectation values, run quantum programs.

PUBs, options and results are those of Qiskit's primitives. `run_*` waits and returns the decoded
result; `submit_*` returns the job. Without shots and precision, the estimator is exact on the
ideal backend, and IBM Quantum uses its default. IBM Quantum does not support `seed`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from prefect_qiskit_runtime.backend import BackendLike
from prefect_qiskit_runtime.codec import Decoders, QuantumProgramResultDecoder
from prefect_qiskit_runtime.dry_run import DryRun, async_dry_run_task, dry_run_of, sync_dry_run_task
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.evaluation.kept_results import CacheLike
from prefect_qiskit_runtime.evaluation.request import Request
from prefect_qiskit_runtime.evaluation.running import run, run_parts, submit
from prefect_qiskit_runtime.flow_run.tasks import spelled_out
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


class _Arguments(TypedDict):
    """Base of the classes below: the reference shows only the keys of derived classes."""


class _Job(_Arguments, total=False):
    """Optional arguments of every call."""

    seed: int | None
    """Makes the results reproducible; each PUB still gets different samples. A samplex also uses
    it for its draws."""
    options: PrimitiveOptionsLike
    """Options of the primitive in the form of qiskit-ibm-runtime, as a mapping or as its
    `SamplerOptions`, `EstimatorOptions` or `ExecutorOptions`. `max_execution_time` and
    `environment` apply to the job."""
    session: SessionLike
    """The session or batch of the job, or its id."""
    durable_key: str | None
    """As in `run_program`."""


class _Sampler(_Job, total=False):
    """Optional arguments of the sampler."""

    shots: int | None
    """Shots for PUBs that set none; default: the setting of the block, or 4096."""
    transpile: bool | None
    """Whether the circuits are transpiled for the backend, with the settings of its block;
    default: the block's setting. Without it, devices and backends that imitate one refuse circuits
    outside their instruction set."""


class _Estimator(_Job, total=False):
    """Optional arguments of the estimator."""

    precision: float | None
    """Precision for PUBs that set none: 1/precision**2 shots, rounded up, for each group of
    observables that are measured together. 0 requests exact values."""
    shots: int | None
    """Shots for each group, instead of a precision, for PUBs that set none."""
    transpile: bool | None
    """As in `run_sampler`; the layout of the circuits is applied to the observables."""


@async_dry_run_task
@spelled_out(_Sampler)
async def asubmit_sampler(
    pubs: Iterable[Any],
    *,
    backend: BackendLike,
    dry_run: bool = False,
    **arguments: Unpack[_Sampler],
) -> RuntimeJob | DryRun:
    """Submit a job of the sampler, and return immediately.

    Args:
        pubs: As in `run_sampler`.
        backend: As in `run_sampler`.
        dry_run: As in `run_sampler`.

    Returns:
        The job; its `result()` is a `PrimitiveResult`. It continues even if the flow stops.

    Raises:
        InvalidInputError: A PUB is invalid, or an option is not supported.
    """
    requests = await _sampler_requests(pubs, backend, None, arguments)
    return await _submit(requests, dry_run=dry_run)


submit_sampler = sync_dry_run_task(asubmit_sampler)
"""Synchronous twin of `asubmit_sampler`."""


@async_dry_run_task
@spelled_out(_Sampler)
async def arun_sampler(
    pubs: Iterable[Any],
    *,
    backend: BackendLike,
    split: SplitLike = None,
    cache: CacheLike = None,
    dry_run: bool = False,
    **arguments: Unpack[_Sampler],
) -> PrimitiveResult[SamplerPubResult] | DryRun:
    """Sample circuits and wait for the measured bit strings.

    If the caller is cancelled, interrupted or times out, the job is cancelled.

    Args:
        pubs: Each a circuit with measurements, or (circuit, parameter values, shots), or a
            `SamplerPub`.
        backend: A `RuntimeBackend`, or the name of a backend of the embedded service.
        split: How to split PUBs that are too many or too large for one job: "size" fills each job
            up to the size limit of its inputs (300 MB, or `max_payload_bytes` of the block); a
            number is the maximum number of PUBs per job. A retry attaches to each of the jobs as
            to any other. None: one job.
        cache: As in `run_program`.
        dry_run: Submit nothing, and return a `DryRun`: checks, sizes, an estimate of QPU time.

    Returns:
        One result for each PUB. Its `data` has a `BitArray` for each classical register, and
        its metadata describes how it was run. If there were several jobs, the metadata of the
        whole result has an entry "parts" with the id, the range of PUBs and the metadata of each.

    Raises:
        InvalidInputError: A PUB is invalid, or an option is not supported.
        JobError: The job ended without a result; the error's class gives the reason.
    """
    requests = await _sampler_requests(pubs, backend, split, arguments)
    return await _run(requests, cache=cache, dry_run=dry_run)


run_sampler = sync_dry_run_task(arun_sampler)
"""Synchronous twin of `arun_sampler`."""


@async_dry_run_task
@spelled_out(_Estimator)
async def asubmit_estimator(
    pubs: Iterable[Any],
    *,
    backend: BackendLike,
    dry_run: bool = False,
    **arguments: Unpack[_Estimator],
) -> RuntimeJob | DryRun:
    """Submit a job of the estimator, and return immediately.

    Args:
        pubs: As in `run_estimator`.
        backend: As in `run_estimator`.
        dry_run: As in `run_estimator`.

    Returns:
        The job; its `result()` is a `PrimitiveResult`. It continues even if the flow stops.

    Raises:
        InvalidInputError: A PUB is invalid, or an option is not supported.
    """
    requests = await _estimator_requests(pubs, backend, None, arguments)
    return await _submit(requests, dry_run=dry_run)


submit_estimator = sync_dry_run_task(asubmit_estimator)
"""Synchronous twin of `asubmit_estimator`."""


@async_dry_run_task
@spelled_out(_Estimator)
async def arun_estimator(
    pubs: Iterable[Any],
    *,
    backend: BackendLike,
    split: SplitLike = None,
    cache: CacheLike = None,
    dry_run: bool = False,
    **arguments: Unpack[_Estimator],
) -> PrimitiveResult[PubResult] | DryRun:
    """Estimate expectation values and wait for them.

    If neither shots nor precision is set anywhere, values are exact on the ideal backend, with
    standard deviations of zero; backends with noise then use 4096 shots. If the caller is
    cancelled, interrupted or times out, the job is cancelled.

    Args:
        pubs: Each (circuit, observables), then optionally parameter values and a precision, or
            an `EstimatorPub`.
        backend: A `RuntimeBackend`, or the name of a backend of the embedded service.
        split: As in `run_sampler`.
        cache: As in `run_program`.
        dry_run: Submit nothing, and return a `DryRun`: checks, sizes, an estimate of QPU time.

    Returns:
        One result for each PUB. Its `data` has the values `evs` and their standard errors
        `stds`, broadcast from observables and parameter values; its metadata describes how they
        were obtained.

    Raises:
        InvalidInputError: A PUB is invalid, or an option is not supported.
        JobError: The job ended without a result; the error's class gives the reason.
    """
    requests = await _estimator_requests(pubs, backend, split, arguments)
    return await _run(requests, cache=cache, dry_run=dry_run)


run_estimator = sync_dry_run_task(arun_estimator)
"""Synchronous twin of `arun_estimator`."""


@async_dry_run_task
@spelled_out(_Job)
async def asubmit_executor(
    program: QuantumProgram,
    *,
    backend: BackendLike,
    dry_run: bool = False,
    **arguments: Unpack[_Job],
) -> RuntimeJob | DryRun:
    """Submit a job of the executor, and return immediately.

    Args:
        program: As in `run_executor`.
        backend: As in `run_executor`.
        dry_run: As in `run_executor`.

    Returns:
        The job; its `result()` is a `QuantumProgramResult`. It continues even if the flow
        stops.

    Raises:
        ConfigurationError: This environment does not support quantum programs.
        EncodingError: `program` is not a quantum program.
        InvalidInputError: An option is not supported.
    """
    return await _submit(
        await _executor_requests(program, backend, None, arguments), dry_run=dry_run
    )


submit_executor = sync_dry_run_task(asubmit_executor)
"""Synchronous twin of `asubmit_executor`."""


@async_dry_run_task
@spelled_out(_Job)
async def arun_executor(
    program: QuantumProgram,
    *,
    backend: BackendLike,
    split: SplitLike = None,
    cache: CacheLike = None,
    dry_run: bool = False,
    **arguments: Unpack[_Job],
) -> QuantumProgramResult | DryRun:
    """Run a quantum program and wait for its measurements.

    If the caller is cancelled, interrupted or times out, the job is cancelled.

    Args:
        program: A `QuantumProgram` of qiskit-ibm-runtime or samplomatic, with its shots and
            items: circuits with arrays of arguments, or templates with a samplex that draws
            them.
        backend: A `RuntimeBackend`, or the name of a backend of the embedded service.
        split: As in `run_sampler`, for items instead of PUBs.
        cache: As in `run_program`.
        dry_run: Submit nothing, and return a `DryRun`: checks, sizes, an estimate of QPU time.

    Returns:
        For each item, a mapping from names to arrays: a Boolean array for each classical register
        (the item's shape, then shot and bit), and the samplex's details of its draws.

    Raises:
        ConfigurationError: This environment does not support quantum programs.
        EncodingError: `program` is not a quantum program.
        InvalidInputError: An option is not supported.
        JobError: The job ended without a result; the error's class gives the reason.
    """
    requests = await _executor_requests(program, backend, split, arguments)
    return await _run(requests, cache=cache, dry_run=dry_run)


run_executor = sync_dry_run_task(arun_executor)
"""Synchronous twin of `arun_executor`."""


async def _sampler_requests(
    pubs: Iterable[Any], backend: BackendLike, split: SplitLike, arguments: _Sampler
) -> list[Request]:
    get = arguments.get
    shots, seed, transpile = get("shots"), get("seed"), get("transpile")
    call = PrimitiveCall("sampler", pubs, get("options"), shots, None, seed, transpile)
    return await pub_requests(call, backend, get("session"), get("durable_key"), split)


async def _estimator_requests(
    pubs: Iterable[Any], backend: BackendLike, split: SplitLike, arguments: _Estimator
) -> list[Request]:
    get = arguments.get
    shots, precision = get("shots"), get("precision")
    _choose_one(shots, precision)
    seed, transpile = get("seed"), get("transpile")
    call = PrimitiveCall("estimator", pubs, get("options"), shots, precision, seed, transpile)
    return await pub_requests(call, backend, get("session"), get("durable_key"), split)


async def _executor_requests(
    program: QuantumProgram, backend: BackendLike, split: SplitLike, arguments: _Job
) -> list[Request]:
    get = arguments.get
    call = ExecutorCall(program, get("options"), get("seed"))
    return await program_requests(call, backend, get("session"), get("durable_key"), split)


async def _submit(requests: list[Request], *, dry_run: bool) -> RuntimeJob | DryRun:
    if dry_run:
        return await dry_run_of(requests)
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
