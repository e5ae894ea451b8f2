"""Run each job in a separate process on this machine, forked from a preloaded one."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from prefect_qiskit_runtime.errors import ProtocolError
from prefect_qiskit_runtime.models import ReasonCode
from prefect_qiskit_runtime.service.execution.executor import (
    Event,
    Exited,
    JobLaunch,
    LaunchError,
    ProgramError,
    is_shortage,
)
from prefect_qiskit_runtime.service.execution.image_process import ExitStatus
from prefect_qiskit_runtime.service.execution.job_log import JobLog
from prefect_qiskit_runtime.service.execution.job_messages import (
    MessageLimits,
    MessageParser,
    MessageTooLargeError,
)
from prefect_qiskit_runtime.service.execution.job_sources import (
    JobProcess,
    JobSource,
    SingleUseSource,
    Zygote,
)
from prefect_qiskit_runtime.settings import Settings

__all__ = ["ForkExecutor"]

_logger = logging.getLogger(__name__)

_READ_BYTES = 256 * 1024
_PIPE_BYTES = 1024 * 1024
_LOG_END_SECONDS = 5.0
_LOG_TAIL_BYTES = 64 * 1024
# Messages of C libraries that end the process because they get no memory.
_MEMORY_WORDS = (b"bad_alloc", b"MemoryError", b"Cannot allocate memory", b"Memory allocation")


class ForkExecutor:
    """Runs jobs in processes forked from one fork server per image.

    If fork is not safe (macOS), each job gets a process that was started in advance.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        single_use: bool = sys.platform == "darwin",
        threads: int | None = None,
    ) -> None:
        self._settings = settings
        self._kind = SingleUseSource if single_use else Zygote
        self._threads = threads or _usable_cpus()
        self._sources: dict[str, JobSource] = {}
        self._starting: dict[str, asyncio.Lock] = {}
        self._executions: set[ForkExecution] = set()
        self._retiring: set[asyncio.Task[None]] = set()

    async def warm(self, image: str) -> None:
        """Load an image's libraries before its first job needs them."""
        await self._source(image)

    async def launch(self, launch: JobLaunch) -> ForkExecution:
        """Start a job."""
        source = await self._source(launch.image)
        try:
            log, pipes = await asyncio.to_thread(self._prepare, launch)
        except OSError as exc:
            await asyncio.to_thread(shutil.rmtree, launch.scratch, ignore_errors=True)
            raise LaunchError(
                f"The job's files cannot be created: {exc.strerror}.",
                image=launch.image,
                is_temporary=is_shortage(exc.errno),
            ) from exc
        try:
            execution = await self._start(source, launch, pipes, log)
        except BaseException:
            pipes.close_reading()
            log.close()
            await asyncio.to_thread(shutil.rmtree, launch.scratch, ignore_errors=True)
            raise
        finally:
            pipes.close_writing()
        self._executions.add(execution)
        execution.ended.add_done_callback(lambda _: self._executions.discard(execution))
        return execution

    async def close(self) -> None:
        """End all jobs and all fork servers."""
        await asyncio.gather(*(execution.terminate() for execution in list(self._executions)))
        sources = list(self._sources.values())
        self._sources.clear()
        await asyncio.gather(*(source.close() for source in sources), *self._retiring)

    async def _source(self, image: str) -> JobSource:
        async with self._starting.setdefault(image, asyncio.Lock()):
            source = self._sources.get(image)
            if source is not None and source.is_usable:
                if await asyncio.to_thread(source.is_current):
                    return source
                self._retire(self._sources.pop(image))
            self._sources[image] = await self._kind.start(
                image,
                threads=self._threads,
                timeout_seconds=self._settings.start_timeout_seconds,
            )
            return self._sources[image]

    def _retire(self, source: JobSource) -> None:
        _logger.info("An image's libraries have changed: its next jobs get a new fork server.")
        task = asyncio.create_task(source.retire())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _start(
        self, source: JobSource, launch: JobLaunch, pipes: _Pipes, log: JobLog
    ) -> ForkExecution:
        async def spawn(source: JobSource) -> JobProcess:
            more = () if launch.hardware is None else (launch.hardware,)
            descriptors = (pipes.messages[1], pipes.log[1], *more)
            return await source.spawn(launch.job_id, launch.scratch, descriptors)

        try:
            process = await spawn(source)
        except LaunchError:
            # The fork server may have ended since the last job; the program has not run at all.
            if source.is_usable:
                raise
            process = await spawn(await self._source(launch.image))
        return ForkExecution(process, launch, await _Streams.connect(pipes), log, self._settings)

    def _prepare(self, launch: JobLaunch) -> tuple[JobLog, _Pipes]:
        self._write_scratch(launch)
        # Opened before the process starts: once it is running, nothing may fail that follows it.
        log = JobLog(launch.log_path, self._settings.log_bytes)
        try:
            return log, _Pipes.open()
        except OSError:
            log.close()
            raise

    def _write_scratch(self, launch: JobLaunch) -> None:
        # A start that failed because files ran out may have left the folder: to delete it takes
        # files too.
        shutil.rmtree(launch.scratch, ignore_errors=True)
        launch.scratch.mkdir(parents=True, mode=0o700)
        job = {
            "v": 1,
            "job_id": launch.job_id,
            "program_id": launch.program_id,
            "backend": launch.backend,
            "log_level": launch.log_level,
            "simulation": launch.simulation,
            "max_execution_seconds": launch.max_execution_seconds,
            "memory_bytes": self._settings.job_memory_bytes,
            "file_bytes": self._settings.job_file_bytes,
            "result_bytes": self._settings.result_bytes,
            "interim_bytes": self._settings.interim_bytes,
            "interim_total_bytes": self._settings.interim_total_bytes,
            "interim_results": self._settings.interim_results,
            "threads": self._threads,
        }
        (launch.scratch / "program.py").write_text(launch.source, "utf-8")
        (launch.scratch / "inputs.json").write_bytes(launch.inputs)
        (launch.scratch / "job.json").write_text(json.dumps(job), "utf-8")


class ForkExecution:
    """One job in its process.

    Attributes:
        ended: Done when the process and its children have ended, its log is complete and its
            scratch folder is removed.
    """

    def __init__(
        self,
        process: JobProcess,
        launch: JobLaunch,
        streams: _Streams,
        log: JobLog,
        settings: Settings,
    ) -> None:
        self._process = process
        self._launch = launch
        self._streams = streams
        self._log = log
        self._grace_seconds = settings.terminate_grace_seconds
        self._limits = MessageLimits.from_settings(settings)
        self._killed_by_us = False
        self._oom_kills = _oom_kills()
        self._logging = asyncio.create_task(self._keep_log())
        self.ended = asyncio.create_task(self._wait())

    def __aiter__(self) -> AsyncIterator[Event]:
        """Yield the events, once."""
        return self._events()

    async def terminate(self) -> None:
        """Ask the process group to end, kill it after a grace period; return once it is gone."""
        if not self.ended.done():
            self._killed_by_us = True
            self._process.signal(signal.SIGTERM)
            done, _ = await asyncio.wait([self.ended], timeout=self._grace_seconds)
            if not done:
                self._process.signal(signal.SIGKILL)
        await asyncio.shield(self.ended)

    async def _events(self) -> AsyncIterator[Event]:
        parser = MessageParser(self._limits)
        memory_exceeded = False
        try:
            while data := await self._streams.messages.read(_READ_BYTES):
                for event in parser.feed(data):
                    if isinstance(event, ProgramError):
                        memory_exceeded = event.reason_code == ReasonCode.MEMORY_LIMIT
                    yield event
        except (ProtocolError, MessageTooLargeError) as exc:
            self._streams.close_messages()
            await self.terminate()
            yield _pipe_error(exc)
        status = await asyncio.shield(self.ended)
        self._streams.close_messages()
        if status.signal is not None and not status.source_lost:
            memory_exceeded = await asyncio.to_thread(self._died_of_memory, status.signal)
        yield Exited(status.exit_code, status.signal, memory_exceeded, status.source_lost)

    async def _wait(self) -> ExitStatus:
        status = await self._process.exited
        # Only a process that switched to another user can still hold the log open.
        done, _ = await asyncio.wait([self._logging], timeout=_LOG_END_SECONDS)
        if not done:
            self._logging.cancel()
        self._streams.close_log()
        await asyncio.to_thread(shutil.rmtree, self._launch.scratch, ignore_errors=True)
        return status

    async def _keep_log(self) -> None:
        try:
            while data := await self._streams.log.read(_READ_BYTES):
                try:
                    await asyncio.to_thread(self._log.write, data)
                except OSError as exc:
                    # Keep reading: a program whose output is not read blocks in `print` forever.
                    _logger.warning("Output of job %s is lost: %s", self._launch.job_id, exc)
        finally:
            self._log.close()

    def _died_of_memory(self, number: int) -> bool:
        if self._killed_by_us:
            return False
        if number == signal.SIGKILL:
            return _oom_kills() > self._oom_kills
        with self._launch.log_path.open("rb") as log:
            log.seek(max(0, self._launch.log_path.stat().st_size - _LOG_TAIL_BYTES))
            tail = log.read()
        return any(words in tail for words in _MEMORY_WORDS)


def _pipe_error(exc: ProtocolError | MessageTooLargeError) -> ProgramError:
    """Return the end of a job whose messages cannot be read, which the runner never sends."""
    text = f"The program wrote into the job's own pipe: {exc}."
    if isinstance(exc, MessageTooLargeError):
        return ProgramError("MessageTooLargeError", text, ReasonCode.MESSAGE_LIMIT, "")
    return ProgramError("ProtocolError", text, ReasonCode.PROGRAM_RAISED, "")


@dataclass(frozen=True)
class _Pipes:
    """Descriptors of a job's two pipes, as (read, write)."""

    messages: tuple[int, int]
    log: tuple[int, int]

    @classmethod
    def open(cls) -> _Pipes:
        pipes = cls(os.pipe(), os.pipe())
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            # Fewer reads for large results. The kernel refuses it beyond the user's quota; the
            # pipe is then only slower.
            with contextlib.suppress(OSError):
                fcntl.fcntl(pipes.messages[1], fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        return pipes

    def close_reading(self) -> None:
        for descriptor in (self.messages[0], self.log[0]):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def close_writing(self) -> None:
        for descriptor in (self.messages[1], self.log[1]):
            os.close(descriptor)


class _Streams:
    """The reading ends of a job's two pipes in the event loop."""

    def __init__(
        self,
        messages: tuple[asyncio.StreamReader, asyncio.ReadTransport],
        log: tuple[asyncio.StreamReader, asyncio.ReadTransport],
    ) -> None:
        self.messages, self._messages_transport = messages
        self.log, self._log_transport = log

    @classmethod
    async def connect(cls, pipes: _Pipes) -> _Streams:
        return cls(await _reader(pipes.messages[0]), await _reader(pipes.log[0]))

    def close_messages(self) -> None:
        self._messages_transport.close()

    def close_log(self) -> None:
        self._log_transport.close()


async def _reader(descriptor: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    reader = asyncio.StreamReader(limit=_READ_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    return reader, transport


def _usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _oom_kills() -> int:
    """Return the kernel's count of out-of-memory kills since boot; 0 if it is not available."""
    counters = Path("/proc/vmstat")
    if not counters.is_file():
        return 0
    for line in counters.read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return 0
