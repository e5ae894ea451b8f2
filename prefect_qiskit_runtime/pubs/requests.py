"""Make requests from calls of primitives: their inputs, and the preparation for a backend."""

from __future__ import annotations

import asyncio

from prefect_qiskit_runtime.backend import BackendLike, RuntimeBackend, as_backend
from prefect_qiskit_runtime.evaluation.request import Request
from prefect_qiskit_runtime.pubs.executor_inputs import ExecutorCall
from prefect_qiskit_runtime.pubs.preparation import ProgramPreparation, PubPreparation
from prefect_qiskit_runtime.pubs.primitive_inputs import PrimitiveCall
from prefect_qiskit_runtime.pubs.splitting import SplitLike, parts_of
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
    return [
        await _pub_request(part_call, part, block, session, durable_key)
        for part_call, part in await asyncio.to_thread(parts_of, call, split, block)
    ]


async def _pub_request(
    call: PrimitiveCall,
    part: range | None,
    block: RuntimeBackend,
    session: SessionLike,
    durable_key: str | None,
) -> Request:
    inputs = await asyncio.to_thread(call.inputs_on, block)
    assert call.primitive != "executor"  # noqa: S101 - for the type checker
    prepare = PubPreparation(
        call.primitive,
        inputs,
        call.primitive_options(),
        block,
        bool(call.transpile),
        first_pub=0 if part is None else part.start,
    )
    return Request(
        call.primitive,
        inputs,
        block,
        block.options(in_session(call.job_options(), session)),
        durable_key,
        prepare=prepare,
        settings=prepare.settings,
        session=opened(session),
        part=part,
    )


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
    block = as_backend(backend)
    return [
        await _program_request(part_call, part, block, session, durable_key)
        for part_call, part in await asyncio.to_thread(parts_of, call, split, block)
    ]


async def _program_request(
    call: ExecutorCall,
    part: range | None,
    block: RuntimeBackend,
    session: SessionLike,
    durable_key: str | None,
) -> Request:
    inputs = await asyncio.to_thread(call.inputs_on, block)
    return Request(
        "executor",
        inputs,
        block,
        block.options(in_session(call.job_options(), session)),
        durable_key,
        prepare=ProgramPreparation(call.program, inputs, call.primitive_options(), block),
        session=opened(session),
        part=part,
        written_circuits=tuple(item.circuit for item in call.program.items),
    )
