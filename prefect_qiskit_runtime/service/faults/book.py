"""The scenarios that are in force, and how often each has had its effect."""

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
    """One scenario in force.

    Attributes:
        seen: How many requests or jobs have fitted it so far.
        used: On how many of them it has acted.
        removed: Set once it is not in force any more.
    """

    id: str
    scenario: Any
    seen: int = 0
    used: int = 0
    removed: asyncio.Event = field(default_factory=asyncio.Event)

    def view(self) -> dict[str, Any]:
        """Return it as the control endpoints show it."""
        counts = {"id": self.id, "seen": self.seen, "used": self.used}
        return {**counts, "scenario": self.scenario.model_dump(mode="json")}

    def take(self, when: RequestMatch | JobMatch) -> bool:
        """Count one that fits; say whether it is one to act on."""
        self.seen += 1
        beyond = self.seen - when.skip
        if beyond < 1 or (when.times is not None and beyond > when.times):
            return False
        self.used += 1
        return True


@dataclass(frozen=True)
class RequestFacts:
    """What a request is told by. `path` is without the prefixes of IBM's clients."""

    method: str
    path: str
    user: str | None


class FaultBook:
    """All scenarios in force, in the order in which they were added."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._numbers = itertools.count(1)
        self._listeners: list[Callable[[], None]] = []

    def on_removal(self, listener: Callable[[], None]) -> None:
        """Have a function called whenever scenarios were removed."""
        self._listeners.append(listener)

    def add(self, scenario: Any) -> Entry:
        """Put a scenario in force."""
        entry = Entry(f"{scenario.fault}-{next(self._numbers)}", scenario)
        self._entries[entry.id] = entry
        return entry

    def find(self, scenario_id: str) -> Entry | None:
        """Return a scenario in force."""
        return self._entries.get(scenario_id)

    def remove(self, scenario_id: str) -> bool:
        """Take a scenario back; say whether it was there."""
        entry = self._entries.pop(scenario_id, None)
        self._tell([] if entry is None else [entry])
        return entry is not None

    def clear(self) -> None:
        """Take all scenarios back."""
        removed = list(self._entries.values())
        self._entries.clear()
        self._tell(removed)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def of(self, kind: type[KindT], user: str | None = None) -> Iterator[tuple[Entry, KindT]]:
        """Give the scenarios of a kind that concern a user."""
        for entry in self:
            if isinstance(entry.scenario, kind):
                concerned = getattr(entry.scenario, "user", None)
                if concerned is None or concerned == user:
                    yield entry, entry.scenario

    def for_request(self, facts: RequestFacts) -> Entry | None:
        """Return the first scenario that is to act on a request; all that fit count it."""
        chosen = None
        for entry in self:
            if not isinstance(entry.scenario, RequestFault):
                continue
            when = entry.scenario.when
            if _fits_request(when, facts) and entry.take(when):
                chosen = chosen or entry
        return chosen

    def for_job(self, kind: JobFault, job: NewJob) -> Entry | None:
        """Return the first scenario of a kind that is to act on a job; all that fit count it."""
        chosen = None
        for entry, scenario in self.of(kind):
            if _fits_job(scenario.when, job) and entry.take(scenario.when):
                chosen = chosen or entry
        return chosen

    def _tell(self, removed: list[Entry]) -> None:
        for entry in removed:
            entry.removed.set()
        for listener in self._listeners:
            listener()


def _fits_request(when: RequestMatch, facts: RequestFacts) -> bool:
    return (
        when.method in (None, facts.method)
        and when.user in (None, facts.user)
        and matches(when.path, facts.path)
    )


def _fits_job(when: JobMatch, job: NewJob) -> bool:
    return (
        when.user in (None, job.owner.user)
        and matches(when.program, job.program_id)
        and matches(when.backend, job.backend)
        and (when.tag is None or any(matches(when.tag, tag) for tag in job.tags))
    )
