"""Find or start the embedded service of this machine, and connect to it.

The discovery file in the home contains its address. Before the token is sent, the listener must
prove that it knows the token, because another process may have taken the port.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import re
import secrets
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import httpx
from pydantic import ValidationError

from prefect_qiskit_runtime.client._api import RuntimeApi
from prefect_qiskit_runtime.client._transport import no_tls, settings_of_environment
from prefect_qiskit_runtime.errors import ConflictError, EmbeddedServiceError
from prefect_qiskit_runtime.models import (
    PROTOCOL_VERSION,
    Discovery,
    ServiceIdentity,
    ServiceStatus,
    package_version,
)
from prefect_qiskit_runtime.models.embedded_home import (
    EmbeddedHome,
    boot_id,
    host_name,
    identity_proof,
    process_exists,
    version_key,
)
from prefect_qiskit_runtime.settings import Settings

_LARGEST_LOG_BYTES = 4 * 1024**2
_TAIL_LINES = 20

# The variables that the service inherits. It outlives the process that started it and serves
# other flows too, so it must not get secrets or settings that belong to the first flow.
_INHERITED = re.compile(
    "PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_.*|TZ|TMPDIR|(DY)?LD_.*LIBRARY_PATH"
    "|VIRTUAL_ENV|CONDA_PREFIX|PYTHON(HOME|WARNINGS|UTF8|TRACEMALLOC)|PREFECT_HOME"
)


class ServiceProcess:
    """A service process during its start, until it runs independently."""

    def __init__(self, process: subprocess.Popen[bytes], log_path: Path, log_start: int) -> None:
        self._process = process
        self._log_path = log_path
        self._log_start = log_start

    @classmethod
    def start(cls, home: EmbeddedHome, settings: Settings, image: str) -> Self:
        """Start the service of a home, detached from this process and its terminal.

        Raises:
            EmbeddedServiceError: The process could not be started at all.
        """
        log_start = _make_room(home.log_path)
        command = [
            *(sys.executable, "-P", "-m", "prefect_qiskit_runtime.service"),
            *("--embedded", "--home", str(home.root), "--warm-image", image),
        ]
        try:
            with _open_private(home.log_path) as log:
                process = subprocess.Popen(  # no `with`: it outlives this process
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=home.root,
                    env=service_environment(settings),
                    start_new_session=True,
                )
        except OSError as exc:
            raise EmbeddedServiceError(
                f"Cannot start the embedded service with {sys.executable}: {exc.strerror}."
            ) from exc
        return cls(process, home.log_path, log_start)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """The exit code (negative: the signal that ended it); None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """Kill it immediately."""
        self._process.kill()
        self._process.wait()

    def let_go(self) -> None:
        """Leave it running; a thread reaps it if it ends before this process."""
        threading.Thread(
            target=self._process.wait, name="qiskit-runtime-service-reaper", daemon=True
        ).start()

    def log_tail(self, token: str) -> str:
        """Return the last lines that it logged, with the token masked."""
        with self._log_path.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode("utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join(lines).replace(token, "***") or "(nothing)"


def service_environment(settings: Settings) -> dict[str, str]:
    """Return the environment of the service process: allow-listed, with these settings."""
    environment = {name: value for name, value in os.environ.items() if _INHERITED.fullmatch(name)}
    environment["PYTHONPATH"] = os.pathsep.join(_import_path())
    environment["PYTHONUNBUFFERED"] = "1"
    for name, value in settings.model_dump(mode="json", exclude_none=True).items():
        environment[f"PREFECT_QISKIT_RUNTIME_{name.upper()}"] = str(value)
    return environment


def _import_path() -> list[str]:
    """Return the paths that the service needs in addition to those of its interpreter.

    The caller's whole `sys.path` would be too much: the folder of a flow may contain modules that
    shadow the standard library.
    """
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [str(Path(entry).absolute()) for entry in given if entry]
    package_parent = str(Path(__file__).resolve().parents[2])
    if package_parent != sysconfig.get_path("purelib"):  # a source tree
        paths.append(package_parent)
    return paths


def _open_private(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _make_room(log_path: Path) -> int:
    """Rotate a log that has grown too large; return the offset of the next line."""
    try:
        size = log_path.stat().st_size
    except FileNotFoundError:
        return 0
    if size < _LARGEST_LOG_BYTES:
        return size
    log_path.replace(log_path.with_suffix(".log.1"))
    return 0


_POLL_SECONDS = 0.05
_PROOF_SECONDS = 5.0

# After a longer silence the service may have ended, and another process may have its port.
_TRUST_SECONDS = 10.0


@dataclass(frozen=True)
class EmbeddedStatus:
    """A running embedded service.

    Attributes:
        discovery: Its process and its address.
        status: Its reported status.
        token_file: The file with its token.
    """

    discovery: Discovery
    status: ServiceStatus
    token_file: Path


class EmbeddedApi(RuntimeApi):
    """The embedded service of this machine, started when needed and restarted if it has ended.

    Jobs run in the caller's Python environment unless another image is named.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        settings = settings or settings_of_environment()
        self._home = EmbeddedHome(settings.embedded_dir(PROTOCOL_VERSION))
        self._trusted_until = 0.0
        super().__init__("http://127.0.0.1", "", settings=settings)

    async def __aenter__(self) -> Self:
        await self._locate()
        return await super().__aenter__()

    def active_account(self) -> None:
        """Return None: the embedded service has no accounts."""

    def _default_image(self) -> str:
        return own_image()

    def _how_to_upgrade(self) -> str:
        return (
            "It is of an older release and still has jobs: once they have ended, the next call"
            " starts the service of this release."
        )

    async def _before_send(self) -> None:
        if time.monotonic() >= self._trusted_until:
            await self._locate()
        self._trusted_until = time.monotonic() + _TRUST_SECONDS

    def _lost(self) -> None:
        self._trusted_until = 0.0

    async def _locate(self) -> None:
        discovery = await find_or_start(self._home, self._settings)
        self._url = discovery.url.rstrip("/")
        self._token = self._home.read_token() or ""
        self._trusted_until = time.monotonic() + _TRUST_SECONDS


def embedded_api(settings: Settings | None = None) -> EmbeddedApi:
    """Return the embedded service of this machine, to be used with `async with`.

    Entering it finds the service, or starts it; leaving it closes the connection only.

    Raises:
        EmbeddedServiceError: On entering: it could not be started or trusted.
    """
    return EmbeddedApi(settings)


def own_image() -> str:
    """Return the image of this process's Python environment."""
    # Not resolved: the `python` of a virtual environment is a symbolic link, and its location
    # identifies the environment.
    return f"python:{Path(sys.executable).absolute()}"


async def start_embedded(settings: Settings | None = None) -> EmbeddedStatus:
    """Find or start the embedded service and return its status."""
    settings = settings or settings_of_environment()
    async with embedded_api(settings) as api:
        return await _status_of(api, EmbeddedHome(settings.embedded_dir(PROTOCOL_VERSION)))


async def embedded_status(settings: Settings | None = None) -> EmbeddedStatus | None:
    """Return the status of the embedded service; None if it is not running. Never starts it."""
    settings = settings or settings_of_environment()
    home = EmbeddedHome(settings.embedded_dir(PROTOCOL_VERSION))
    discovery = await _find_running(home, settings)
    if discovery is None:
        return None
    async with _api_of(home, discovery, settings) as api:
        return await _status_of(api, home)


async def stop_embedded(settings: Settings | None = None, *, only_if_idle: bool = True) -> bool:
    """Stop the embedded service and wait for its end; return False if it is not running.

    Args:
        settings: The settings with the home of the service.
        only_if_idle: Raise if jobs run or are queued.

    Raises:
        ConflictError: Jobs run or are queued, and `only_if_idle` is set.
        EmbeddedServiceError: The service does not answer, or did not end in time.
    """
    settings = settings or settings_of_environment()
    home = EmbeddedHome(settings.embedded_dir(PROTOCOL_VERSION))
    discovery = await _find_running(home, settings)
    if discovery is None:
        return False
    await _shut_down(home, discovery, settings, only_if_idle=only_if_idle)
    return True


async def find_or_start(home: EmbeddedHome, settings: Settings) -> Discovery:
    """Return the discovery of a running service that has proved its identity.

    Raises:
        EmbeddedServiceError: The service is not running and could not be started.
    """
    _refuse_windows()
    discovery = await _find(home)
    if discovery is not None and not _is_older(discovery):
        return discovery
    await asyncio.to_thread(home.ensure)
    deadline = time.monotonic() + settings.start_timeout_seconds
    async with _start_lock(home, deadline):
        discovery = await _find_when_up(home, deadline)
        if discovery is not None and _is_older(discovery):
            discovery = await _replace_if_idle(home, discovery, settings)
        return discovery or await _start(home, settings, deadline)


async def _find_running(home: EmbeddedHome, settings: Settings) -> Discovery | None:
    """Return the service if it is running or starting; else None."""
    _refuse_windows()
    return await _find_when_up(home, time.monotonic() + settings.start_timeout_seconds)


async def _find(home: EmbeddedHome) -> Discovery | None:
    """Return the discovery of this home's service if it runs and proves its identity."""
    discovery, token = home.read_discovery(), home.read_token()
    if discovery is None or token is None:
        return None
    if (discovery.host, discovery.boot_id) != (host_name(), boot_id()):
        return None
    if not process_exists(discovery.pid):
        return None
    return discovery if await _proves_itself(discovery.url, token) else None


async def _find_when_up(home: EmbeddedHome, deadline: float) -> Discovery | None:
    """Return the service once it answers; None if no process holds this home.

    A service holds its lock from before it listens until it has ended; meanwhile, starting a
    second one would fail.
    """
    while True:
        discovery = await _find(home)
        if discovery is not None or not home.service_lives():
            return discovery
        if time.monotonic() >= deadline:
            known = home.read_discovery()
            where = f" (process {known.pid} on {known.host})" if known else ""
            raise EmbeddedServiceError(
                f"The embedded service of {home.root} runs{where} but does not answer here."
                f" See {home.log_path}; end its process if it hangs. Containers that share a"
                " folder need separate values of PREFECT_QISKIT_RUNTIME_HOME."
            )
        await asyncio.sleep(_POLL_SECONDS)


async def _proves_itself(url: str, token: str) -> bool:
    """Ask the listener for proof that it knows the token, without revealing the token."""
    nonce = secrets.token_hex(32)
    try:
        async with httpx.AsyncClient(
            trust_env=False, verify=no_tls(), timeout=_PROOF_SECONDS
        ) as http:
            response = await http.get(
                f"{url.rstrip('/')}/.well-known/qiskit-runtime", params={"nonce": nonce}
            )
        identity = ServiceIdentity.model_validate_json(response.content)
    except (httpx.HTTPError, httpx.InvalidURL, ValidationError):
        return False  # nothing listens, or another program does
    return hmac.compare_digest(identity.proof or "", identity_proof(token, nonce))


@asynccontextmanager
async def _start_lock(home: EmbeddedHome, deadline: float) -> AsyncIterator[None]:
    """Hold the lock that lets only one client at a time start the service."""
    while True:
        with home.try_lock(home.start_lock_path) as locked:
            if locked:
                yield
                return
        if time.monotonic() >= deadline:
            raise EmbeddedServiceError(
                f"Another process has been starting the embedded service of {home.root} for too"
                f" long. See {home.log_path}."
            )
        await asyncio.sleep(_POLL_SECONDS)


async def _start(home: EmbeddedHome, settings: Settings, deadline: float) -> Discovery:
    """Start the service process and wait until it has proved its identity."""
    token = home.read_or_create_token()
    process = await asyncio.to_thread(ServiceProcess.start, home, settings, own_image())
    try:
        while True:
            discovery = await _find(home)
            if discovery is not None and discovery.pid == process.pid:
                return discovery
            if process.exit_code() is not None:
                what = f"ended with exit code {process.exit_code()} while starting."
                break
            if time.monotonic() >= deadline:
                process.kill()
                what = (
                    f"was not ready after {settings.start_timeout_seconds:g} s."
                    " Set PREFECT_QISKIT_RUNTIME_START_TIMEOUT_SECONDS higher if it is only slow."
                )
                break
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        process.let_go()
    raise EmbeddedServiceError(
        f"The embedded service of {home.root} {what} The end of {home.log_path}:\n"
        f"{process.log_tail(token)}"
    )


def _is_older(discovery: Discovery) -> bool:
    return version_key(discovery.package_version) < version_key(package_version())


async def _replace_if_idle(
    home: EmbeddedHome, discovery: Discovery, settings: Settings
) -> Discovery | None:
    """Stop a service of an older version of this package; keep it if it has jobs.

    The older service uses the same protocol, so its jobs can finish before the upgrade.
    """
    try:
        await _shut_down(home, discovery, settings, only_if_idle=True)
    except ConflictError:
        return discovery
    return None


async def _shut_down(
    home: EmbeddedHome, discovery: Discovery, settings: Settings, *, only_if_idle: bool
) -> None:
    async with _api_of(home, discovery, settings) as api:
        await api.shutdown(only_if_idle=only_if_idle)
    deadline = time.monotonic() + settings.start_timeout_seconds
    while home.service_lives():
        if time.monotonic() >= deadline:
            raise EmbeddedServiceError(
                f"The embedded service (process {discovery.pid}) was asked to stop"
                f" {settings.start_timeout_seconds:g} s ago and is still running."
                f" See {home.log_path}."
            )
        await asyncio.sleep(_POLL_SECONDS)


def _api_of(home: EmbeddedHome, discovery: Discovery, settings: Settings) -> RuntimeApi:
    """Return the API of exactly this service, which is not restarted if it ends."""
    return RuntimeApi(discovery.url, home.read_token() or "", settings=settings)


async def _status_of(api: RuntimeApi, home: EmbeddedHome) -> EmbeddedStatus:
    status = await api.service_status()
    discovery = home.read_discovery()
    if discovery is None:
        raise EmbeddedServiceError(f"The embedded service of {home.root} has just ended.")
    return EmbeddedStatus(discovery, status, home.token_path)


def _refuse_windows() -> None:
    if sys.platform == "win32":
        raise EmbeddedServiceError(
            "The embedded service needs Linux or macOS. On Windows, use a team service: a"
            " RuntimeServiceCredentials block, or RuntimeClient(url, token)."
        )
