"""The service's side of the two sources of a job's process: fork server and single-use process."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from prefect_qiskit_runtime.service.execution.executor import LaunchError, is_shortage
from prefect_qiskit_runtime.service.execution.image_process import ExitStatus, ImageProcess

__all__ = ["JobProcess", "JobSource", "SingleUseSource", "Zygote"]

_GONE = "has ended unexpectedly"


class JobProcess:
    """One job's process: a way to signal it, and its end.

    Attributes:
        exited: Done when the process and all its children are gone.
    """

    def __init__(self, send_signal: Callable[[int], None]) -> None:
        self.signal = send_signal
        self.exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()


class JobSource(Protocol):
    """Provides jobs with processes of one image."""

    @property
    def is_usable(self) -> bool:
        """Whether the source is alive."""
        ...

    def is_current(self) -> bool:
        """Return whether its libraries still match the image (blocking call)."""
        ...

    async def spawn(self, job_id: str, scratch: Path, descriptors: Sequence[int]) -> JobProcess:
        """Start a job's process. The caller still has to close the descriptors.

        Args:
            job_id: The job.
            scratch: The job's folder.
            descriptors: The writing ends of the job's pipes for messages and log, and its end of
                the pipe to its broker, if it has one.

        Raises:
            LaunchError: The process did not start.
        """
        ...

    async def close(self) -> None:
        """End the source and all its jobs."""
        ...

    async def retire(self) -> None:
        """End the source once its last job has ended."""
        ...


class Zygote:
    """A fork server: one process that starts all jobs of an image."""

    def __init__(self, process: ImageProcess) -> None:
        self._process = process
        self._jobs: dict[str, JobProcess] = {}
        self._launching: dict[str, asyncio.Future[None]] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._ending = False
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, image: str, *, threads: int, timeout_seconds: float) -> Zygote:
        """Start the fork server.

        Raises:
            LaunchError: The image cannot run jobs.
        """
        return cls(
            await ImageProcess.start(
                image, single_use=False, threads=threads, timeout_seconds=timeout_seconds
            )
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_usable(self) -> bool:
        """Whether the fork server is alive."""
        return not self._listening.done()

    def is_current(self) -> bool:
        """Return whether its libraries still match the image (blocking call)."""
        return self._process.is_current()

    async def spawn(self, job_id: str, scratch: Path, descriptors: Sequence[int]) -> JobProcess:
        """Fork a job's process."""
        launched = self._launching[job_id] = asyncio.get_running_loop().create_future()
        job = self._jobs[job_id] = JobProcess(lambda number: self._send_signal(job_id, number))
        self._idle.clear()
        try:
            await self._process.send(_launch_request(job_id, scratch, descriptors), descriptors)
            await launched
        except ConnectionError as exc:
            self._forget(job_id)
            raise LaunchError(
                f"The fork server of the image {self._process.image} {_GONE}.",
                image=self._process.image,
            ) from exc
        except LaunchError:
            self._forget(job_id)
            raise
        except asyncio.CancelledError:
            # No caller will watch the job. `_take` forgets it once it has exited.
            job.signal(signal.SIGKILL)
            raise
        finally:
            self._launching.pop(job_id, None)
        return job

    async def retire(self) -> None:
        """End the fork server once its last job has ended."""
        await self._idle.wait()
        await self.close()

    async def close(self) -> None:
        """End the fork server and all its jobs."""
        self._ending = True
        self._process.end()
        await self._listening

    def _send_signal(self, job_id: str, number: int) -> None:
        async def send() -> None:
            # If the fork server is gone, its jobs are gone too.
            with contextlib.suppress(ConnectionError):
                await self._process.send({"type": "signal", "job_id": job_id, "number": number})

        task = asyncio.create_task(send())
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def _forget(self, job_id: str) -> None:
        self._jobs.pop(job_id, None)
        if not self._jobs:
            self._idle.set()

    async def _listen(self) -> None:
        with contextlib.suppress(EOFError):
            while True:
                answer = await self._process.receive()
                self._take(answer)
        # The fork server kills its jobs when it is asked to end; if it died, they died with it.
        await self._process.close()
        for launching in self._launching.values():
            if not launching.done():
                launching.set_exception(ConnectionError(_GONE))
        for job_id, job in list(self._jobs.items()):
            _resolve(job, ExitStatus(None, signal.SIGKILL, source_lost=not self._ending))
            self._forget(job_id)

    def _take(self, answer: dict[str, Any]) -> None:
        job_id = str(answer["job_id"])
        launching = self._launching.get(job_id)
        if answer["type"] == "exited":
            job = self._jobs[job_id]
            self._forget(job_id)
            _resolve(job, ExitStatus(answer["exit_code"], answer["signal"]))
        elif launching is None or launching.done():
            return
        elif answer["type"] == "launched":
            launching.set_result(None)
        else:
            launching.set_exception(
                LaunchError(
                    f"The job's process did not start: {answer['message']}.",
                    image=self._process.image,
                    is_temporary=is_shortage(answer["errno"]),
                )
            )


class SingleUseSource:
    """A source of single-use processes, each started in advance; one is kept in reserve."""

    def __init__(self, image: str, *, threads: int, timeout_seconds: float) -> None:
        self._image = image
        self._threads = threads
        self._timeout_seconds = timeout_seconds
        self._spare = self._start_spare()
        self._running: set[asyncio.Task[None]] = set()

    @classmethod
    async def start(cls, image: str, *, threads: int, timeout_seconds: float) -> SingleUseSource:
        """Start the first process and wait for it.

        Raises:
            LaunchError: The image cannot run jobs.
        """
        source = cls(image, threads=threads, timeout_seconds=timeout_seconds)
        await asyncio.shield(source._spare)
        return source

    @property
    def is_usable(self) -> bool:
        """Always true: each job gets a new process."""
        return True

    def is_current(self) -> bool:
        """Return whether the reserve process's libraries still match the image."""
        failed = self._spare.done() and self._spare.exception() is not None
        return failed or not self._spare.done() or self._spare.result().is_current()

    async def spawn(self, job_id: str, scratch: Path, descriptors: Sequence[int]) -> JobProcess:
        """Use the reserve process, and start the next one."""
        spare, self._spare = self._spare, self._start_spare()
        process = await spare
        try:
            await process.send(_launch_request(job_id, scratch, descriptors), descriptors)
            await process.receive()
        except (ConnectionError, EOFError) as exc:
            await process.close()
            raise LaunchError(
                f"The reserve process for the image {self._image} {_GONE}.", image=self._image
            ) from exc
        job = JobProcess(process.signal_group)
        watching = asyncio.create_task(self._watch(process, job))
        self._running.add(watching)
        watching.add_done_callback(self._running.discard)
        return job

    async def retire(self) -> None:
        """End the reserve process once all jobs have ended."""
        await asyncio.gather(*self._running)
        await self.close()

    async def close(self) -> None:
        """End the reserve process, and wait for the jobs, which their launcher ends."""
        with contextlib.suppress(LaunchError):
            await (await self._spare).close()
        await asyncio.gather(*self._running)

    def _start_spare(self) -> asyncio.Task[ImageProcess]:
        spare = asyncio.create_task(
            ImageProcess.start(
                self._image,
                single_use=True,
                threads=self._threads,
                timeout_seconds=self._timeout_seconds,
            )
        )
        # The next job gets the error. The callback retrieves it in case there is no next job.
        spare.add_done_callback(lambda task: task.cancelled() or task.exception())
        return spare

    async def _watch(self, process: ImageProcess, job: JobProcess) -> None:
        status = await process.wait()
        process.signal_group(signal.SIGKILL)
        await process.close()
        _resolve(job, status)


def _launch_request(job_id: str, scratch: Path, descriptors: Sequence[int]) -> dict[str, Any]:
    fields = {"job_id": job_id, "scratch": str(scratch), "descriptors": len(descriptors)}
    return {"type": "launch", **fields}


def _resolve(job: JobProcess, status: ExitStatus) -> None:
    if not job.exited.done():
        job.exited.set_result(status)
