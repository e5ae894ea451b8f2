"""Sessions and batches."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field

from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.models._wire import (
    UNKNOWN,
    Moment,
    Seconds,
    Side,
    WholeSeconds,
    Wire,
    WireStatus,
)

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_TEXT = re.compile(r"(\d+[dhms]\s*)+")


def read_seconds(duration: float | str, name: str) -> int:
    """Return a duration in whole seconds.

    Args:
        duration: Seconds, or text such as "2h 30m 40s" with d, h, m and s.
        name: Name of the setting, for the error.

    Raises:
        ConfigurationError: The duration cannot be read or is shorter than one second.
    """
    seconds = _parse_seconds(duration) if isinstance(duration, str) else int(duration)
    if seconds < 1:
        raise ConfigurationError(
            f"{name} must be at least one second, as a number of seconds or as text such as"
            f" '2h 30m', not {duration!r:.80}."
        )
    return seconds


def _parse_seconds(text: str) -> int:
    if not _TEXT.fullmatch(text.strip()):
        return 0
    return sum(int(part[:-1]) * _UNITS[part[-1]] for part in re.findall(r"\d+[dhms]", text))


SessionMode = Literal["dedicated", "batch"]
"""A dedicated session holds one of the service's slots for its jobs; a batch only groups jobs."""


LONGEST_SESSION_SECONDS = 28_800
"""IBM's highest max time of a session."""


class SessionState(WireStatus):
    """States of a session, in IBM's words.

    A session is open until its first job starts. It is then active, or inactive after some time
    without a job, until it is closed. The pending states are on the way to the named state. A state
    that a service has added since keeps its text and equals none of these; a state that it does not
    report is unknown.
    """

    OPEN = "open"
    ACTIVE = "active"
    INACTIVE = "inactive"
    CLOSED = "closed"
    PENDING_INACTIVE = "pending_inactive"
    PENDING_CLOSED = "pending_closed"
    UNKNOWN = "unknown"


class SessionInfo(Wire):
    """The service's view of a session or batch, with IBM's field names.

    Only the id is essential: "unknown" or None stands for any other field that the service leaves
    out or sends in a form that cannot be read.

    Attributes:
        mode: "dedicated" or "batch".
        max_ttl: Seconds from the start of its first job until it closes.
        interactive_ttl: Seconds without a job until it becomes inactive.
        active_ttl: Maximum seconds for which it can be active.
        started_at: When its first job started.
        activated_at: When it last became active.
        elapsed_time: Seconds used: the time for which a dedicated session held its slot, or the
            running time of a batch's ended jobs.
        timestamps: Every change of state, as `{"status", "timestamp"}`.
    """

    id: str = Field(min_length=1)
    backend_name: Side[str] = UNKNOWN
    mode: Side[SessionMode | None] = None
    state: Side[SessionState] = SessionState.UNKNOWN
    accepting_jobs: Side[bool | None] = None
    max_ttl: Side[WholeSeconds | None] = None
    interactive_ttl: Side[int | None] = None
    active_ttl: Side[int | None] = None
    created_at: Side[Moment | None] = None
    started_at: Side[Moment | None] = None
    activated_at: Side[Moment | None] = None
    closed_at: Side[Moment | None] = None
    last_job_started: Side[Moment | None] = None
    last_job_completed: Side[Moment | None] = None
    elapsed_time: Side[Seconds | None] = None
    timestamps: Side[list[dict[str, Any]]] = Field(default_factory=list)

    @property
    def takes_jobs(self) -> bool:
        """Whether it accepts jobs, as far as the service reports it."""
        is_ending = self.state in (SessionState.CLOSED, SessionState.PENDING_CLOSED)
        return self.accepting_jobs is not False and not is_ending

    @property
    def most_seconds(self) -> float:
        """The seconds that it has used or, if they are not known, the most that it can have used.

        A session that has not started has used none.
        """
        if self.elapsed_time is not None:
            return self.elapsed_time
        if self.started_at is None and self.state is SessionState.OPEN:
            return 0.0
        longest = float(self.max_ttl or LONGEST_SESSION_SECONDS)
        if self.started_at is None:
            return longest
        seconds = ((self.closed_at or datetime.now(UTC)) - self.started_at).total_seconds()
        return min(longest, seconds) if seconds >= 0 else longest
