"""Make requests from calls of primitives: their inputs, and the preparation for a backend."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from prefect_qiskit_runtime.backend import BackendLike, RuntimeBackend, as_backend
from prefect_qiskit_runtime.evaluation.request import Request
from prefect_qiskit_runtime.pubs.executor_inputs import ExecutorCall
from prefect_qiskit_runtime.pubs.preparation import ProgramPreparation, PubPreparation
from prefect_qiskit_runtime.pubs.primitive_inputs import PrimitiveCall, job_options
from prefect_qiskit_runtime.pubs.splitting import CallT, SplitLike, parts_of
from prefect_qiskit_runtime.sessions import SessionLike, in_session, opened


async def pub_requests(
    call: PrimitiveCall,
    backend: BackendLike,
    session: SessionLike,
    durable_key: str | None,
    split: SplitLike = None,
) -> list[Request]:
    """Return the requests of a call of the sampler or the estimator: one for each job.

    Raises:
        InvalidInputError: A PUB is invalid, or an option is not supported.
    """
    block = as_backend(backend)
    call = await asyncio.to_thread(call.completed_by, block)
    bare = await _bare_requests(call, block, session, durable_key, split)
    return [_with_prepared_pubs(part_call, request) for part_call, request in bare]


async def program_requests(
    call: ExecutorCall,
    backend: BackendLike,
    session: SessionLike,
    durable_key: str | None,
    split: SplitLike = None,
) -> list[Request]:
    """Return the requests of a call of the executor: one for each job.

    Raises:
        EncodingError: The program is not a quantum program.
        InvalidInputError: An option is not supported.
    """
    bare = await _bare_requests(call, as_backend(backend), session, durable_key, split)
    return [_with_prepared_program(part_call, request) for part_call, request in bare]


async def _bare_requests(
    call: CallT,
    block: RuntimeBackend,
    session: SessionLike,
    durable_key: str | None,
    split: SplitLike,
) -> list[tuple[CallT, Request]]:
    """Return the call of each job with its request, without the preparation for a backend."""
    return [
        (
            part_call,
            Request(
                part_call.primitive,
                await asyncio.to_thread(part_call.inputs_on, block),
                block,
                block.options(in_session(job_options(part_call.options), session)),
                durable_key,
                session=opened(session),
                part=part,
            ),
        )
        for part_call, part in await asyncio.to_thread(parts_of, call, split, block)
    ]


def _with_prepared_pubs(call: PrimitiveCall, request: Request) -> Request:
    assert call.primitive != "executor"  # noqa: S101 - for the type checker
    prepare = PubPreparation(
        call.primitive,
        request.inputs,
        call.primitive_options(),
        request.backend,
        bool(call.transpile),
        first_pub=0 if request.part is None else request.part.start,
    )
    return replace(request, prepare=prepare, settings=prepare.settings)


def _with_prepared_program(call: ExecutorCall, request: Request) -> Request:
    options = call.primitive_options()
    return replace(
        request,
        prepare=ProgramPreparation(call.program, request.inputs, options, request.backend),
        written_circuits=tuple(item.circuit for item in call.program.items),
    )
