"""The team service: one process in the foreground, for several users with their own tokens."""

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
from ipaddress import ip_address
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Literal

from prefect_qiskit_runtime.errors import ConfigurationError
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
from prefect_qiskit_runtime.service.http.server import Server, TlsFiles, listen, until
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
        host: The name or address to listen at.
        port: The port; 0 takes a free one.
        tls: `SELF_SIGNED`, files, or None for plain HTTP.
        images: Interpreters by the names under which jobs may ask for them.
        fault_mode: Whether tests may make it fail; on loopback only.
        imitate: Whose service it behaves like, in the fault mode; None for our own.
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
        options: How.
        settings: The limits of jobs and how long they are kept.
        ready: Called with the service's URL once it accepts connections.

    Raises:
        ConfigurationError: The home, the address or the certificate cannot be used, or the fault
            mode is not on loopback.
    """
    _check_fault_mode(options)
    # The folder may be one that was there before, with rights of its own.
    os.umask(0o077)
    home = EmbeddedHome(options.home.expanduser().resolve())
    _make(home.root)
    with ExitStack() as stack:
        if not stack.enter_context(
            home.try_lock(home.service_lock_path, wait_seconds=_LOCK_SECONDS)
        ):
            raise ConfigurationError(f"The home {home.root} has a service already.")
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
    if tls is None and not _is_loopback(options.host):
        logger.warning("Tokens and results go over the network unencrypted: see --tls.")
    faults = _fault_mode(options)
    async with open_service(_parts(options, settings, folders, faults), settings) as context:
        if faults is None:
            server = Server(create_app(context), listener, tls=tls)
        else:
            logger.warning("Fault mode: whoever has a token can make this service fail.")
            server = Server(faults.app(context), listener, tls=tls, http=faults.protocol)
        serving = await server.start()
        async with housekeeping(context):
            logger.info("Ready at %s, process %d, home %s", url, os.getpid(), options.home)
            ready(url)
            await until(serving, ending)
            logger.info("Ending")
            await wind_down(context, server)


def _check_fault_mode(options: TeamOptions) -> None:
    if options.imitate is not None and not options.fault_mode:
        raise ConfigurationError(f"--as {options.imitate} is part of the fault mode: --fault-mode.")
    if options.fault_mode and not _is_loopback(options.host):
        raise ConfigurationError(
            f"The fault mode is for tests on one machine, not for {options.host}: listen at"
            " 127.0.0.1, or leave --fault-mode out."
        )


def _fault_mode(options: TeamOptions) -> FaultMode | None:
    if not options.fault_mode:
        return None
    # Here, so that nothing of it is loaded into any other service.
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
            " where its database and locks are not safe. Give it a folder on a local disk."
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
        raise ConfigurationError(f"Cannot listen at {where}: {exc.strerror or exc}.") from exc


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
    except OSError as exc:  # ssl.SSLError is one
        raise ConfigurationError(
            f"The certificate {files.certificate} with the key {files.key} cannot be used:"
            f" {exc.strerror or exc}."
        ) from exc
    return files


def _url(host: str, port: int, tls: TlsFiles | None) -> str:
    name = "localhost" if host in _WILDCARDS else f"[{host}]" if ":" in host else host
    return f"{'http' if tls is None else 'https'}://{name}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
