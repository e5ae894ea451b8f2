"""The interface between the scheduler and an executor of jobs, and the events of a job.

The interface is small, so that it can have several implementations. It does not enforce time
limits: the scheduler has the clock and calls `terminate`.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from prefect_qiskit_runtime.errors import QiskitRuntimeError
from prefect_qiskit_runtime.models import UsedUpLimit

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
    "is_shortage",
]


class LaunchError(QiskitRuntimeError):
    """A job's process could not be started; the program has not run at all.

    Attributes:
        image: The image in which it should have started.
        stderr_tail: The last lines that the image's interpreter wrote, if any.
        is_temporary: Whether files, memory or processes ran out, so that a later start may work.
    """

    def __init__(
        self, message: str, *, image: str, stderr_tail: str = "", is_temporary: bool = False
    ) -> None:
        super().__init__(message)
        self.image = image
        self.stderr_tail = stderr_tail
        self.is_temporary = is_temporary


def is_shortage(number: int | None) -> bool:
    """Return whether an error number means that files, memory or processes ran out."""
    return number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)


@dataclass(frozen=True)
class JobLaunch:
    """Everything needed to run one job.

    Attributes:
        source: The program's source text.
        inputs: The encoded inputs, verbatim: one JSON object.
        backend: Name of the backend that the program gets.
        image: `python:<absolute path of an interpreter>`.
        log_level: Name of a `logging` level, such as "WARNING".
        scratch: The job's working folder; created at launch, removed when the job has ended.
        log_path: File for the job's output; readable while the job is running.
        hardware: Descriptor of the program's end of the pipe to its broker; None for a job on one
            of this service's backends.
        simulation: Settings of the simulation; empty for the defaults.
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
    simulation: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Started:
    """The process has started and is about to load the program.

    Attributes:
        versions: Versions of python, qiskit, qiskit-aer and qiskit-ibm-runtime in its image.
    """

    versions: dict[str, str]


@dataclass(frozen=True)
class Interim:
    """An interim result, as encoded text."""

    data: str


@dataclass(frozen=True)
class Result:
    """The final result, as encoded text. At most one per job, after all interim results."""

    data: str


@dataclass(frozen=True)
class ProgramError:
    """The program ended without a result.

    Attributes:
        reason_code: One of `models.ReasonCode`.
        traceback: The program's traceback; empty if it would not help.
        limit: The limit of QPU time that ended it, if one did.
    """

    error_type: str
    message: str
    reason_code: int
    traceback: str
    limit: UsedUpLimit | None = None


@dataclass(frozen=True)
class Usage:
    """The job's usage: wall-clock seconds, seconds on a quantum device, and how it simulated."""

    seconds: float
    quantum_seconds: float
    simulation_methods: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Exited:
    """The process and all its children have ended, and its log is complete. The last event.

    Attributes:
        exit_code: The process's exit code; None if a signal ended it.
        signal: The signal that ended the process; None if it exited.
        memory_exceeded: Whether the job's or the machine's memory limit ended it.
        source_lost: Whether it ended only because the process that had started it ended.
    """

    exit_code: int | None
    signal: int | None
    memory_exceeded: bool
    source_lost: bool = False


Event = Started | Interim | Result | ProgramError | Usage | Exited


class Execution(Protocol):
    """One started job."""

    def __aiter__(self) -> AsyncIterator[Event]:
        """Yield the events in order, once; `Exited` is always the last.

        While events are not read, the job's next `publish` blocks.
        """
        ...

    async def terminate(self) -> None:
        """Ask the job to end, then kill it and all its children; return once they are gone.

        It does nothing if the job has already ended. The events that the job still sent, and
        `Exited`, can be read afterwards.
        """
        ...


class Executor(Protocol):
    """The interface for running jobs."""

    async def warm(self, image: str) -> None:
        """Prepare for the first job of an image.

        Raises:
            LaunchError: The image cannot run jobs; the message gives the reason.
        """
        ...

    async def launch(self, launch: JobLaunch) -> Execution:
        """Start a job.

        Raises:
            LaunchError: Its process could not be started; the program has not run at all.
        """
        ...

    async def close(self) -> None:
        """End all jobs and all processes that were started to run them."""
        ...
