"""Run one job from its launch to its recorded end."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prefect_qiskit_runtime.errors import QiskitRuntimeError, ServiceUnavailableError
from prefect_qiskit_runtime.models import JobStatus, ReasonCode
from prefect_qiskit_runtime.service import primitives
from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.execution.broker import LIMITS, Broker, BrokerError, BrokerOrder
from prefect_qiskit_runtime.service.execution.executor import (
    Event,
    Execution,
    Executor,
    Exited,
    Interim,
    JobLaunch,
    LaunchError,
    ProgramError,
    Result,
    Started,
    Usage,
)
from prefect_qiskit_runtime.service.execution.recorder import InterimRecorder
from prefect_qiskit_runtime.service.feed import Feed
from prefect_qiskit_runtime.service.store import Store, jobs as statements, queue
from prefect_qiskit_runtime.service.store.records import ClaimedJob, JobEnd

logger = logging.getLogger(__name__)

_LONGEST_REASON = 1000
_RETRY_SECONDS = 1.0
_PRIMITIVES = frozenset(primitives.NAMES)
_LAST_LINE = "Completed\n"

INTERRUPTED = JobEnd(
    JobStatus.FAILED,
    reason="The service stopped while the job was running. A started job is not run again"
    " automatically: submit it again.",
    reason_code=ReasonCode.INTERRUPTED,
)
CANCELLED = JobEnd(JobStatus.CANCELLED, reason="Cancelled on request")
RAN_TOO_LONG = JobEnd(
    JobStatus.CANCELLED, reason="Ran too long", reason_code=ReasonCode.RAN_TOO_LONG
)


@dataclass(frozen=True)
class JobFolders:
    """The folders of running jobs' files; `hardware` contains the journals of brokers."""

    scratch: Path
    logs: Path
    hardware: Path


class JobRun:
    """One running job. `run` takes it to its end; `stop` may be called at any time.

    Attributes:
        credentials: The hardware credentials that it was started with.
        was_put_back: Whether the job did not start and is queued again.
    """

    def __init__(
        self,
        claimed: ClaimedJob,
        *,
        store: Store,
        executor: Executor,
        feed: Feed,
        folders: JobFolders,
        clock: Clock,
        credentials: dict[str, Any] | None = None,
        before_put_back: Callable[[JobRun], None] | None = None,
    ) -> None:
        self._claimed = claimed
        self.credentials = credentials
        self.was_put_back = False
        self._before_put_back = before_put_back
        self._hardware_seconds: float | None = None
        self._store = store
        self._executor = executor
        self._feed = feed
        self._folders = folders
        self._clock = clock
        self._recorder = InterimRecorder(store, feed, claimed.job.id)
        self._execution: Execution | None = None
        self._stop: JobEnd | None = None
        self._terminating: asyncio.Task[None] | None = None
        self._seen: dict[type[Event], Event] = {}
        self._ended_by: JobEnd | None = None
        self._ended = asyncio.Event()
        self._service_ends = asyncio.Event()

    @property
    def job_id(self) -> str:
        """The job."""
        return self._claimed.job.id

    @property
    def session_id(self) -> str | None:
        """The job's session, if it has one."""
        return self._claimed.job.session_id

    async def run(self) -> None:
        """Run the job and record how it ended."""
        job_id = self._claimed.job.id
        try:
            end, ended_by = await self._execute()
        except Exception as exc:  # job boundary: a fault here must not end other jobs
            logger.exception("The service failed to follow job %s", job_id)
            end, ended_by = _service_fault(exc), None
        if end is not None:
            await self._close_log(end)
        try:
            if end is None and self._before_put_back is not None:
                self._before_put_back(self)
                self.was_put_back = await self._write(queue.put_back, job_id)
                return
            assert end is not None  # noqa: S101 - only a job that may be put back has none
            await self._record(end)
            self._ended_by = ended_by
        finally:
            self._ended.set()
            self._feed.notify(job_id)
        logger.info("Job %s %s%s", job_id, end.state.value.lower(), _code(end))

    async def stop(self, why: JobEnd) -> bool:
        """End the job with a given end; return, once recorded, whether it ended that way.

        The first stop takes effect, unless the job has meanwhile ended by itself.
        """
        if why is INTERRUPTED:
            self._service_ends.set()
        if self._stop is None:
            self._stop = why
            if self._execution is not None:
                self._terminating = asyncio.create_task(self._execution.terminate())
        await self._ended.wait()
        return self._ended_by is why

    async def _close_log(self, end: JobEnd) -> None:
        """Add a last line to the log of a primitive, as IBM's primitives do."""
        if end.state is JobStatus.COMPLETED and self._claimed.job.program_id in _PRIMITIVES:
            log = self._folders.logs / f"{self._claimed.job.id}.log"
            with suppress(OSError):  # a full disk does not fail a job that has a result
                await asyncio.to_thread(_append, log, _LAST_LINE)

    async def _record(self, end: JobEnd) -> None:
        """Store the end; one that the database refuses is replaced by an error."""
        job_id, now = self._claimed.job.id, self._clock.now()
        try:
            await self._write(statements.end_job, job_id, end, now, was=JobStatus.RUNNING)
        except ServiceUnavailableError:
            raise
        except Exception as exc:
            logger.exception("The end of job %s cannot be stored", job_id)
            end = _not_storable(exc)
            await self._write(statements.end_job, job_id, end, now, was=JobStatus.RUNNING)

    async def _write(self, operation: Callable[..., bool], *arguments: Any, **named: Any) -> bool:
        """Write to the store; if the disk is full, retry until there is space or the end."""
        while True:
            try:
                return await self._store.write(operation, *arguments, **named)
            except ServiceUnavailableError as exc:
                if self._service_ends.is_set():
                    raise
                logger.warning("Job %s is not stored yet: %s", self._claimed.job.id, exc)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._service_ends.wait(), _RETRY_SECONDS)

    async def _execute(self) -> tuple[JobEnd | None, JobEnd | None]:
        """Return how the job ended, and for what reason if it was stopped.

        The end is None if the job did not start and may start later.
        """
        if self._claimed.job.hardware is None:
            return await self._execute_with(None)
        try:
            broker = await Broker.start(self._broker_order())
        except BrokerError as exc:
            self._hardware_seconds = 0.0
            return self._not_started(exc), self._stop
        try:
            end, stop = await self._execute_with(broker)
        finally:
            # If the service stops, the next attempt attaches to the jobs on the device. In all
            # other cases no attempt follows that would use them.
            how = "keep" if self._stop is INTERRUPTED else "cancel"
            self._hardware_seconds = await broker.end(how)
        return None if end is None else self._add_usage(end), stop

    async def _execute_with(self, broker: Broker | None) -> tuple[JobEnd | None, JobEnd | None]:
        try:
            self._execution = await self._executor.launch(self._launch(broker))
        except LaunchError as exc:
            return self._not_started(exc), self._stop
        if broker is not None:
            broker.let_go()
        try:
            with self._time_limit():
                await self._follow(self._execution)
        except BaseException:
            await self._execution.terminate()
            raise
        if self._terminating is not None:
            await self._terminating
        return self._add_usage(_own_end(self._seen)), self._stop

    def _not_started(self, error: LaunchError | BrokerError) -> JobEnd | None:
        """Return the end of a job that did not start; None if it may start later."""
        stops = self._stop is not None and self._stop is not INTERRUPTED
        if error.is_temporary and self._before_put_back is not None and not stops:
            logger.warning("Job %s goes back into the queue: %s", self._claimed.job.id, error)
            return None
        return self._add_usage(_start_failure(error))

    async def _follow(self, execution: Execution) -> None:
        """Process the job's events until the last."""
        if self._stop is not None:  # requested during the launch
            self._terminating = asyncio.create_task(execution.terminate())
        async for event in execution:
            if isinstance(event, Interim):
                await self._recorder.put(event.data)
                continue
            self._seen[type(event)] = event
        await self._recorder.flush()

    @contextmanager
    def _time_limit(self) -> Iterator[None]:
        """Stop the job if it exceeds its time limit."""
        seconds = self._claimed.job.max_execution_seconds
        timer = self._clock.call_later(
            seconds, lambda: asyncio.create_task(self.stop(RAN_TOO_LONG))
        )
        try:
            yield
        finally:
            timer.cancel()

    def _broker_order(self) -> BrokerOrder:
        job = self._claimed.job
        hardware = job.hardware or {}
        # Evaluation keys are unique only within a user's instance.
        whole = json.dumps([job.owner.user, job.owner.instance, hardware["key"]])
        name = hashlib.sha256(whole.encode()).hexdigest()
        return BrokerOrder(
            credentials=self.credentials or {},
            backend=job.backend,
            label=hardware.get("label") or job.id,
            mode=hardware.get("mode", "session"),
            journal=self._folders.hardware / f"{name}.jsonl",
            limits={
                **{limit: hardware.get(limit) for limit in LIMITS},
                "max_execution_seconds": job.max_execution_seconds,
            },
        )

    def _launch(self, broker: Broker | None) -> JobLaunch:
        job = self._claimed.job
        return JobLaunch(
            job_id=job.id,
            program_id=job.program_id,
            source=self._claimed.source,
            inputs=self._claimed.params,
            backend=job.backend,
            image=job.image,
            log_level=job.log_level,
            max_execution_seconds=job.max_execution_seconds,
            scratch=self._folders.scratch / job.id,
            log_path=self._folders.logs / f"{job.id}.log",
            hardware=None if broker is None else broker.program,
            simulation=job.simulation or {},
        )

    def _add_usage(self, own: JobEnd) -> JobEnd:
        """Return the job's own end, or that of its stop, with versions and usage added."""
        end = own if self._stop is None else self._stop
        if isinstance(started := self._seen.get(Started), Started):
            end = replace(end, versions=started.versions)
        if isinstance(usage := self._seen.get(Usage), Usage):
            end = replace(
                end,
                usage_seconds=usage.seconds,
                quantum_seconds=usage.quantum_seconds,
                simulation_methods=usage.simulation_methods or None,
            )
        if self._claimed.job.hardware is not None:
            # The runner measures no device. None if the broker could not report it: not known.
            end = replace(end, quantum_seconds=self._hardware_seconds)
        return end


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def _service_fault(fault: Exception) -> JobEnd:
    """Return the end of a job that failed because of the service, not of the program."""
    problem = str(fault) if isinstance(fault, QiskitRuntimeError) else type(fault).__name__
    reason = (
        f"The service could not follow the job: {problem.rstrip('.')}."
        " A started job is not run again automatically: submit it again."
    )
    return replace(INTERRUPTED, reason=_shorten(reason))


def _not_storable(fault: Exception) -> JobEnd:
    """Return the end of a job whose own end the database refuses."""
    reason = f"The job's end could not be stored: {type(fault).__name__}."
    return JobEnd(JobStatus.FAILED, reason, ReasonCode.RESULT_NOT_ENCODABLE, data=reason)


def _start_failure(error: LaunchError | BrokerError) -> JobEnd:
    reason = f"The job's process could not be started: {error}"
    tail = error.stderr_tail if isinstance(error, LaunchError) else ""
    details = "\n".join(filter(None, (reason, tail)))
    return JobEnd(JobStatus.FAILED, _shorten(reason), ReasonCode.START_FAILED, data=details)


def _own_end(seen: dict[type[Event], Event]) -> JobEnd:
    """Return how a job ended by itself."""
    error, result, exited = seen.get(ProgramError), seen.get(Result), seen.get(Exited)
    if isinstance(result, Result):
        return JobEnd(JobStatus.COMPLETED, data=result.data)
    if isinstance(error, ProgramError):
        reason = f"{error.error_type}: {error.message}" if error.message else error.error_type
        return JobEnd(
            JobStatus.FAILED,
            _shorten(reason),
            error.reason_code,
            data=error.traceback or reason,
            limit=error.limit,
        )
    reason, code = _explain_exit(exited) if isinstance(exited, Exited) else ("Unknown", None)
    return JobEnd(JobStatus.FAILED, reason, code, data=reason)


def _explain_exit(exited: Exited) -> tuple[str, int]:
    """Explain why a process ended that sent neither a result nor an error."""
    if exited.source_lost:
        return (
            (
                "The process that runs the image's jobs ended, and this job with it. A started job"
                " is not run again automatically: submit it again."
            ),
            ReasonCode.INTERRUPTED,
        )
    if exited.memory_exceeded:
        return "The job exceeded its memory limit.", ReasonCode.MEMORY_LIMIT
    if exited.signal is not None:
        name = _signal_name(exited.signal)
        return f"The job's process was ended by {name}.", ReasonCode.KILLED_BY_SIGNAL
    return (
        f"The job's process exited with code {exited.exit_code} and no result.",
        ReasonCode.PROGRAM_EXITED,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"


def _shorten(reason: str) -> str:
    """Shorten a reason for listings of jobs; the full text is the job's result."""
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…"


def _code(end: JobEnd) -> str:
    return "" if end.reason_code is None else f" ({end.reason_code})"
