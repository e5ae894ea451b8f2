"""The process of the embedded service, as seen by the client that starts it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path
from typing import IO, Self

from prefect_qiskit_runtime.errors import EmbeddedServiceError
from prefect_qiskit_runtime.models.embedded_home import EmbeddedHome
from prefect_qiskit_runtime.settings import Settings

_LARGEST_LOG_BYTES = 4 * 1024**2
_TAIL_LINES = 20

# What the service may see of its starter's environment. It outlives the starter and serves
# other flows too: no secret of the first one, and nothing that makes the others differ.
_INHERITED = re.compile(
    "PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_.*|TZ|TMPDIR|(DY)?LD_.*LIBRARY_PATH"
    "|VIRTUAL_ENV|CONDA_PREFIX|PYTHON(HOME|WARNINGS|UTF8|TRACEMALLOC)|PREFECT_HOME"
)


class ServiceProcess:
    """A service process that was just started, until it runs by itself."""

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
        """How it ended (negative: by which signal); None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def let_go(self) -> None:
        """Leave it running. Should it end before this process does, no zombie stays behind."""
        threading.Thread(
            target=self._process.wait, name="qiskit-runtime-service-reaper", daemon=True
        ).start()

    def log_tail(self, token: str) -> str:
        """Return the last lines that it wrote, without the token should they hold it."""
        with self._log_path.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode("utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join(lines).replace(token, "***") or "(nothing)"


def service_environment(settings: Settings) -> dict[str, str]:
    """Return the environment of the service process: allow-listed, with these settings."""
    environment = {name: value for name, value in os.environ.items() if _INHERITED.fullmatch(name)}
    environment["PYTHONPATH"] = os.pathsep.join(_import_path())
    environment["PYTHONUNBUFFERED"] = "1"
    for name, value in settings.model_dump(mode="json").items():
        environment[f"PREFECT_QISKIT_RUNTIME_{name.upper()}"] = str(value)
    return environment


def _import_path() -> list[str]:
    """Return what the service needs on its path beyond its interpreter's own.

    The caller's whole `sys.path` would do too much: the folder of a flow may hold modules with
    names of the standard library.
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
    """Put a log that has grown large aside; return where the next line will stand."""
    try:
        size = log_path.stat().st_size
    except FileNotFoundError:
        return 0
    if size < _LARGEST_LOG_BYTES:
        return size
    log_path.replace(log_path.with_suffix(".log.1"))
    return 0
