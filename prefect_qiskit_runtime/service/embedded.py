"""The embedded service: one process per home, on this machine only, that ends when idle.

It holds `service.lock` for all its life. It says where it is once it can answer, and takes that
back before it ends. An idle end is decided under `start.lock`, which a client holds while it
starts a service: so no client finds a service that is about to go, and none starts a second.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from prefect_qiskit_runtime._home import EmbeddedHome, boot_id, host_name, package_version
from prefect_qiskit_runtime.errors import EmbeddedServiceError
from prefect_qiskit_runtime.models import Discovery
from prefect_qiskit_runtime.service._fork_executor import ForkExecutor
from prefect_qiskit_runtime.service.app import create_app
from prefect_qiskit_runtime.service.auth import Authenticator
from prefect_qiskit_runtime.service.context import ServiceContext
from prefect_qiskit_runtime.service.devices import Devices
from prefect_qiskit_runtime.service.executor import Executor, LaunchError
from prefect_qiskit_runtime.service.feed import Feed
from prefect_qiskit_runtime.service.retention import keep_tidy
from prefect_qiskit_runtime.service.run import JobFolders
from prefect_qiskit_runtime.service.scheduler import Scheduler
from prefect_qiskit_runtime.service.store import Store
from prefect_qiskit_runtime.service.store.jobs import count_open_sessions, count_pending
from prefect_qiskit_runtime.service.store.records import Owner
from prefect_qiskit_runtime.settings import Settings

logger = logging.getLogger(__name__)

_USER = "local"
_LOCK_SECONDS = 30.0
_LOCK_POLL_SECONDS = 0.05
_LONGEST_IDLE_POLL_SECONDS = 10.0
_LAST_ANSWERS_SECONDS = 3
_CLOSE_SECONDS = 15.0
_BACKLOG = 512


@dataclass(frozen=True)
class EmbeddedOptions:
    """How to run an embedded service.

    Attributes:
        root: Its folder: the home of one protocol version.
        image: The image to have ready for the first job, and of jobs that name none.
        idle_seconds: Time without job, session, stream or request after which it ends.
    """

    root: Path
    image: str
    idle_seconds: float


def run(options: EmbeddedOptions, settings: Settings) -> None:
    """Run the embedded service until it is idle, asked to end, or gets a signal.

    Raises:
        EmbeddedServiceError: Another one holds the home, or the home cannot be used.
    """
    home = EmbeddedHome(options.root)
    home.ensure()
    with ExitStack() as stack:
        _hold_home(home, stack)
        # What a killed service left behind. Its jobs ended with it.
        home.remove_discovery()
        shutil.rmtree(home.scratch_dir, ignore_errors=True)
        for folder in (home.scratch_dir, home.job_logs_dir):
            folder.mkdir(mode=0o700, exist_ok=True)
        asyncio.run(_serve(home, options, settings, stack))


def _hold_home(home: EmbeddedHome, stack: ExitStack) -> None:
    """Take `service.lock` until the process ends; wait for a service that is just ending."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        attempt = ExitStack()
        if attempt.enter_context(home.try_lock(home.service_lock_path)):
            stack.push(attempt)
            return
        attempt.close()
        known = home.read_discovery()
        if time.monotonic() >= deadline:
            who = f"process {known.pid} on {known.host}" if known else "a process that is starting"
            raise EmbeddedServiceError(f"The home {home.root} has a service already: {who}.")
        time.sleep(_LOCK_POLL_SECONDS)


async def _serve(
    home: EmbeddedHome, options: EmbeddedOptions, settings: Settings, stack: ExitStack
) -> None:
    ending = asyncio.Event()
    listener = _listen()
    port = listener.getsockname()[1]
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, ending.set)
    async with _context(home, options, settings, ending) as context, AsyncExitStack() as tasks:
        hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        server = _Server(create_app(context, hosts=hosts), listener)
        tasks.callback(home.remove_discovery)
        serving = await server.start()
        home.write_discovery(_discovery(context, port))
        logger.info("Ready on port %d, process %d", port, os.getpid())
        for work in (
            _end_when_idle(home, context, options.idle_seconds, ending, stack),
            _warm(context, options.image),
            keep_tidy(
                context.store,
                home.job_logs_dir,
                max_days=settings.retention_days,
                max_bytes=settings.retention_bytes,
            ),
        ):
            tasks.push_async_callback(_cancel, asyncio.create_task(work))
        await asyncio.wait(
            (serving, asyncio.create_task(ending.wait())), return_when=asyncio.FIRST_COMPLETED
        )
        logger.info("Ending")
        await _wind_down(home, context, server)


def _listen() -> socket.socket:
    # With the protocol named, because asyncio switches Nagle's algorithm off only on sockets
    # that say they are TCP; with it on, a small answer takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(_BACKLOG)
    return listener


@asynccontextmanager
async def _context(
    home: EmbeddedHome, options: EmbeddedOptions, settings: Settings, ending: asyncio.Event
) -> AsyncIterator[ServiceContext]:
    """Open the parts of the service and close them again, in the right order."""
    store = await asyncio.to_thread(Store.open, home.database_path)
    token = home.read_or_create_token()
    executor = ForkExecutor(settings)
    feed = Feed()
    scheduler = Scheduler(
        store=store,
        executor=executor,
        feed=feed,
        folders=JobFolders(scratch=home.scratch_dir, logs=home.job_logs_dir),
        max_concurrent_jobs=settings.max_concurrent_jobs,
    )
    try:
        await scheduler.start()
        yield ServiceContext(
            settings=settings,
            store=store,
            scheduler=scheduler,
            executor=executor,
            feed=feed,
            devices=Devices(),
            authenticator=Authenticator({token: Owner(_USER, "")}),
            job_logs_dir=home.job_logs_dir,
            default_image=options.image,
            embedded_token=token,
            request_end=ending.set,
        )
    finally:
        await scheduler.close()
        await _close_executor(executor)
        await store.close()


async def _close_executor(executor: Executor) -> None:
    # Bounded: a process that cannot be killed must not keep the home locked. Whatever is left
    # dies with this process.
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await executor.close()
    except TimeoutError:
        logger.warning("The processes of the jobs did not end within %.0f s", _CLOSE_SECONDS)


async def _wind_down(home: EmbeddedHome, context: ServiceContext, server: _Server) -> None:
    """Take no more requests, end the jobs, let the streams tell of it, then stop listening."""
    context.activity.ending = True
    home.remove_discovery()
    await context.scheduler.close()
    context.feed.close()
    await server.stop()


async def _end_when_idle(
    home: EmbeddedHome,
    context: ServiceContext,
    idle_seconds: float,
    ending: asyncio.Event,
    stack: ExitStack,
) -> None:
    """Ask for the end once nothing has needed the service for a time."""
    while not ending.is_set():
        left = idle_seconds - context.activity.idle_seconds
        await asyncio.sleep(min(max(left, _LOCK_POLL_SECONDS), _LONGEST_IDLE_POLL_SECONDS))
        if context.activity.idle_seconds < idle_seconds or await _in_use(context):
            continue
        attempt = ExitStack()
        if not attempt.enter_context(home.try_lock(home.start_lock_path)):
            attempt.close()
            continue
        # Looked at again under the lock, and decided without a pause: a request is either
        # seen here or refused from here on.
        if await _in_use(context) or context.activity.idle_seconds < idle_seconds:
            attempt.close()
            continue
        context.activity.ending = True
        stack.push(attempt)  # held to the end of the process
        logger.info("Idle for %.0f s", context.activity.idle_seconds)
        ending.set()


async def _in_use(context: ServiceContext) -> bool:
    """Say whether jobs, sessions or streams are open; a stream or job counts to its end."""
    if context.feed.open_streams or context.scheduler.running_count:
        context.activity.touch()
        return True
    pending = await context.store.read(count_pending)
    if pending or await context.store.read(count_open_sessions):
        context.activity.touch()
        return True
    return False


async def _warm(context: ServiceContext, image: str) -> None:
    """Have the first job's libraries, and the schema checker, loaded before they are asked for."""
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


def _discovery(context: ServiceContext, port: int) -> Discovery:
    return Discovery(
        url=f"http://127.0.0.1:{port}",
        pid=os.getpid(),
        host=host_name(),
        boot_id=boot_id(),
        package_version=package_version(),
        started_at=context.started_at,
    )


class _Server(uvicorn.Server):
    """uvicorn on a socket that listens already, without signal handlers of its own."""

    def __init__(self, app: Any, listener: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="websockets-sansio",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=_LAST_ANSWERS_SECONDS,
        )
        super().__init__(config)
        self._listener = listener
        self._up = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    def capture_signals(self) -> Any:
        """Leave signals to the service: jobs are to be ended before connections."""
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        await super().startup(sockets)
        self._up.set()

    async def start(self) -> asyncio.Task[None]:
        """Return the running server once it accepts connections."""
        self._serving = asyncio.create_task(self.serve(sockets=[self._listener]))
        up = asyncio.create_task(self._up.wait())
        await asyncio.wait((self._serving, up), return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        return self._serving

    async def stop(self) -> None:
        """Finish what is being answered, then close."""
        self.should_exit = True
        if self._serving is not None:
            await self._serving
