"""Calls of primitives as requests: what is asked for, and how it is made ready for a backend."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect_qiskit_runtime._executor_inputs import ExecutorCall
from prefect_qiskit_runtime._identity import Request
from prefect_qiskit_runtime._preparation import ProgramPreparation, PubPreparation
from prefect_qiskit_runtime._primitive_inputs import PrimitiveCall
from prefect_qiskit_runtime._session import SessionLike, in_session
from prefect_qiskit_runtime.backend import BackendLike, RuntimeBackend, as_backend


async def pub_request(
    call: PrimitiveCall, backend: BackendLike, session: SessionLike, durable_key: str | None
) -> Request:
    """Return the request of a call of the sampler or the estimator.

    Raises:
        InvalidInputError: A PUB is none, or an option is not supported.
    """
    block = as_backend(backend)
    call = await asyncio.to_thread(call.on, block)
    inputs = await _inputs(call, block)
    assert call.primitive != "executor"  # noqa: S101 - for the type checker
    prepare = PubPreparation(
        call.primitive, inputs, call.primitive_options(), block, bool(call.transpile)
    )
    options = block.options(in_session(call.job_options(), session))
    return Request(
        call.primitive,
        inputs,
        block,
        options,
        durable_key,
        prepare=prepare,
        settings=prepare.settings,
    )


async def program_request(
    call: ExecutorCall, backend: BackendLike, session: SessionLike, durable_key: str | None
) -> Request:
    """Return the request of a call of the executor.

    Raises:
        EncodingError: It is no quantum program.
        InvalidInputError: An option is not supported.
    """
    block = as_backend(backend)
    inputs = await _inputs(call, block)
    prepare = ProgramPreparation(call.program, inputs, call.primitive_options(), block)
    options = block.options(in_session(call.job_options(), session))
    return Request("executor", inputs, block, options, durable_key, prepare=prepare)


async def _inputs(call: PrimitiveCall | ExecutorCall, block: RuntimeBackend) -> dict[str, Any]:
    if block.service == "ibm":
        return await asyncio.to_thread(call.ibm_inputs)
    return await asyncio.to_thread(call.inputs, block.unsupported_options)
