"""Fetch the results of private jobs: such a result can be read only once, so it is stored first.

Our services return the result again until it is acknowledged. IBM's service deletes it when it
sends it: a process that dies before it has stored the reply has lost the result.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from prefect.logging import get_logger

from prefect_qiskit_runtime.client import (
    RuntimeApi,
    already_read,
    is_page_of_gateway,
    page_for_result,
)
from prefect_qiskit_runtime.errors import DELETED_JOB, NotFoundError, QiskitRuntimeError
from prefect_qiskit_runtime.records.records import Records
from prefect_qiskit_runtime.twins.clean_up import cleaned_up

logger = get_logger("prefect_qiskit_runtime")

_KEEP_SECONDS = 10.0


@dataclass(frozen=True)
class KeptPrivateResults:
    """The results of private jobs of a service, kept in Prefect's result storage."""

    api: RuntimeApi

    async def job_result(self, job_id: str) -> bytes:
        """Return the encoded result of a private job.

        It is first written to Prefect's result storage, where later calls for the job read it.

        Raises:
            NotFoundError: An earlier call has read the result, which is not in the result storage
                of this call.
            ProtocolError: The answer is a page of a gateway, which is not stored. The service may
                still have the result.
        """
        records, name = Records(), f"result-{job_id}"
        record = await records.read(name)
        if record is not None:
            return record["result"].encode()
        keeping = asyncio.create_task(_keep(self.api, records, name, job_id))
        try:
            body = await asyncio.shield(keeping)
        except asyncio.CancelledError:
            # The service may have sent the result already, and does not send it again.
            await cleaned_up(asyncio.wait({keeping}), _KEEP_SECONDS)
            raise
        await _acknowledge(self.api, job_id)
        return body


async def _keep(api: RuntimeApi, records: Records, name: str, job_id: str) -> bytes:
    body = await _read_once(api, job_id)
    if is_page_of_gateway(body):
        raise page_for_result(job_id, may_pass=api.keeps_private_results)
    await records.write(name, {"job_id": job_id, "result": body.decode(errors="backslashreplace")})
    return body


async def _read_once(api: RuntimeApi, job_id: str) -> bytes:
    where = (
        ", and it is not in Prefect's result storage here (if flows move between machines, set a"
        " result storage that all of them share)"
    )
    try:
        body = await api.job_result(job_id)
    except NotFoundError as error:
        if error.kind == DELETED_JOB:
            raise
        if error.kind == "job" and error.identifier == job_id:
            await api.get_job(job_id)  # raises if it is the job that is missing
        raise already_read(job_id, where) from error
    if not body:  # so IBM's service answers a second request
        raise already_read(job_id, where)
    return body


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
