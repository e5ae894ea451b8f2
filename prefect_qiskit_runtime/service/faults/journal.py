"""The journal: every received request, without its secrets, and the status of its answer."""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.faults.scenarios import matches

_MOST = 50_000
_SECRET = ("authorization", "cookie", "proxy-authorization", "x-access-token")


@dataclass
class Record:
    """One request.

    Attributes:
        at: Time of arrival by the service's clock, ISO 8601.
        body_sha256: Hash of the part of the body that was read.
        status: Status of the answer; None if there is no answer, or not yet.
        cut: Whether a scenario broke the connection.
        scenario_id: The scenario that acted on it.
    """

    number: int
    at: str
    user: str | None
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body_bytes: int = 0
    body_sha256: str = ""
    status: int | None = None
    cut: bool = False
    scenario_id: str | None = None
    _digest: Any = field(default_factory=hashlib.sha256, repr=False)

    def read(self, body: bytes) -> None:
        """Record a part of the request's body."""
        self.body_bytes += len(body)
        self._digest.update(body)
        self.body_sha256 = self._digest.hexdigest()

    def view(self) -> dict[str, Any]:
        """Return the request as the control endpoints show it."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


class Journal:
    """The service's latest requests, in order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: deque[Record] = deque(maxlen=_MOST)
        self._numbers = itertools.count(1)

    def begin(
        self,
        *,
        user: str | None,
        method: str,
        path: str,
        query: str,
        headers: Iterable[tuple[bytes, bytes]],
    ) -> Record:
        """Record a request that has arrived."""
        record = Record(
            number=next(self._numbers),
            at=self._clock.now().isoformat().replace("+00:00", "Z"),
            user=user,
            method=method,
            path=path,
            query=query,
            headers=_without_secrets(headers),
        )
        self._records.append(record)
        return record

    def find(self, *, method: str | None, path: str | None, user: str | None) -> list[Record]:
        """Return the requests of a method, path (a pattern) and user."""
        return [
            record
            for record in self._records
            if method in (None, record.method)
            and user in (None, record.user)
            and (path is None or matches(path, record.path))
        ]

    def clear(self) -> None:
        """Delete all records; the numbering continues."""
        self._records.clear()


def _without_secrets(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    texts = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
    return {name: "***" if name in _SECRET else value for name, value in texts}
