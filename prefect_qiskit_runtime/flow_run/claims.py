"""Claims: which call of a lineage has claimed which of its equal evaluations."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_qiskit_runtime.flow_run.lineage import Lineage, Run


@dataclass
class _Group:
    """The equal calls of one lineage, and their evaluations.

    Attributes:
        count: How many evaluations exist or may exist.
        delivered: Numbers of the evaluations whose result a call has received.
        taken: The runs of the calls that hold the evaluations, by number.
    """

    count: int
    delivered: set[int]
    taken: dict[int, frozenset[Run]] = field(default_factory=dict)

    def order(self, lineage: Lineage) -> list[int]:
        """Return the evaluations in the order in which a call prefers them.

        Evaluations that the call's own task took in an earlier run come first, then evaluations
        whose result no call has received. Prefect may reuse stored results of a user's tasks,
        which then do not run again: the evaluations of those tasks must not go to another call,
        and they are the older ones.
        """
        own_runs = {run.run_id for run in lineage.task_runs}

        def preference(number: int) -> tuple[bool, bool, int]:
            was_own = any(run.run_id in own_runs for run in self.taken.get(number, ()))
            delivered = number in self.delivered
            newest_first = delivered and lineage.in_task and not was_own
            return not was_own, delivered, -number if newest_first else number

        return [*sorted(range(self.count), key=preference), self.count]


class Claims:
    """The evaluations that the equal calls of each lineage have claimed in this process.

    Equal calls are interchangeable: each takes an evaluation that no other call of this process
    holds, and holds it until a run around the call runs again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: dict[str, _Group] = {}
        self._newest: dict[str, int] = {}

    def knows(self, group: str) -> bool:
        """Return whether a call of a group was made in this process."""
        return group in self._groups

    def take(self, group: str, lineage: Lineage, record: Mapping[str, Any] | None = None) -> int:
        """Take an evaluation; return its number.

        Args:
            group: Name of the equal calls.
            lineage: The place of the call in its flow run.
            record: The return value of `record` for the group in an earlier process.
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
        """Record that a call has received the result of an evaluation."""
        with self._lock:
            self._groups[group].delivered.add(number)

    def record(self, group: str) -> dict[str, Any] | None:
        """Return the record of a group for a later process; None if none is needed.

        A call without equal calls finds its job without a record.
        """
        with self._lock:
            found = self._groups[group]
            if found.count < 2:
                return None
            return {"count": found.count, "delivered": sorted(found.delivered)}

    def _is_over(self, runs: frozenset[Run]) -> bool:
        return any(run.run_count < self._newest.get(run.run_id, 0) for run in runs)


claims = Claims()
"""The claims of this process."""
