"""Fetch the results of private jobs: such a result can be read only once, so it is stored.

Our services return the result again until it is acknowledged, which happens after it was decoded
and stored: a damaged answer costs nothing. IBM's service deletes it when it sends it, so it is
stored before it is decoded: a process that dies before that has lost the result.
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

        If the service sends it only once, it is first written to Prefect's result storage, where
        later calls for the job read it.

        Raises:
            NotFoundError: An earlier call has read the result, which is not in the result storage
                of this call.
            ProtocolError: The service sends it only once, and the answer is a page of a gateway,
                which is not stored. The service may still have the result.
        """
        record = await Records().read(_name(job_id))
        if record is not None:
            return record["result"].encode()
        if self.api.keeps_private_results:
            return await _read(self.api, job_id) or b""
        keeping = asyncio.create_task(_keep(self.api, job_id))
        try:
            return await asyncio.shield(keeping)
        except asyncio.CancelledError:
            # The service may have sent the result already, and does not send it again.
            await cleaned_up(asyncio.wait({keeping}), _KEEP_SECONDS)
            raise

    async def settle(self, job_id: str, text: str) -> None:
        """Store a result that was decoded, unless that is done, and let the service delete it."""
        records, name = Records(), _name(job_id)
        if self.api.keeps_private_results and await records.read(name) is None:
            await records.write(name, {"job_id": job_id, "result": text})
            await _acknowledge(self.api, job_id)


_ELSEWHERE = (
    ", and it is not in Prefect's result storage here (if flows move between machines, set a result"
    " storage that all of them share)"
)


def _name(job_id: str) -> str:
    return f"result-{job_id}"


async def _keep(api: RuntimeApi, job_id: str) -> bytes:
    body = await _read(api, job_id)
    if not body:  # so IBM's service answers a second request
        raise already_read(job_id, _ELSEWHERE)
    if is_page_of_gateway(body):
        raise page_for_result(job_id, may_pass=False)
    record = {"job_id": job_id, "result": body.decode(errors="backslashreplace")}
    await Records().write(_name(job_id), record)
    return body


async def _read(api: RuntimeApi, job_id: str) -> bytes | None:
    try:
        return await api.job_result(job_id)
    except NotFoundError as error:
        if error.kind == DELETED_JOB:
            raise
        if error.kind == "job" and error.identifier == job_id:
            await api.get_job(job_id)  # raises if it is the job that is missing
        raise already_read(job_id, _ELSEWHERE) from error


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
