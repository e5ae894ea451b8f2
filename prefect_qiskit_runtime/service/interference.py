"""What may stand between a job and its natural course: nothing, unless a test puts it there."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from prefect_qiskit_runtime.service.store.records import Job, NewJob

__all__ = ["Interference"]


class Interference:
    """Lets every job take its course. The fault mode puts another in its place."""

    @contextmanager
    def submission(self, job: NewJob) -> Iterator[None]:  # noqa: ARG002
        """Surround the moment in which a job is queued."""
        yield

    @property
    def held(self) -> Collection[str]:
        """Ids of the queued jobs that must not start yet."""
        return ()

    def started(self, job: Job) -> None:
        """Take note that a job has started."""
