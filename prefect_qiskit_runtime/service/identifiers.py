"""Ids of jobs and sessions. They share one format, because a session may take its job's id."""

from __future__ import annotations

import hashlib
import json
import secrets
import string

_CHARACTERS = string.ascii_lowercase + string.digits
_LENGTH = 20


def new_id() -> str:
    """Return a new, unique id."""
    return "".join(secrets.choice(_CHARACTERS) for _ in range(_LENGTH))


def id_of(*named: str) -> str:
    """Return an id derived from texts: the same texts give the same id."""
    number = int.from_bytes(hashlib.sha256(json.dumps(named).encode()).digest())
    characters: list[str] = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_CHARACTERS))
        characters.append(_CHARACTERS[digit])
    return "".join(characters)
