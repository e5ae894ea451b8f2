"""Ids of jobs and sessions: random, and of the same form, because a job may name its session."""

from __future__ import annotations

import secrets
import string

_CHARACTERS = string.ascii_lowercase + string.digits
_LENGTH = 20


def new_id() -> str:
    """Return an id that nothing else has."""
    return "".join(secrets.choice(_CHARACTERS) for _ in range(_LENGTH))
