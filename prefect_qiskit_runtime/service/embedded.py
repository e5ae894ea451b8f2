"""The embedded service: one process per home, on this machine only, that stops when idle.

It holds `service.lock` for its whole lifetime. It publishes its address once it can answer, and
withdraws it before it ends. It decides to stop as idle under `start.lock`, which a client holds
while starting a service: so no client finds a service that is about to stop, or starts a second.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from prefect_qiskit_runtime.errors import EmbeddedServiceError
from prefect_qiskit_runtime.models import Discovery, package_version
from prefect_qiskit_runtime.models.embedded_home import EmbeddedHome, boot_id, host_name
from prefect_qiskit_runtime.service.access_tokens import Authenticator
from prefect_qiskit_runtime.service.assembly import (
    ServiceFolders,
    ServiceParts,
    housekeeping,
    open_service,
    wind_down,
)
from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.context import ServiceContext
from prefect_qiskit_runtime.service.execution.fork_executor import ForkExecutor
from prefect_qiskit_runtime.service.execution.images import AnyInterpreter
from prefect_qiskit_runtime.service.execution.run import JobFolders
from prefect_qiskit_runtime.service.http.app import create_app
from prefect_qiskit_runtime.service.http.connections import ConnectionLimits
from prefect_qiskit_runtime.service.http.server import Server, listen, until
from prefect_qiskit_runtime.service.own_process import hide_from_others, prepare_for_children
from prefect_qiskit_runtime.service.store.jobs import count_pending
from prefect_qiskit_runtime.service.store.records import Owner
from prefect_qiskit_runtime.service.store.sessions import count_open
from prefect_qiskit_runtime.settings import Settings

logger = logging.getLogger(__name__)

_USER = "local"
_LOCK_SECONDS = 30.0
_LOCK_POLL_SECONDS = 0.05
_LONGEST_IDLE_POLL_SECONDS = 10.0


@dataclass(frozen=True)
class EmbeddedOptions:
    """How to run an embedded service.

    Attributes:
        root: Its folder: the home of one protocol version.
        image: The image to preload for the first job; the default of jobs that name no image.
        idle_seconds: Time without a job, session, stream or request after which it stops.
    """

    root: Path
    image: str
    idle_seconds: float


def run(options: EmbeddedOptions, settings: Settings) -> None:
    """Run the embedded service until it is idle, a client stops it, or it gets a signal.

    Raises:
        EmbeddedServiceError: Another service holds the home, or the home cannot be used.
    """
    prepare_for_children()
    hide_from_others()
    home = EmbeddedHome(options.root)
    home.ensure()
    with ExitStack() as stack:
        _hold_home(home, stack)
        home.remove_discovery()  # left by a service that was killed
        _folders(home).prepare()
        asyncio.run(_serve(home, options, settings, stack))


def _hold_home(home: EmbeddedHome, stack: ExitStack) -> None:
    """Hold `service.lock` until the process ends, waiting for a previous service to end."""
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
            raise EmbeddedServiceError(f"The home {home.root} already has a service: {who}.")
        time.sleep(_LOCK_POLL_SECONDS)


async def _serve(
    home: EmbeddedHome, options: EmbeddedOptions, settings: Settings, stack: ExitStack
) -> None:
    ending = asyncio.Event()
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, ending.set)
    async with open_service(_parts(home, options, settings, ending), settings) as context:
        hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        limits = ConnectionLimits.from_settings(settings)
        server = Server(create_app(context, hosts=hosts), listener, limits=limits)
        with ExitStack() as found:
            found.callback(home.remove_discovery)
            serving = await server.start()
            home.write_discovery(_discovery(context, port))
            logger.info("Ready on port %d, process %d", port, os.getpid())
            idling = _end_when_idle(home, context, options.idle_seconds, ending, stack)
            async with housekeeping(context, idling):
                await until(serving, ending)
                logger.info("Ending")
                await _wind_down(home, context, server)


def _parts(
    home: EmbeddedHome, options: EmbeddedOptions, settings: Settings, ending: asyncio.Event
) -> ServiceParts:
    token, clock = home.read_or_create_token(), Clock()
    return ServiceParts(
        folders=_folders(home),
        authenticator=Authenticator({token: Owner(_USER, "")}, clock),
        images=AnyInterpreter(options.image),
        executor=ForkExecutor(settings),
        clock=clock,
        embedded_token=token,
        request_end=ending.set,
    )


def _folders(home: EmbeddedHome) -> ServiceFolders:
    jobs = JobFolders(scratch=home.scratch_dir, logs=home.job_logs_dir, hardware=home.hardware_dir)
    return ServiceFolders(database=home.database_path, jobs=jobs)


async def _wind_down(home: EmbeddedHome, context: ServiceContext, server: Server) -> None:
    """Withdraw the service's address, then end the service."""
    context.activity.ending = True
    home.remove_discovery()
    await wind_down(context, server)


async def _end_when_idle(
    home: EmbeddedHome,
    context: ServiceContext,
    idle_seconds: float,
    ending: asyncio.Event,
    stack: ExitStack,
) -> None:
    """Request the end once the service has been idle for the given time."""
    while not ending.is_set():
        left = idle_seconds - context.activity.idle_seconds
        await context.clock.sleep(min(max(left, _LOCK_POLL_SECONDS), _LONGEST_IDLE_POLL_SECONDS))
        if context.activity.idle_seconds < idle_seconds or await _in_use(context):
            continue
        attempt = ExitStack()
        if not attempt.enter_context(home.try_lock(home.start_lock_path)):
            attempt.close()
            continue
        # Checked again under the lock, and decided without an await in between: a request is
        # either seen here or refused from here on.
        if await _in_use(context) or context.activity.idle_seconds < idle_seconds:
            attempt.close()
            continue
        context.activity.ending = True
        stack.push(attempt)  # held until the process ends
        logger.info("Idle for %.0f s", context.activity.idle_seconds)
        ending.set()


async def _in_use(context: ServiceContext) -> bool:
    """Return whether a job, session or stream is open; if so, record that the service is used."""
    if context.feed.open_streams or context.scheduler.running_count:
        context.activity.touch()
        return True
    pending = await context.store.read(count_pending)
    if pending or await context.store.read(count_open):
        context.activity.touch()
        return True
    return False


def _discovery(context: ServiceContext, port: int) -> Discovery:
    return Discovery(
        url=f"http://127.0.0.1:{port}",
        pid=os.getpid(),
        host=host_name(),
        boot_id=boot_id(),
        package_version=package_version(),
        started_at=context.started_at,
    )
