"""Fetch results. A private job's result can be read only once, so it is stored before decoding.

Our services return the result again until it is acknowledged. IBM's service deletes it when it
sends it: a process that dies before it has stored the reply has lost the result.
"""

from __future__ import annotations

import asyncio

from prefect.logging import get_logger

from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.errors import DELETED_JOB, NotFoundError, QiskitRuntimeError
from prefect_qiskit_runtime.records.records import Records
from prefect_qiskit_runtime.twins.clean_up import cleaned_up

logger = get_logger("prefect_qiskit_runtime")

_KEEP_SECONDS = 10.0


async def fetch_result_bytes(api: RuntimeApi, job_id: str, *, private: bool) -> bytes | None:
    """Return the encoded result of a job; None if it has none.

    The result of a private job is first written to Prefect's result storage, where later calls for
    the job read it.

    Raises:
        NotFoundError: The job is private, and an earlier call has read its result, which is not
            in the result storage of this call.
    """
    if not private:
        return await api.job_result(job_id)
    records, name = Records(), f"result-{job_id}"
    record = await records.read(name)
    if record is not None:
        return record["result"].encode()
    keeping = asyncio.create_task(_keep(api, records, name, job_id))
    try:
        body = await asyncio.shield(keeping)
    except asyncio.CancelledError:
        # The service may have sent the result already, and does not send it again.
        await cleaned_up(asyncio.wait({keeping}), _KEEP_SECONDS)
        raise
    await _acknowledge(api, job_id)
    return body


async def _keep(api: RuntimeApi, records: Records, name: str, job_id: str) -> bytes | None:
    body = await _read_once(api, job_id)
    if body:
        await records.write(name, {"job_id": job_id, "result": body.decode()})
    return body


async def _read_once(api: RuntimeApi, job_id: str) -> bytes | None:
    try:
        return await api.job_result(job_id)
    except NotFoundError as error:
        if error.kind == DELETED_JOB:
            raise
        if error.kind == "job" and error.identifier == job_id:
            await api.get_job(job_id)  # raises if it is the job that is missing
        raise NotFoundError(
            f"The result of the private job {job_id} has already been read, and it is not in"
            " Prefect's result storage here: it was read elsewhere, or a process died with it. The"
            " job is not sent again automatically. If flows move between machines, set a result"
            " storage that all of them share.",
            kind="result",
            identifier=job_id,
        ) from error


async def _acknowledge(api: RuntimeApi, job_id: str) -> None:
    """Let the service delete a result that has been stored."""
    try:
        await api.acknowledge_result(job_id)
    except QiskitRuntimeError as error:
        logger.warning(
            "The service still keeps the result of the private job %s, which is in Prefect's"
            " result storage: %s",
            job_id,
            error,
        )
