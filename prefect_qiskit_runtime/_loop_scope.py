"""Where in a loop code runs: what is submitted there has its place in the name of its job.

Two evaluations of a loop may ask for the same: a noisy value at the same point is measured anew.
Their jobs are told apart by the loop and the number of the step, which stay the same when the
loop runs again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass
class LoopScope:
    """One step of a loop.

    Attributes:
        path: Name of the loop and of the step.
        durable_key: Joins the jobs of all flow runs that go through this loop.
        job_ids: The jobs that were submitted or found in it.
    """

    path: tuple[str, ...]
    durable_key: str | None = None
    job_ids: list[str] = field(default_factory=list)


_current: ContextVar[LoopScope | None] = ContextVar("loop_scope", default=None)


@contextmanager
def loop_scope(scope: LoopScope) -> Iterator[None]:
    """Run the block in a step of a loop."""
    token = _current.set(scope)
    try:
        yield
    finally:
        _current.reset(token)


def loop_scope_here() -> LoopScope | None:
    """Return the step of a loop around this code; None outside of loops."""
    return _current.get()


def note_job(job_id: str) -> None:
    """Take note of a job, in the step of a loop around this code."""
    scope = _current.get()
    if scope is not None and job_id not in scope.job_ids:
        scope.job_ids.append(job_id)
