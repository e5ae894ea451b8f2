"""How long a job that an earlier run of a flow run has sent may still be hidden from a search.

What an earlier run sends stands in a record, so no record means that nothing was sent: but only
where that run has kept its records in the same storage. One on another machine has not. Each run
therefore leaves a record of itself too, and where that of the run before is missing, a search
that finds nothing counts once the grace period has passed since this run was taken up.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from prefect_qiskit_runtime._identity import Identity
from prefect_qiskit_runtime.flow_run.lineage import Lineage, Run
from prefect_qiskit_runtime.records.records import Records

# When this process was here first; one that was forked from it was not.
_here_since = {os.getpid(): datetime.now(UTC)}

# Of this process: when it first looked for a flow run, and up to which run it knows of records.
_looked_at: dict[str, float] = {}
_known: dict[str, int] = {}


@dataclass(frozen=True)
class EarlierRuns:
    """The flow runs around a call, as often as they have run before.

    Attributes:
        lineage: Where the call stands.
        records: Where it keeps its records.
    """

    lineage: Lineage
    records: Records

    @classmethod
    def of(cls, identity: Identity) -> Self:
        """Return those of an evaluation."""
        return cls(identity.lineage, identity.records)

    async def hidden_for_seconds(self, grace_seconds: float) -> float:
        """Return how long a search may still miss what one of them has sent; 0 for no longer."""
        left_seconds = 0.0
        for run in self.lineage.flow_runs:
            if await self._known_count(run) < run.run_count - 1 and not self._ran_here(run):
                until = _looked_at.setdefault(run.run_id, time.monotonic()) + grace_seconds
                left_seconds = max(left_seconds, until - time.monotonic())
        return left_seconds

    async def note(self) -> None:
        """Leave a record of the runs that go on now; nothing of those before is hidden any more."""
        for run in self.lineage.flow_runs:
            if _known.get(run.run_id, 0) < run.run_count:
                await self.records.write(_name(run), {"run_count": run.run_count})
                _known[run.run_id] = run.run_count

    async def _known_count(self, run: Run) -> int:
        if run.run_count > 1 and run.run_id not in _known:
            record = await self.records.read(_name(run)) or {}
            _known[run.run_id] = record.get("run_count", 0)
        return _known.get(run.run_id, 0)

    def _ran_here(self, run: Run) -> bool:
        """Say whether it has run in this process only, from the first time on."""
        here_since = _here_since.setdefault(os.getpid(), datetime.now(UTC))
        is_later = run.began_at is not None and run.began_at > here_since
        return is_later and not self.lineage.is_elsewhere


def _name(run: Run) -> str:
    return f"run-{run.run_id}"
