"""The parts of one running service, as its routes find them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from prefect_qiskit_runtime.service.access_tokens import Authenticator
from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.devices import Devices
from prefect_qiskit_runtime.service.execution.executor import Executor
from prefect_qiskit_runtime.service.execution.images import Images
from prefect_qiskit_runtime.service.execution.scheduler import Interference, Scheduler
from prefect_qiskit_runtime.service.feed import Feed
from prefect_qiskit_runtime.service.inputs import InputRules
from prefect_qiskit_runtime.service.replay import ReplayGuard
from prefect_qiskit_runtime.service.store import Store
from prefect_qiskit_runtime.settings import Settings


class Activity:
    """When the service was last used, and whether it is about to end.

    Attributes:
        ending: Set once, when the service will take no more requests.
    """

    def __init__(self, clock: Clock) -> None:
        self.ending = False
        self._clock = clock
        self._last = clock.monotonic()

    def touch(self) -> None:
        """Take note that somebody uses the service."""
        self._last = self._clock.monotonic()

    @property
    def idle_seconds(self) -> float:
        """Time since the last use."""
        return self._clock.monotonic() - self._last


@dataclass
class ServiceContext:
    """What a request can reach.

    Attributes:
        journals_dir: Where brokers note what they have submitted to hardware.
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
    journals_dir: Path
    images: Images
    clock: Clock
    embedded_token: str | None = None
    request_end: Callable[[], None] | None = None
    interference: Interference = field(default_factory=Interference)
    rules: InputRules = field(default_factory=InputRules)
    activity: Activity = field(init=False)
    replays: ReplayGuard = field(init=False)
    started_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.activity = Activity(self.clock)
        self.replays = ReplayGuard(self.clock.monotonic)
        self.started_at = self.clock.now()

    def log_path(self, job_id: str) -> Path:
        """Return where the log of a job is kept."""
        return self.job_logs_dir / f"{job_id}.log"
