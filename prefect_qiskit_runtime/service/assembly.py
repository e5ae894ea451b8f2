"""Put the parts of a service together, and take them apart in the right order."""

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
from prefect_qiskit_runtime.service.retention import forget_old_journals, keep_tidy
from prefect_qiskit_runtime.service.store import Store
from prefect_qiskit_runtime.settings import Settings

logger = logging.getLogger(__name__)

_CLOSE_SECONDS = 15.0


@dataclass(frozen=True)
class ServiceFolders:
    """Where a service keeps what it has."""

    database: Path
    jobs: JobFolders

    def prepare(self) -> None:
        """Make the folders, and clear up after a service that was killed: its jobs ended too."""
        shutil.rmtree(self.jobs.scratch, ignore_errors=True)
        for folder in (self.jobs.scratch, self.jobs.logs, self.jobs.hardware):
            folder.mkdir(mode=0o700, exist_ok=True)


@dataclass(frozen=True)
class ServiceParts:
    """What is particular to one service.

    Attributes:
        embedded_token: The token that the service proves to know; None for a team service.
        request_end: Asks the process to end; None where that is not a client's to ask.
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
    """Open the parts of a service and close them again."""
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
    try:
        await store.write(primitives.install)
        await store.write(public_programs.install)
        await scheduler.start()
        yield ServiceContext(
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
    finally:
        await scheduler.close()
        await _close_executor(executor)
        await store.close()


@asynccontextmanager
async def housekeeping(context: ServiceContext, *more: Any) -> AsyncIterator[None]:
    """Warm the default image, keep the store tidy, and run further coroutines, meanwhile."""
    settings = context.settings
    tidying = keep_tidy(
        context.store,
        context.job_logs_dir,
        context.clock,
        max_days=settings.retention_days,
        max_bytes=settings.retention_bytes,
    )
    forgetting = forget_old_journals(
        context.journals_dir, context.clock, max_days=settings.retention_days
    )
    async with AsyncExitStack() as tasks:
        for work in (_warm(context), tidying, forgetting, *more):
            tasks.push_async_callback(_cancel, asyncio.create_task(work))
        yield


async def wind_down(context: ServiceContext, server: Server) -> None:
    """Take no more requests, end the jobs, let the streams tell of it, then stop listening."""
    context.activity.ending = True
    await context.scheduler.close()
    context.feed.close()
    await server.stop()


async def _close_executor(executor: Executor) -> None:
    # Bounded: a process that cannot be killed must not keep the home locked. Whatever is left
    # dies with this process.
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await executor.close()
    except TimeoutError:
        logger.warning("The processes of the jobs did not end within %.0f s", _CLOSE_SECONDS)


async def _warm(context: ServiceContext) -> None:
    """Have the first job's libraries, and the schema checker, loaded before they are asked for."""
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
