"""Lengths of time as people write them: seconds, or text such as "2h 30m"."""

from __future__ import annotations

import re

from prefect_qiskit_runtime.errors import ConfigurationError

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_TEXT = re.compile(r"(\d+[dhms]\s*)+")


def read_seconds(duration: float | str, name: str) -> int:
    """Return a duration in whole seconds.

    Args:
        duration: Seconds, or text such as "2h 30m 40s" with d, h, m and s.
        name: What it is of, for the error.

    Raises:
        ConfigurationError: It is neither, or not at least one second.
    """
    seconds = _of_text(duration) if isinstance(duration, str) else int(duration)
    if seconds < 1:
        raise ConfigurationError(
            f"{name} must be at least one second, as a number of seconds or as text such as"
            f" '2h 30m', not {duration!r:.80}."
        )
    return seconds


def _of_text(text: str) -> int:
    if not _TEXT.fullmatch(text.strip()):
        return 0
    return sum(int(part[:-1]) * _UNITS[part[-1]] for part in re.findall(r"\d+[dhms]", text))
