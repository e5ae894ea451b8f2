"""The active scenarios, and how often each has taken effect."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from prefect_qiskit_runtime.service.faults.scenarios import (
    CloseSession,
    EndJob,
    HoldJob,
    JobMatch,
    RequestFault,
    RequestMatch,
    matches,
)
from prefect_qiskit_runtime.service.store.records import NewJob

KindT = TypeVar("KindT")
JobFault = type[HoldJob] | type[EndJob] | type[CloseSession]


@dataclass
class Entry:
    """One active scenario.

    Attributes:
        seen: Number of requests or jobs that have matched so far.
        used: Number of these on which the scenario has acted.
        removed: Set once the scenario is no longer active.
    """

    id: str
    scenario: Any
    seen: int = 0
    used: int = 0
    removed: asyncio.Event = field(default_factory=asyncio.Event)

    def view(self) -> dict[str, Any]:
        """Return the scenario as the control endpoints show it."""
        counts = {"id": self.id, "seen": self.seen, "used": self.used}
        return {**counts, "scenario": self.scenario.model_dump(mode="json")}

    def take(self, when: RequestMatch | JobMatch) -> bool:
        """Count a match; return whether the scenario acts on it."""
        self.seen += 1
        beyond = self.seen - when.skip
        if beyond < 1 or (when.times is not None and beyond > when.times):
            return False
        self.used += 1
        return True


@dataclass(frozen=True)
class RequestFacts:
    """The properties by which a request is matched; `path` has no prefix of IBM's clients."""

    method: str
    path: str
    user: str | None


class FaultBook:
    """All active scenarios, in the order in which they were added."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._numbers = itertools.count(1)
        self._listeners: list[Callable[[], None]] = []

    def on_removal(self, listener: Callable[[], None]) -> None:
        """Register a function to call whenever scenarios are removed."""
        self._listeners.append(listener)

    def add(self, scenario: Any) -> Entry:
        """Activate a scenario."""
        entry = Entry(f"{scenario.fault}-{next(self._numbers)}", scenario)
        self._entries[entry.id] = entry
        return entry

    def find(self, scenario_id: str) -> Entry | None:
        """Return an active scenario."""
        return self._entries.get(scenario_id)

    def remove(self, scenario_id: str) -> bool:
        """Remove a scenario; return whether it was active."""
        entry = self._entries.pop(scenario_id, None)
        self._notify([] if entry is None else [entry])
        return entry is not None

    def clear(self) -> None:
        """Remove all scenarios."""
        removed = list(self._entries.values())
        self._entries.clear()
        self._notify(removed)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def entries_of(
        self, kind: type[KindT], user: str | None = None
    ) -> Iterator[tuple[Entry, KindT]]:
        """Yield the scenarios of a kind that apply to a user."""
        for entry in self:
            if isinstance(entry.scenario, kind):
                concerned = getattr(entry.scenario, "user", None)
                if concerned is None or concerned == user:
                    yield entry, entry.scenario

    def for_request(self, facts: RequestFacts) -> Entry | None:
        """Return the first scenario that acts on a request; all that match count it."""
        chosen = None
        for entry in self:
            if not isinstance(entry.scenario, RequestFault):
                continue
            when = entry.scenario.when
            if _matches_request(when, facts) and entry.take(when):
                chosen = chosen or entry
        return chosen

    def for_job(self, kind: JobFault, job: NewJob) -> Entry | None:
        """Return the first scenario of a kind that acts on a job; all that match count it."""
        chosen = None
        for entry, scenario in self.entries_of(kind):
            if _matches_job(scenario.when, job) and entry.take(scenario.when):
                chosen = chosen or entry
        return chosen

    def _notify(self, removed: list[Entry]) -> None:
        for entry in removed:
            entry.removed.set()
        for listener in self._listeners:
            listener()


def _matches_request(when: RequestMatch, facts: RequestFacts) -> bool:
    return (
        when.method in (None, facts.method)
        and when.user in (None, facts.user)
        and matches(when.path, facts.path)
    )


def _matches_job(when: JobMatch, job: NewJob) -> bool:
    return (
        when.user in (None, job.owner.user)
        and matches(when.program, job.program_id)
        and matches(when.backend, job.backend)
        and (when.tag is None or any(matches(when.tag, tag) for tag in job.tags))
    )
