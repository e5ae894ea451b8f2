"""The team service: one foreground process for several users, each with a token."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import ssl
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Literal

from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.models import is_loopback
from prefect_qiskit_runtime.models.embedded_home import EmbeddedHome, network_file_system
from prefect_qiskit_runtime.service.access_tokens import Authenticator
from prefect_qiskit_runtime.service.assembly import (
    ServiceFolders,
    ServiceParts,
    housekeeping,
    open_service,
    wind_down,
)
from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.execution.fork_executor import ForkExecutor
from prefect_qiskit_runtime.service.execution.images import (
    DEFAULT_IMAGE,
    NamedImages,
    RegisteredImages,
)
from prefect_qiskit_runtime.service.execution.run import JobFolders
from prefect_qiskit_runtime.service.execution.scheduler import Interference
from prefect_qiskit_runtime.service.http.app import create_app
from prefect_qiskit_runtime.service.http.connections import ConnectionLimits
from prefect_qiskit_runtime.service.http.server import Server, TlsFiles, listen, until
from prefect_qiskit_runtime.service.own_process import hide_from_others, prepare_for_children
from prefect_qiskit_runtime.service.store.records import Owner
from prefect_qiskit_runtime.settings import Settings

if TYPE_CHECKING:
    from prefect_qiskit_runtime.service.faults import FaultMode

logger = logging.getLogger(__name__)

SELF_SIGNED = "self-signed"

_LOCK_SECONDS = 5.0
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


@dataclass(frozen=True)
class TeamOptions:
    """How to run a team service.

    Attributes:
        home: Its folder, on a local disk.
        tokens: The users' tokens by their names; not shown by `repr`.
        host: The host name or address to listen on.
        port: The port; 0 takes a free one.
        tls: `SELF_SIGNED`, files, or None for plain HTTP.
        images: Interpreters by the image names that jobs use.
        fault_mode: Whether tests may make the service fail; on loopback only.
        imitate: The service to imitate in fault mode; None for our own.
    """

    home: Path
    tokens: Mapping[str, str] = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 0
    tls: str | TlsFiles | None = None
    images: Mapping[str, Path] = field(default_factory=dict)
    fault_mode: bool = False
    imitate: Literal["ibm"] | None = None


def run(options: TeamOptions, settings: Settings, *, ready: Callable[[str], None]) -> None:
    """Run the team service until it gets SIGTERM or SIGINT.

    Args:
        options: The options.
        settings: The limits and the retention of jobs.
        ready: Called with the service's URL once it accepts connections.

    Raises:
        ConfigurationError: The home, the address or the certificate cannot be used, or fault mode
            is requested for an address other than loopback.
    """
    _check_fault_mode(options)
    prepare_for_children()
    hide_from_others()
    # An existing folder may have wider permissions than the files need.
    os.umask(0o077)
    home = EmbeddedHome(options.home.expanduser().resolve())
    _make(home.root)
    with ExitStack() as stack:
        if not stack.enter_context(
            home.try_lock(home.service_lock_path, wait_seconds=_LOCK_SECONDS)
        ):
            raise ConfigurationError(f"The home {home.root} already has a service.")
        jobs = JobFolders(
            scratch=home.scratch_dir, logs=home.job_logs_dir, hardware=home.hardware_dir
        )
        folders = ServiceFolders(database=home.database_path, jobs=jobs)
        folders.prepare()
        tls = _tls_files(options, home.root)
        listener = stack.enter_context(_listen(options))
        asyncio.run(_serve(options, settings, folders, listener=listener, tls=tls, ready=ready))


async def _serve(
    options: TeamOptions,
    settings: Settings,
    folders: ServiceFolders,
    *,
    listener: socket,
    tls: TlsFiles | None,
    ready: Callable[[str], None],
) -> None:
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, ending.set)
    url = _url(options.host, listener.getsockname()[1], tls)
    if tls is None and not is_loopback(options.host):
        logger.warning("Tokens and results cross the network unencrypted: see --tls.")
    faults = _fault_mode(options)
    async with open_service(_parts(options, settings, folders, faults), settings) as context:
        limits = ConnectionLimits.from_settings(settings)
        if faults is None:
            server = Server(create_app(context), listener, limits=limits, tls=tls)
        else:
            logger.warning("Fault mode: every user with a token can make this service fail.")
            server = Server(
                faults.app(context), listener, limits=limits, tls=tls, http=faults.protocol
            )
        serving = await server.start()
        await context.checker.warm()
        async with housekeeping(context):
            logger.info("Ready at %s, process %d, home %s", url, os.getpid(), options.home)
            ready(url)
            await until(serving, ending)
            logger.info("Ending")
            await wind_down(context, server)


def _check_fault_mode(options: TeamOptions) -> None:
    if options.imitate is not None and not options.fault_mode:
        raise ConfigurationError(f"--as {options.imitate} requires --fault-mode.")
    if options.fault_mode and not is_loopback(options.host):
        raise ConfigurationError(
            f"Fault mode is for tests on one machine, not for {options.host}: listen on"
            " 127.0.0.1, or omit --fault-mode."
        )


def _fault_mode(options: TeamOptions) -> FaultMode | None:
    if not options.fault_mode:
        return None
    # Imported here, so that no other service loads it.
    from prefect_qiskit_runtime.service.faults import FaultMode

    return FaultMode(imitate=options.imitate)


def _parts(
    options: TeamOptions,
    settings: Settings,
    folders: ServiceFolders,
    faults: FaultMode | None,
) -> ServiceParts:
    clock = Clock() if faults is None else faults.clock
    images = RegisteredImages({DEFAULT_IMAGE: Path(sys.executable), **options.images})
    return ServiceParts(
        folders=folders,
        authenticator=Authenticator(
            {token: Owner(user, "") for user, token in options.tokens.items()}, clock
        ),
        images=images,
        executor=NamedImages(ForkExecutor(settings), images),
        clock=clock,
        interference=Interference() if faults is None else faults.jobs,
    )


def _make(root: Path) -> None:
    file_system = network_file_system(root)
    if file_system is not None:
        raise ConfigurationError(
            f"Cannot keep a service in {root}: it is on a network file system ({file_system}),"
            " where its database and locks are not safe. Use a folder on a local disk."
        )
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigurationError(f"Cannot use the folder {root}: {exc.strerror}.") from exc


def _listen(options: TeamOptions) -> socket:
    try:
        return listen(options.host, options.port)
    except OSError as exc:
        where = f"{options.host}, port {options.port}"
        raise ConfigurationError(f"Cannot listen on {where}: {exc.strerror or exc}.") from exc


def _tls_files(options: TeamOptions, root: Path) -> TlsFiles | None:
    if options.tls is None:
        return None
    if isinstance(options.tls, TlsFiles):
        files = options.tls
    else:
        from prefect_qiskit_runtime.service.http.certificates import self_signed

        files = self_signed(root / "tls", options.host)
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            files.certificate, files.key
        )
    except OSError as exc:  # includes ssl.SSLError
        raise ConfigurationError(
            f"The certificate {files.certificate} with the key {files.key} cannot be used:"
            f" {exc.strerror or exc}."
        ) from exc
    return files


def _url(host: str, port: int, tls: TlsFiles | None) -> str:
    name = "localhost" if host in _WILDCARDS else f"[{host}]" if ":" in host else host
    return f"{'http' if tls is None else 'https'}://{name}:{port}"
