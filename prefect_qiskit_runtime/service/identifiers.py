"""Ids of jobs and sessions, all of the same form, because a job may name its session."""

from __future__ import annotations

import hashlib
import json
import secrets
import string

_CHARACTERS = string.ascii_lowercase + string.digits
_LENGTH = 20


def new_id() -> str:
    """Return an id that nothing else has."""
    return "".join(secrets.choice(_CHARACTERS) for _ in range(_LENGTH))


def id_of(*named: str) -> str:
    """Return the id of what some texts name: the same for the same texts."""
    number = int.from_bytes(hashlib.sha256(json.dumps(named).encode()).digest())
    characters: list[str] = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_CHARACTERS))
        characters.append(_CHARACTERS[digit])
    return "".join(characters)
