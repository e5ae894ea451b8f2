"""The service's side of the two ways to get a job's process: fork server, single-use process."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from prefect_qiskit_runtime.service.execution.executor import LaunchError
from prefect_qiskit_runtime.service.execution.image_process import ExitStatus, ImageProcess

__all__ = ["JobProcess", "JobSource", "SingleUseSource", "Zygote"]

_GONE = "has ended unexpectedly"


class JobProcess:
    """One job's process: how to signal it, and when it and all its children have gone.

    Attributes:
        exited: Done when it has gone.
    """

    def __init__(self, send_signal: Callable[[int], None]) -> None:
        self.signal = send_signal
        self.exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()


class JobSource(Protocol):
    """Gives processes of one image to jobs."""

    @property
    def is_usable(self) -> bool:
        """Whether it lives."""
        ...

    def is_current(self) -> bool:
        """Whether its libraries are still those of the image (blocks)."""
        ...

    async def spawn(self, job_id: str, scratch: Path, descriptors: Sequence[int]) -> JobProcess:
        """Start a job's process. The descriptors stay the caller's to close.

        Args:
            job_id: The job.
            scratch: Its folder.
            descriptors: The writing ends of its pipes for messages and log, and its end of the
                pipe to a broker where it has one.

        Raises:
            LaunchError: It did not start.
        """
        ...

    async def close(self) -> None:
        """End it and all its jobs."""
        ...

    async def retire(self) -> None:
        """End it when its last job has ended."""
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
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, image: str, *, threads: int, timeout_seconds: float) -> Zygote:
        """Start it.

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
        """Number of its process."""
        return self._process.pid

    @property
    def is_usable(self) -> bool:
        """Whether it lives."""
        return not self._listening.done()

    def is_current(self) -> bool:
        """Whether its libraries are still those of the image (blocks)."""
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
            # Nobody will watch it. It is forgotten when it has gone.
            job.signal(signal.SIGKILL)
            raise
        finally:
            self._launching.pop(job_id, None)
        return job

    async def retire(self) -> None:
        """End it when its last job has ended."""
        await self._idle.wait()
        await self.close()

    async def close(self) -> None:
        """End it and all its jobs."""
        self._process.end()
        await self._listening

    def _send_signal(self, job_id: str, number: int) -> None:
        async def send() -> None:
            # When the fork server is gone, so are its jobs.
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
        # It kills its jobs when it is asked to end. Had it died, they died with it.
        await self._process.close()
        for launching in self._launching.values():
            if not launching.done():
                launching.set_exception(ConnectionError(_GONE))
        for job_id, job in list(self._jobs.items()):
            _resolve(job, (None, signal.SIGKILL))
            self._forget(job_id)

    def _take(self, answer: dict[str, object]) -> None:
        job_id = str(answer["job_id"])
        launching = self._launching.get(job_id)
        if answer["type"] == "exited":
            job = self._jobs[job_id]
            self._forget(job_id)
            _resolve(job, (answer["exit_code"], answer["signal"]))  # type: ignore[arg-type]
        elif launching is None or launching.done():
            return
        elif answer["type"] == "launched":
            launching.set_result(None)
        else:
            launching.set_exception(
                LaunchError(
                    f"The job's process did not start: {answer['message']}.",
                    image=self._process.image,
                )
            )


class SingleUseSource:
    """Processes that wait for one job each; one is kept in reserve."""

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
        """Whether it lives: each process is started anew."""
        return True

    def is_current(self) -> bool:
        """Whether the libraries of the process in reserve are still those of the image."""
        failed = self._spare.done() and self._spare.exception() is not None
        return failed or not self._spare.done() or self._spare.result().is_current()

    async def spawn(self, job_id: str, scratch: Path, descriptors: Sequence[int]) -> JobProcess:
        """Use the process in reserve, and start the next one."""
        spare, self._spare = self._spare, self._start_spare()
        process = await spare
        try:
            await process.send(_launch_request(job_id, scratch, descriptors), descriptors)
            await process.receive()
        except (ConnectionError, EOFError) as exc:
            await process.close()
            raise LaunchError(
                f"The process in reserve for the image {self._image} {_GONE}.", image=self._image
            ) from exc
        job = JobProcess(process.signal_group)
        watching = asyncio.create_task(self._watch(process, job))
        self._running.add(watching)
        watching.add_done_callback(self._running.discard)
        return job

    async def retire(self) -> None:
        """End the process in reserve; jobs go on to their end."""
        await asyncio.gather(*self._running)
        await self.close()

    async def close(self) -> None:
        """End the process in reserve. Jobs are ended by who launched them."""
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
        # What went wrong is told to the next job; there may be none to ask for it.
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
