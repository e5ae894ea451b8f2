"""Jobs that this process has submitted and that the service has not shown yet.

IBM's service may answer requests about a job with 404 for some seconds after it has accepted the
job. Such an answer does not show that the job was deleted. It is treated as a temporary fault for
the grace period of submissions; after that, the error says what was tried.
"""

from __future__ import annotations

import copy
import threading
import time
from dataclasses import dataclass

from prefect_qiskit_runtime.errors import UNSEEN_JOB, NotFoundError

_LIMIT = 1000


@dataclass
class _NewJob:
    """A job that was not shown yet; `asked` counts the answers that it does not exist."""

    submitted_at: float
    asked: int = 0


class NewJobs:
    """The jobs that one login has submitted in this process and not seen since.

    At most a thousand are remembered; the first is forgotten first.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, _NewJob] = {}
        self._lock = threading.Lock()

    def add(self, job_id: str) -> None:
        """Record a job that was submitted just now."""
        with self._lock:
            self._jobs[job_id] = _NewJob(time.monotonic())
            if len(self._jobs) > _LIMIT:
                del self._jobs[next(iter(self._jobs))]

    def forget(self, job_id: str) -> None:
        """Record that the service has shown a job: from now on, a 404 means that it was deleted."""
        with self._lock:
            self._jobs.pop(job_id, None)

    def explain(self, missing: NotFoundError, grace_seconds: float) -> NotFoundError:
        """Return the error of a 404: temporary if the job may not be visible yet.

        Args:
            missing: The error of the answer.
            grace_seconds: How long after its submission a job may be invisible.
        """
        job = self._jobs.get(missing.identifier or "") if missing.kind == "job" else None
        if job is None:
            return missing
        job.asked += 1
        seconds = time.monotonic() - job.submitted_at
        clearer = copy.copy(missing)
        clearer.transient = seconds < grace_seconds
        if clearer.transient:
            text = (
                f"{missing} The job was submitted {seconds:.0f} s ago and may not be visible yet."
            )
        else:
            clearer.kind = UNSEEN_JOB
            text = (
                f"{missing} The service accepted job {missing.identifier} {seconds:.0f} s ago and"
                f" has not shown it since, although it was asked for {job.asked} times in at least"
                f" {grace_seconds:g} s (PREFECT_QISKIT_RUNTIME_SUBMISSION_GRACE_SECONDS). The job"
                " may exist, so it is not submitted again. Look for it in the service: attach to it"
                " if it is there, or run again once it certainly is not."
            )
        clearer.args = (text,)
        return clearer
