"""What the scheduler asks of whatever runs jobs, and what it hears from a job.

The interface is small so that more than one thing can stand behind it. Not for limits of time:
the scheduler keeps the clock and calls `terminate`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prefect_qiskit_runtime.errors import QiskitRuntimeError

__all__ = [
    "Event",
    "Execution",
    "Executor",
    "Exited",
    "Interim",
    "JobLaunch",
    "LaunchError",
    "ProgramError",
    "Result",
    "Started",
    "Usage",
]


class LaunchError(QiskitRuntimeError):
    """A job's process could not be started: nothing of the program has run.

    Attributes:
        image: The image in which it should have started.
        stderr_tail: The last lines that the image's interpreter wrote, where there are any.
    """

    def __init__(self, message: str, *, image: str, stderr_tail: str = "") -> None:
        super().__init__(message)
        self.image = image
        self.stderr_tail = stderr_tail


@dataclass(frozen=True)
class JobLaunch:
    """All that is needed to run one job.

    Attributes:
        source: The program's text.
        inputs: The encoded inputs, verbatim: one JSON object.
        backend: Name of the backend that the program is given.
        image: `python:<absolute path of an interpreter>`.
        log_level: Name of a level of `logging`, as "WARNING".
        scratch: The job's working folder; made at launch, removed when the job has ended.
        log_path: File that gets the job's output; readable while the job runs.
        hardware: Descriptor of the program's end of the pipe to its broker; None for a job on a
            backend of this service.
    """

    job_id: str
    program_id: str
    source: str
    inputs: bytes
    backend: str
    image: str
    log_level: str
    max_execution_seconds: int
    scratch: Path
    log_path: Path
    hardware: int | None = None


@dataclass(frozen=True)
class Started:
    """The process is up and about to load the program.

    Attributes:
        versions: Of python, qiskit, qiskit-aer and qiskit-ibm-runtime in its image.
    """

    versions: dict[str, str]


@dataclass(frozen=True)
class Interim:
    """An interim result, as encoded text."""

    data: str


@dataclass(frozen=True)
class Result:
    """The final result, as encoded text. At most one, after all interim results."""

    data: str


@dataclass(frozen=True)
class ProgramError:
    """The program ended without a result.

    Attributes:
        reason_code: One of `models.ReasonCode`.
        traceback: The program's own traceback; empty where none helps.
    """

    error_type: str
    message: str
    reason_code: int
    traceback: str


@dataclass(frozen=True)
class Usage:
    """What the job has used: wall-clock seconds, and seconds on a quantum device."""

    seconds: float
    quantum_seconds: float


@dataclass(frozen=True)
class Exited:
    """The process and all that it started are gone, its log is complete. The last event.

    Attributes:
        exit_code: Of the process; None if a signal ended it.
        signal: That signal; None if it exited.
        memory_exceeded: Whether the memory limit, the job's or the machine's, ended it.
    """

    exit_code: int | None
    signal: int | None
    memory_exceeded: bool


Event = Started | Interim | Result | ProgramError | Usage | Exited


class Execution(Protocol):
    """One job that was started."""

    def __aiter__(self) -> AsyncIterator[Event]:
        """Give the events in order, once; `Exited` is always the last.

        Not reading them holds the job back in its next `publish`.
        """
        ...

    async def terminate(self) -> None:
        """Ask the job to end, then kill it with all that it started; return when it is gone.

        Does nothing when the job has ended. The events that it still sent, and `Exited`, can be
        read afterwards.
        """
        ...


class Executor(Protocol):
    """Something that runs jobs."""

    async def warm(self, image: str) -> None:
        """Get ready for the first job of an image.

        Raises:
            LaunchError: The image cannot run jobs; the message says why.
        """
        ...

    async def launch(self, launch: JobLaunch) -> Execution:
        """Start a job.

        Raises:
            LaunchError: Its process could not be started; nothing of the program has run.
        """
        ...

    async def close(self) -> None:
        """End all jobs and everything that was started to run them."""
        ...
