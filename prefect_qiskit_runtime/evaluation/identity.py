"""The identity of a call: the fingerprint of its request and the name of its evaluation."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from prefect_qiskit_runtime.evaluation.request import Request
from prefect_qiskit_runtime.flow_run.claims import claims
from prefect_qiskit_runtime.flow_run.lineage import Lineage, group_key, lineage_here, submission_key
from prefect_qiskit_runtime.records.records import Records


@dataclass(frozen=True)
class Identity:
    """The name of an evaluation, for a call that has a place in a flow run or a durable key.

    Attributes:
        lineage: The place of the call in its flow run.
        fingerprint: Identifies the request.
        occurrence: Which of the equal calls of its lineage it is.
        records: The records of the call.
    """

    lineage: Lineage
    fingerprint: str
    occurrence: int
    records: Records

    @classmethod
    async def from_request(cls, request: Request) -> Identity | None:
        """Name the evaluation of the current call; None if the call cannot be repeated."""
        lineage = await lineage_here(request.durable_key)
        if lineage is None:
            return None
        return await cls.in_lineage(lineage, await asyncio.to_thread(request.fingerprint))

    @classmethod
    def only(cls, lineage: Lineage, print_: str) -> Identity:
        """Name an evaluation that exists once in its place, however often it is called."""
        return cls(lineage, print_, 0, Records())

    @classmethod
    async def in_lineage(cls, lineage: Lineage, print_: str) -> Identity:
        """Name the evaluation with a fingerprint and a place."""
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

    async def record_delivery(self) -> None:
        """Record that the call has received its result."""
        if not self.lineage.joins:
            claims.deliver(self._group, self.occurrence)
            await self._record_group()

    def give_back(self) -> None:
        """Let another call claim the evaluation."""
        if not self.lineage.joins:
            claims.give_back(self._group, self.occurrence)

    async def _record_group(self) -> None:
        record = claims.record(self._group)
        if record is not None:
            await self.records.try_write(self._group, record)

    @property
    def _group(self) -> str:
        return group_key(self.lineage, self.fingerprint)
