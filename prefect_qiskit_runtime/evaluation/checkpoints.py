"""Checkpoints: states that a lost job has published, from which the next attempt continues.

An interim result that is an object with a member `checkpoint` carries a checkpoint. A program
receives checkpoints if its schema names an input for them: `checkpoint` is the last one,
`checkpoints` is the list of all. They are passed from one job to the next in their encoded form.
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
    """The checkpoints of one evaluation, passed from one attempt to the next."""

    def __init__(self, api: RuntimeApi, program_id: str) -> None:
        self._api = api
        self._program_id = program_id
        self._inputs: dict[str, Any] = {}

    async def take_over(self, job_id: str) -> None:
        """Collect the checkpoints of the job of an attempt, if its program accepts them.

        A job leaves no checkpoints if it has a result or ran another version of the program.
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
        except NotFoundError:  # deleted since: the next attempt starts from the beginning
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
                "The next attempt continues from the checkpoints of job %s, which published %d.",
                job_id,
                len(published),
            )

    async def add_to(self, params_text: str) -> str:
        """Return encoded inputs with the checkpoints added."""
        if not self._inputs:
            return params_text
        return await asyncio.to_thread(
            lambda: json.dumps({**json.loads(params_text), **self._inputs})
        )

    async def _wanted(self, job: JobInfo) -> set[str]:
        """Return the program's inputs for checkpoints, if the job can have left checkpoints."""
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
        except ValueError:  # from a program with its own encoding
            continue
        if isinstance(interim, dict) and _LAST in interim:
            found.append(interim[_LAST])
    return found
