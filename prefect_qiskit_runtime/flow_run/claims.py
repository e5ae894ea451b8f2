"""Which call of a lineage has claimed which of its equal evaluations."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_qiskit_runtime.flow_run.lineage import Lineage, Run


@dataclass
class _Group:
    """The equal calls of one lineage, and the evaluations there are for them.

    Attributes:
        count: How many evaluations there are or may be.
        delivered: Numbers of those whose result a call has had.
        taken: Who has taken them, by number; some have given them back since.
    """

    count: int
    delivered: set[int]
    taken: dict[int, frozenset[Run]] = field(default_factory=dict)

    def order(self, lineage: Lineage) -> list[int]:
        """Return the evaluations in the order in which a call prefers them.

        First those that its own task took when it ran before, then those that nobody has had the
        result of. Prefect may remember results of a user's tasks, which then do not run again:
        what these have had must not be given to another call, and they are the older ones.
        """
        own_runs = {run.run_id for run in lineage.task_runs}

        def preference(number: int) -> tuple[bool, bool, int]:
            was_own = any(run.run_id in own_runs for run in self.taken.get(number, ()))
            delivered = number in self.delivered
            newest_first = delivered and lineage.in_task and not was_own
            return not was_own, delivered, -number if newest_first else number

        return [*sorted(range(self.count), key=preference), self.count]


class Claims:
    """Which of the equal calls of one lineage a call is, in this process.

    Equal calls are interchangeable: each takes an evaluation that no other call of this process
    holds, and holds it until a run that it was made in runs again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: dict[str, _Group] = {}
        self._newest: dict[str, int] = {}

    def knows(self, group: str) -> bool:
        """Say whether a call of a group was made in this process."""
        return group in self._groups

    def take(self, group: str, lineage: Lineage, record: Mapping[str, Any] | None = None) -> int:
        """Take an evaluation; return its number.

        Args:
            group: Name of the equal calls.
            lineage: Where the call stands.
            record: What `record` said of the group in an earlier process.
        """
        runs = frozenset((*lineage.flow_runs, *lineage.task_runs))
        with self._lock:
            for run in runs:
                self._newest[run.run_id] = max(run.run_count, self._newest.get(run.run_id, 0))
            if group not in self._groups:
                record = record or {}
                self._groups[group] = _Group(
                    record.get("count", 0), set(record.get("delivered", ()))
                )
            found = self._groups[group]
            number = next(
                number
                for number in found.order(lineage)
                if number not in found.taken or self._is_over(found.taken[number])
            )
            found.taken[number] = runs
            found.count = max(found.count, number + 1)
            return number

    def give_back(self, group: str, number: int) -> None:
        """Let another call take an evaluation."""
        with self._lock:
            self._groups[group].taken.pop(number, None)

    def deliver(self, group: str, number: int) -> None:
        """Take note that a call has had its result."""
        with self._lock:
            self._groups[group].delivered.add(number)

    def record(self, group: str) -> dict[str, Any] | None:
        """Return what a later process has to know of a group; None where there is nothing to say.

        A call that has no equal finds its job without.
        """
        with self._lock:
            found = self._groups[group]
            if found.count < 2:
                return None
            return {"count": found.count, "delivered": sorted(found.delivered)}

    def _is_over(self, runs: frozenset[Run]) -> bool:
        return any(run.run_count < self._newest.get(run.run_id, 0) for run in runs)


claims = Claims()
"""Those of this process."""
