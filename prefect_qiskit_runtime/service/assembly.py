"""Assemble the parts of a service, and close them in the right order."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect_qiskit_runtime.service import primitives, public_programs
from prefect_qiskit_runtime.service.access_tokens import Authenticator
from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.context import ServiceContext
from prefect_qiskit_runtime.service.devices import Devices
from prefect_qiskit_runtime.service.execution.executor import Executor, LaunchError
from prefect_qiskit_runtime.service.execution.images import Images
from prefect_qiskit_runtime.service.execution.run import JobFolders
from prefect_qiskit_runtime.service.execution.scheduler import Interference, Scheduler
from prefect_qiskit_runtime.service.feed import Feed
from prefect_qiskit_runtime.service.http.server import Server
from prefect_qiskit_runtime.service.retention import (
    RetentionFolders,
    RetentionLimits,
    keep_tidy,
)
from prefect_qiskit_runtime.service.store import Store
from prefect_qiskit_runtime.settings import Settings

logger = logging.getLogger(__name__)

_CLOSE_SECONDS = 15.0


@dataclass(frozen=True)
class ServiceFolders:
    """The folders of a service."""

    database: Path
    jobs: JobFolders

    def prepare(self) -> None:
        """Create the folders, and clean up after a service that was killed with its jobs."""
        shutil.rmtree(self.jobs.scratch, ignore_errors=True)
        for folder in (self.jobs.scratch, self.jobs.logs, self.jobs.hardware):
            folder.mkdir(mode=0o700, exist_ok=True)


@dataclass(frozen=True)
class ServiceParts:
    """The parts that differ between services.

    Attributes:
        embedded_token: The token that the service proves it knows; None for a team service.
        request_end: Requests the end of the process; None if clients may not request it.
    """

    folders: ServiceFolders
    authenticator: Authenticator
    images: Images
    executor: Executor
    clock: Clock
    interference: Interference = field(default_factory=Interference)
    embedded_token: str | None = None
    request_end: Callable[[], None] | None = None


@asynccontextmanager
async def open_service(parts: ServiceParts, settings: Settings) -> AsyncIterator[ServiceContext]:
    """Open the parts of a service, and close them on exit."""
    store = await asyncio.to_thread(Store.open, parts.folders.database)
    executor = parts.executor
    feed = Feed()
    scheduler = Scheduler(
        store=store,
        executor=executor,
        feed=feed,
        folders=parts.folders.jobs,
        max_concurrent_jobs=settings.max_concurrent_jobs,
        clock=parts.clock,
        interference=parts.interference,
        credentials_wait_seconds=settings.credentials_wait_seconds,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        stack.push_async_callback(_close_executor, executor)
        stack.push_async_callback(scheduler.close)
        await store.write(primitives.install)
        await store.write(public_programs.install)
        await scheduler.start()
        context = ServiceContext(
            settings=settings,
            store=store,
            scheduler=scheduler,
            executor=executor,
            feed=feed,
            devices=Devices(),
            authenticator=parts.authenticator,
            images=parts.images,
            clock=parts.clock,
            interference=parts.interference,
            job_logs_dir=parts.folders.jobs.logs,
            journals_dir=parts.folders.jobs.hardware,
            embedded_token=parts.embedded_token,
            request_end=parts.request_end,
        )
        stack.push_async_callback(context.checker.close)
        # Now, so that it starts while this process prepares its routes.
        stack.push_async_callback(_cancel, asyncio.create_task(context.checker.warm()))
        yield context


@asynccontextmanager
async def housekeeping(context: ServiceContext, *more: Any) -> AsyncIterator[None]:
    """Warm the default image, tidy the store and run further coroutines in the background."""
    settings = context.settings
    tidying = keep_tidy(
        context.store,
        RetentionFolders(logs=context.job_logs_dir, journals=context.journals_dir),
        context.clock,
        RetentionLimits(
            days=settings.retention_days,
            num_bytes=settings.retention_bytes,
            bytes_per_user=settings.retention_bytes_per_user,
        ),
    )
    async with AsyncExitStack() as tasks:
        for work in (_warm(context), tidying, *more):
            tasks.push_async_callback(_cancel, asyncio.create_task(work))
        yield


async def wind_down(context: ServiceContext, server: Server) -> None:
    """Refuse new requests, end the jobs, let the streams report it, then stop listening."""
    context.activity.ending = True
    await context.scheduler.close()
    context.feed.close()
    await server.stop()


async def _close_executor(executor: Executor) -> None:
    # Bounded: a process that cannot be killed must not keep the home locked. Anything left over
    # ends with this process.
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await executor.close()
    except TimeoutError:
        logger.warning("The jobs' processes did not end within %.0f s", _CLOSE_SECONDS)


async def _warm(context: ServiceContext) -> None:
    """Load the first job's libraries and the schema checker before they are needed."""
    image = context.images.choose(None)
    try:
        await context.executor.warm(image)
    except LaunchError as exc:
        logger.warning("Image %s cannot run jobs: %s", image, exc)
    await asyncio.to_thread(_import_schema_checker)


def _import_schema_checker() -> None:
    import jsonschema.validators  # noqa: F401


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
