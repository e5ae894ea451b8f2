"""Checkpoints: what a job that was lost has published for the next attempt to go on from.

An interim result that is an object with a member `checkpoint` carries one. A program that wants
them back names an input for it in its schema: `checkpoint` is the last one, `checkpoints` is the
list of all. They go from the one job to the other as they were encoded.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.errors import NotFoundError
from prefect_qiskit_runtime.flow_run.logger import logger_here
from prefect_qiskit_runtime.models import PRIMITIVES, JobInfo, JobStatus

_LAST, _ALL = "checkpoint", "checkpoints"


class Checkpoints:
    """The checkpoints of one evaluation, on their way from an attempt to the next one."""

    def __init__(self, api: RuntimeApi, program_id: str) -> None:
        self._api = api
        self._program_id = program_id
        self._inputs: dict[str, Any] = {}

    async def take_over(self, job_id: str) -> None:
        """Take those that the job of an attempt leaves, if its program wants them.

        It leaves none if it has a result, or ran another version of the program.
        """
        self._inputs = {}
        if self._program_id in PRIMITIVES:
            return
        try:
            job = await self._api.get_job(job_id)
            wanted = await self._wanted(job)
            if not wanted:
                return
            given = json.loads(await self._api.job_inputs(job_id))
            published = _checkpoints_in(await self._api.job_interim_results(job_id))
        except NotFoundError:  # deleted since: the next attempt begins at the beginning
            return
        earlier = given.get(_ALL) or []
        last = published[-1] if published else given.get(_LAST)
        self._inputs = {
            name: value
            for name, value in {_LAST: last, _ALL: [*earlier, *published]}.items()
            if name in wanted and value not in (None, [])
        }
        if self._inputs:
            logger_here().info(
                "The next attempt goes on from the checkpoints of job %s, which has published %d.",
                job_id,
                len(published),
            )

    async def laid_over(self, params_text: str) -> str:
        """Return encoded inputs with the checkpoints among them."""
        if not self._inputs:
            return params_text
        return await asyncio.to_thread(
            lambda: json.dumps({**json.loads(params_text), **self._inputs})
        )

    async def _wanted(self, job: JobInfo) -> set[str]:
        """Return which inputs for checkpoints the program has, if a job can leave any."""
        if job.state.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
            return set()
        program = await self._api.get_program(self._program_id)
        if job.program.version not in (None, program.version):
            return set()
        return {_LAST, _ALL} & set((program.spec.parameters or {}).get("properties", {}))


def _checkpoints_in(interim_results: list[str]) -> list[Any]:
    found = []
    for text in interim_results:
        try:
            interim = json.loads(text)
        except ValueError:  # of a program that encodes in its own way
            continue
        if isinstance(interim, dict) and _LAST in interim:
            found.append(interim[_LAST])
    return found
