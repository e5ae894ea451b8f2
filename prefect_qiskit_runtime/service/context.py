"""The parts of one running service, as its routes find them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.devices import Devices
from prefect_qiskit_runtime.service.executor import Executor
from prefect_qiskit_runtime.service.feed import Feed
from prefect_qiskit_runtime.service.images import Images
from prefect_qiskit_runtime.service.inputs import InputRules
from prefect_qiskit_runtime.service.replay import ReplayGuard
from prefect_qiskit_runtime.service.scheduler import Scheduler
from prefect_qiskit_runtime.service.store import Store
from prefect_qiskit_runtime.settings import Settings

if TYPE_CHECKING:
    from prefect_qiskit_runtime.service.auth import Authenticator


@dataclass
class Activity:
    """When the service was last used, and whether it is about to end.

    Attributes:
        ending: Set once, when the service will take no more requests.
    """

    ending: bool = False
    _last: float = field(default_factory=time.monotonic)

    def touch(self) -> None:
        """Take note that somebody uses the service."""
        self._last = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        """Time since the last use."""
        return time.monotonic() - self._last


@dataclass
class ServiceContext:
    """What a request can reach.

    Attributes:
        embedded_token: The token that the service proves to know; None for a team service.
        request_end: Asks the process to end; None where that is not a client's to ask.
    """

    settings: Settings
    store: Store
    scheduler: Scheduler
    executor: Executor
    feed: Feed
    devices: Devices
    authenticator: Authenticator
    job_logs_dir: Path
    images: Images
    clock: Clock
    embedded_token: str | None = None
    request_end: Callable[[], None] | None = None
    rules: InputRules = field(default_factory=InputRules)
    activity: Activity = field(default_factory=Activity)
    replays: ReplayGuard = field(default_factory=ReplayGuard)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def log_path(self, job_id: str) -> Path:
        """Return where the log of a job is kept."""
        return self.job_logs_dir / f"{job_id}.log"
