"""What a call asks for, and the name of the evaluation that it means."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from prefect_qiskit_runtime._backend_fields import LEAST_BUSY
from prefect_qiskit_runtime._lineage import (
    Lineage,
    claims,
    group_key,
    lineage_here,
    submission_key,
)
from prefect_qiskit_runtime._preparation import Prepare, ProgramPreparation
from prefect_qiskit_runtime._records import Records
from prefect_qiskit_runtime._session import RuntimeSession
from prefect_qiskit_runtime.backend import RuntimeBackend, service_identity
from prefect_qiskit_runtime.codec import fingerprint, quantum_program_identity
from prefect_qiskit_runtime.models import RuntimeOptions


@dataclass(frozen=True)
class Request:
    """What one call asks for.

    Attributes:
        program_id: The program to run.
        inputs: Its inputs, as the user gave them.
        backend: Where.
        options: How, laid over those of the backend.
        durable_key: Joins equal calls of several flow runs.
        prepare: What makes the inputs ready for a backend; None where they are sent as they are.
        settings: What `prepare` goes by.
        session: The session of its job, where the options do not name it: it may be another one
            by the time that the job is sent.
        part: Which PUBs of a call, or items of its quantum program, these are, where it takes
            several jobs.
    """

    program_id: str
    inputs: Mapping[str, Any]
    backend: RuntimeBackend
    options: RuntimeOptions
    durable_key: str | None = None
    prepare: Prepare | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    session: RuntimeSession | None = None
    part: range | None = None

    def fingerprint(self) -> str:
        """Return what makes two requests the same.

        Labels, time limits and log levels do not: they can be changed between a crash and a
        retry. Nor does the version of the program, which the service knows (see
        `Evaluation`), nor which backend is the least busy, nor what its calibration makes of a
        circuit.
        """
        asked = {
            "service": service_identity(self.backend),
            "backend": self.backend.name,
            "program": self.program_id,
            "image": self.options.image,
            "inputs": self._inputs_as_written(),
        }
        if self.backend.name == LEAST_BUSY:
            asked["filters"] = self.backend.choice_filters()
        if self.settings:
            asked["settings"] = dict(self.settings)
        if self.options.calibration_id is not None:
            asked["calibration"] = self.options.calibration_id
        if self.part is not None:  # two parts may be equal, and are not the same
            asked["part"] = [self.part.start, self.part.stop]
        return fingerprint(asked)

    def _inputs_as_written(self) -> dict[str, Any]:
        if self.program_id != "executor":
            return dict(self.inputs)
        if isinstance(self.prepare, ProgramPreparation):
            circuits = [item.circuit for item in self.prepare.program.items]
            return quantum_program_identity(self.inputs, circuits)
        return quantum_program_identity(self.inputs)


@dataclass(frozen=True)
class Identity:
    """The name of an evaluation, for a call that has a place in a flow run or a durable key.

    Attributes:
        lineage: Where the call stands.
        fingerprint: What it asks for.
        occurrence: Which of the equal calls of its lineage it is.
    """

    lineage: Lineage
    fingerprint: str
    occurrence: int
    records: Records

    @classmethod
    async def of(cls, request: Request) -> Identity | None:
        """Name the evaluation of the call that runs here; None if nothing could come back to it."""
        lineage = await lineage_here(request.durable_key)
        if lineage is None:
            return None
        return await cls.in_lineage(lineage, await asyncio.to_thread(request.fingerprint))

    @classmethod
    def only(cls, lineage: Lineage, print_: str) -> Identity:
        """Name what there is one of in its place, however often it is called."""
        return cls(lineage, print_, 0, Records())

    @classmethod
    async def in_lineage(cls, lineage: Lineage, print_: str) -> Identity:
        """Name what has a fingerprint and a place."""
        identity = cls.only(lineage, print_)
        return identity if lineage.joins else replace(identity, occurrence=await identity._take())

    async def _take(self) -> int:
        group = self._group
        earlier = None
        if self.lineage.is_rerun and not claims.knows(group):
            earlier = await self.records.read(group)
        occurrence = claims.take(group, self.lineage, earlier)
        if occurrence > 0:
            await self._record_group()
        return occurrence

    def key(self, attempt: int) -> str:
        """Return the name of one attempt."""
        return submission_key(self.lineage, self.fingerprint, self.occurrence, attempt)

    async def delivered(self) -> None:
        """Take note that the call has its result."""
        if not self.lineage.joins:
            claims.deliver(self._group, self.occurrence)
            await self._record_group()

    def give_back(self) -> None:
        """Let another call take the evaluation."""
        if not self.lineage.joins:
            claims.give_back(self._group, self.occurrence)

    async def _record_group(self) -> None:
        record = claims.record(self._group)
        if record is not None:
            await self.records.try_write(self._group, record)

    @property
    def _group(self) -> str:
        return group_key(self.lineage, self.fingerprint)
