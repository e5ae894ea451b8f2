"""Sessions and batches."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.models._wire import Wire

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


class SessionState(StrEnum):
    """States of a session, in IBM's words.

    A session is open until its first job starts. It is then active, or inactive after some time
    without a job, until it is closed.
    """

    OPEN = "open"
    ACTIVE = "active"
    INACTIVE = "inactive"
    CLOSED = "closed"


class SessionInfo(Wire):
    """The service's view of a session or batch, with IBM's field names.

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

    id: str
    backend_name: str
    mode: SessionMode
    state: SessionState
    accepting_jobs: bool
    max_ttl: int | None = None
    interactive_ttl: int | None = None
    active_ttl: int | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    activated_at: datetime | None = None
    closed_at: datetime | None = None
    last_job_started: datetime | None = None
    last_job_completed: datetime | None = None
    elapsed_time: float | None = None
    timestamps: list[dict[str, Any]] = Field(default_factory=list)
