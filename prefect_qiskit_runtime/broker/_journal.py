"""A record on disk of the submissions of one evaluation, so that nothing is billed twice.

All attempts of an evaluation share one file. It contains numbers, labels, ids and times; no inputs,
no results and no credentials.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from base64 import b32encode
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

_TAG_CHARACTERS = 26


@dataclass
class Submission:
    """One request of a program, and the job that IBM created for it.

    Attributes:
        sequence: Its number among all requests of the evaluation, from 0.
        attempt: The number of its job, from 1: a job that ended without a result has a successor.
        fingerprint: The fingerprint of the request.
        tag: The tag of its job.
        intended_at: When it was about to be sent; None if it was never sent, or was refused.
        job_id: The job, once it is known.
    """

    sequence: int
    attempt: int
    fingerprint: str
    tag: str
    intended_at: float | None = None
    job_id: str | None = None


@dataclass
class _Known:
    """The content of the file.

    Attributes:
        submissions: The last attempt of each request, by the number of the request.
        sessions: The sessions that were opened, with the seconds used by each closed one.
        single_jobs: The jobs outside of sessions.
        begun: When each session and each of these jobs began, and its longest time if it has one.
        assumed: The seconds of closed sessions whose usage the service did not report.
    """

    submissions: dict[int, Submission] = field(default_factory=dict)
    sessions: dict[str, float | None] = field(default_factory=dict)
    single_jobs: list[str] = field(default_factory=list)
    begun: dict[str, tuple[float, float | None]] = field(default_factory=dict)
    assumed: dict[str, float] = field(default_factory=dict)


class Journal:
    """The journal of one evaluation, held by one broker at a time.

    Args:
        path: The file. Its name identifies the evaluation.
    """

    def __init__(self, path: Path) -> None:
        self._name = path.stem
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        # The broker of an earlier attempt may still be closing its session.
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self._known = _read(path)
        if path.stat().st_size and not path.read_bytes().endswith(b"\n"):
            os.write(self._descriptor, b"\n")
        # Equal requests of an earlier attempt are interchangeable, so they are reused in order.
        self._earlier: dict[str, deque[Submission]] = {}
        for submission in sorted(self._known.submissions.values(), key=lambda one: one.sequence):
            self._earlier.setdefault(submission.fingerprint, deque()).append(submission)
        self._next = max(self._known.submissions, default=-1) + 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._descriptor)

    @property
    def open_sessions(self) -> list[str]:
        """The sessions that were opened and are not known to be closed."""
        return [name for name, seconds in self._known.sessions.items() if seconds is None]

    @property
    def single_jobs(self) -> list[str]:
        """The jobs outside of sessions."""
        return self._known.single_jobs

    @property
    def used_seconds(self) -> float:
        """The total time for which all closed sessions held the device."""
        return sum(seconds or 0.0 for seconds in self._known.sessions.values())

    @property
    def assumed_seconds(self) -> dict[str, float]:
        """The part of `used_seconds` that is assumed, by the ids of the sessions."""
        return dict(self._known.assumed)

    def most_seconds(self, identifier: str, longest_seconds: float) -> float:
        """Return the most that a session or a single job can have used until now.

        Args:
            identifier: Its id.
            longest_seconds: The service's limit, if it was opened or submitted without one.
        """
        began_at, longest = self._known.begun.get(identifier, (0.0, None))
        return min(longest or longest_seconds, max(0.0, time.time() - began_at))

    def take(self, fingerprint: str) -> tuple[Submission, bool]:
        """Return the submission of a request: that of an earlier attempt, or a new one.

        Returns:
            The submission, and whether an earlier attempt left only different submissions.
        """
        earlier = self._earlier.get(fingerprint)
        if earlier:
            return earlier.popleft(), False
        diverged = any(self._earlier.values())
        sequence, self._next = self._next, self._next + 1
        return self._made(sequence, 1, fingerprint), diverged

    def again(self, dead: Submission) -> Submission:
        """Return the successor of a submission whose job ended without a result."""
        return self._made(dead.sequence, dead.attempt + 1, dead.fingerprint)

    def intend(self, submission: Submission) -> None:
        """Record that a submission is about to be sent."""
        submission.intended_at = time.time()
        self._known.submissions[submission.sequence] = submission
        self._append(
            "intent",
            submission,
            fingerprint=submission.fingerprint,
            tag=submission.tag,
            at=submission.intended_at,
        )

    def refused(self, submission: Submission) -> None:
        """Record that a submission was refused: no job was created."""
        submission.intended_at = None
        self._append("refused", submission)

    def submitted(self, submission: Submission, job_id: str, *, is_single: bool) -> None:
        """Record the job of a submission, and whether it is outside of sessions."""
        submission.job_id = job_id
        if is_single:
            self._known.single_jobs.append(job_id)
            self._known.begun[job_id] = (submission.intended_at or 0.0, None)
        self._append("job", submission, job_id=job_id, single=is_single)

    def session_opened(self, session_id: str, longest_seconds: float) -> None:
        """Record that a session was opened, and the longest time for which it is open."""
        opened_at = time.time()
        self._known.sessions[session_id] = None
        self._known.begun[session_id] = (opened_at, longest_seconds)
        self._write(
            {"type": "session", "id": session_id, "at": opened_at, "longest": longest_seconds}
        )

    def session_closed(self, session_id: str, seconds: float, *, is_assumed: bool = False) -> None:
        """Record that a session is closed, and the time that it has used, or is assumed to have."""
        self._known.sessions[session_id] = seconds
        if is_assumed:
            self._known.assumed[session_id] = seconds
        self._write(
            {
                "type": "session_closed",
                "id": session_id,
                "seconds": seconds,
                "assumed": is_assumed,
            }
        )

    def _made(self, sequence: int, attempt: int, fingerprint: str) -> Submission:
        whole = json.dumps([self._name, sequence, attempt, fingerprint])
        digits = b32encode(hashlib.sha256(whole.encode()).digest()).decode().lower()
        return Submission(sequence, attempt, fingerprint, f"pqr-{digits[:_TAG_CHARACTERS]}")

    def _append(self, kind: str, submission: Submission, **more: Any) -> None:
        place = {"sequence": submission.sequence, "attempt": submission.attempt}
        self._write({"type": kind, **place, **more})

    def _write(self, record: dict[str, Any]) -> None:
        os.write(self._descriptor, json.dumps(record).encode() + b"\n")
        os.fsync(self._descriptor)


def _read(path: Path) -> _Known:
    known = _Known()
    for record in _records(path):
        kind = record["type"]
        if kind == "session":
            known.sessions[record["id"]] = None
            known.begun[record["id"]] = (record.get("at", 0.0), record.get("longest"))
        elif kind == "session_closed":
            known.sessions[record["id"]] = record["seconds"]
            if record.get("assumed"):
                known.assumed[record["id"]] = record["seconds"]
        elif kind == "intent":
            known.submissions[record["sequence"]] = Submission(
                record["sequence"],
                record["attempt"],
                record["fingerprint"],
                record["tag"],
                intended_at=record["at"],
            )
        elif kind == "refused":
            known.submissions[record["sequence"]].intended_at = None
        else:
            _read_job(record, known)
    return known


def _read_job(record: dict[str, Any], known: _Known) -> None:
    submission, job_id = known.submissions[record["sequence"]], record["job_id"]
    submission.job_id = job_id
    if record.get("single"):
        known.single_jobs.append(job_id)
        known.begun[job_id] = (submission.intended_at or 0.0, None)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().splitlines():
        try:
            yield json.loads(line)
        except ValueError:  # a line left incomplete by a loss of power
            continue
