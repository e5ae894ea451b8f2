"""The parts of one running service, as its routes use them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from prefect_qiskit_runtime.service.access_tokens import Authenticator
from prefect_qiskit_runtime.service.answer_shares import AnswerShares
from prefect_qiskit_runtime.service.checker import Checker
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
    """When the service was last used, and whether it is ending.

    Attributes:
        ending: Set once, when the service stops accepting requests.
    """

    def __init__(self, clock: Clock) -> None:
        self.ending = False
        self._clock = clock
        self._last = clock.monotonic()

    def touch(self) -> None:
        """Record that the service is in use."""
        self._last = self._clock.monotonic()

    @property
    def idle_seconds(self) -> float:
        """Time since the last use."""
        return self._clock.monotonic() - self._last


@dataclass
class ServiceContext:
    """The parts of the service that requests use.

    Attributes:
        journals_dir: Folder in which brokers record their submissions to hardware.
        embedded_token: The token that the service proves it knows; None for a team service.
        request_end: Requests the end of the process; None if clients may not request it.
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
    answers: AnswerShares = field(init=False)
    checker: Checker = field(init=False)
    rules: InputRules = field(init=False)
    activity: Activity = field(init=False)
    replays: ReplayGuard = field(init=False)
    started_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.answers = AnswerShares(
            self.settings.answer_bytes_per_user, self.settings.request_body_seconds
        )
        self.checker = Checker(self.settings)
        self.rules = InputRules(self.checker)
        self.activity = Activity(self.clock)
        self.replays = ReplayGuard(self.clock.monotonic)
        self.started_at = self.clock.now()

    def log_path(self, job_id: str) -> Path:
        """Return the path of a job's log."""
        return self.job_logs_dir / f"{job_id}.log"
