"""A process of an image's interpreter that runs the runner, and the socket to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from prefect_qiskit_runtime.service.execution.executor import LaunchError, is_shortage
from prefect_qiskit_runtime.service.own_process import restore_file_limit

__all__ = ["ExitStatus", "ImageProcess", "interpreter_of"]

MARKER = "QISKIT_RUNTIME_PROCESSES"
"""Environment variable by which jobs' processes are found after their fork server has died."""

_ALLOWED = frozenset(
    {
        "CUDA_VISIBLE_DEVICES",
        "DYLD_LIBRARY_PATH",
        "HOME",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",
        "LOGNAME",
        "PATH",
        "SHELL",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TZ",
        "USER",
    }
)


def job_environment(service: Mapping[str, str], *, threads: int, marker: str) -> dict[str, str]:
    """Select the service's variables that are allowed, and add those that a fork server needs."""
    chosen = {
        name: value for name, value in service.items() if name in _ALLOWED or name.startswith("LC_")
    }
    # OpenBLAS and MKL start threads when they are loaded, which a fork server must not have;
    # jobs raise the number. OpenMP starts none, and its number can only be set at start.
    # OpenBLAS's threads busy-wait for work for 2**26 cycles, even when they have just been
    # started: that was most of a short job's cost. 2**20 is still longer than the gap between
    # two calls.
    return {
        **chosen,
        "OPENBLAS_NUM_THREADS": "1",
        "OPENBLAS_THREAD_TIMEOUT": "20",
        "MKL_NUM_THREADS": "1",
        "OMP_NUM_THREADS": str(threads),
        MARKER: marker,
    }


_RUNNER = Path(__file__).resolve().parents[2] / "runner" / "__main__.py"
_TAIL_LINES = 20
_READ_BYTES = 64 * 1024
_END_SECONDS = 10.0


class ExitStatus(NamedTuple):
    """How a process ended: exit code or signal.

    Attributes:
        exit_code: Its exit code; None if a signal ended it.
        signal: The signal that ended it; None if it exited.
        source_lost: Whether it ended only because the process that had started it ended.
    """

    exit_code: int | None
    signal: int | None
    source_lost: bool = False


def interpreter_of(image: str) -> str:
    """Return the interpreter's path from an image's name.

    Raises:
        LaunchError: The image is not one that this executor can run.
    """
    kind, _, path = image.partition(":")
    # The path is not resolved: following a virtual environment's link would leave it.
    if kind != "python" or not os.path.isabs(path):  # noqa: PTH117
        raise LaunchError(
            f"The image {image!r} does not have the form python:<absolute path of an interpreter>.",
            image=image,
        )
    return path


class ImageProcess:
    """Starts the runner in an image and exchanges lines of JSON with it.

    Attributes:
        image: The image.
    """

    def __init__(
        self, image: str, process: asyncio.subprocess.Process, control: socket.socket, marker: str
    ) -> None:
        self.image = image
        self._process = process
        self._control = control
        self._marker = marker
        self._received = b""
        self._answers: deque[dict[str, Any]] = deque()
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._reading = asyncio.create_task(self._read_output())
        self._site_folders: dict[str, int] = {}

    @classmethod
    async def start(
        cls, image: str, *, single_use: bool, threads: int, timeout_seconds: float
    ) -> ImageProcess:
        """Start the process and wait until it can run jobs.

        Raises:
            LaunchError: The image cannot run jobs; the message gives the reason.
        """
        interpreter = interpreter_of(image)
        try:
            ours, theirs = socket.socketpair()
        except OSError as exc:
            raise _not_started(image, exc) from exc
        ours.setblocking(False)
        marker = secrets.token_hex(16)
        options = ["--single-use"] if single_use else []
        try:
            process = await asyncio.create_subprocess_exec(
                interpreter,
                str(_RUNNER),
                "--control",
                str(theirs.fileno()),
                *options,
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=job_environment(os.environ, threads=threads, marker=marker),
                cwd="/",
                start_new_session=True,
            )
        except OSError as exc:
            ours.close()
            raise _not_started(image, exc) from exc
        finally:
            theirs.close()
        restore_file_limit(process.pid)
        started = cls(image, process, ours, marker)
        try:
            await started._wait_until_ready(timeout_seconds)
        except BaseException:
            await started.close()
            raise
        return started

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def is_current(self) -> bool:
        """Return whether the loaded libraries still match the environment (blocking call)."""
        return all(_modified_at(path) == at for path, at in self._site_folders.items())

    async def send(self, request: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send one request.

        Raises:
            ConnectionError: The process has ended.
        """
        line = json.dumps(request).encode("ascii") + b"\n"
        loop = asyncio.get_running_loop()
        while True:
            try:
                # Sent in full or not at all: a request is far smaller than a socket's buffer.
                socket.send_fds(self._control, [line], descriptors)
            except BlockingIOError:
                writable = loop.create_future()
                loop.add_writer(self._control, writable.set_result, None)
                try:
                    await writable
                finally:
                    loop.remove_writer(self._control)
            except OSError as exc:
                raise ConnectionError(f"{self.image} has ended") from exc
            else:
                return

    async def receive(self) -> dict[str, Any]:
        """Wait for the next answer.

        Raises:
            EOFError: The process has ended.
        """
        loop = asyncio.get_running_loop()
        while not self._answers:
            try:
                data = await loop.sock_recv(self._control, _READ_BYTES)
            except OSError:
                data = b""
            if not data:
                raise EOFError(f"{self.image} has ended")
            *lines, self._received = (self._received + data).split(b"\n")
            self._answers.extend(json.loads(line) for line in lines)
        return self._answers.popleft()

    async def wait(self) -> ExitStatus:
        """Wait for the process to end, then kill the processes that it left behind."""
        code = await self._process.wait()
        await asyncio.to_thread(_kill_marked, self._marker)
        return ExitStatus(code, None) if code >= 0 else ExitStatus(None, -code)

    def signal_group(self, number: int) -> None:
        """Send a signal to the process and to its children that are still in its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def end(self) -> None:
        """Ask the process to end with all its children."""
        # Shutting down wakes a pending `receive`; closing would not.
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        """End the process and all its children, and wait until they are gone."""
        self.end()
        try:
            await asyncio.wait_for(self._process.wait(), _END_SECONDS)
        except TimeoutError:
            self.signal_group(signal.SIGKILL)
        await self.wait()
        await self._finish_output()
        self._control.close()

    async def _wait_until_ready(self, timeout_seconds: float) -> None:
        try:
            answer = await asyncio.wait_for(self.receive(), timeout_seconds)
        except TimeoutError:
            self.signal_group(signal.SIGKILL)
            raise self._broken(f"it was not ready within {timeout_seconds:g} s") from None
        except EOFError:
            code = await self._process.wait()
            await self._finish_output()
            how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
            raise self._broken(f"its interpreter ended with {how} at start") from None
        self._site_folders = answer["site_folders"]

    def _broken(self, problem: str) -> LaunchError:
        tail = "\n".join(self._tail)
        return LaunchError(
            f"The image {self.image} cannot run jobs: {problem}. It must be a Python "
            f"environment with qiskit. Last lines of output:\n{tail or '(no output)'}",
            image=self.image,
            stderr_tail=tail,
        )

    async def _read_output(self) -> None:
        output = self._process.stdout
        assert output is not None  # noqa: S101 - requested as a pipe
        rest = ""
        while data := await output.read(_READ_BYTES):
            *lines, rest = (rest + data.decode("utf-8", "replace")).split("\n")
            self._tail.extend(lines)
            rest = rest[-_READ_BYTES:]
        if rest:
            self._tail.append(rest)

    async def _finish_output(self) -> None:
        # A process that cannot be killed may hold the pipe open.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._reading, _END_SECONDS)


def _not_started(image: str, exc: OSError) -> LaunchError:
    return LaunchError(
        f"The image {image} cannot be started: {exc.strerror or exc}.",
        image=image,
        is_temporary=is_shortage(exc.errno),
    )


def _modified_at(path: str) -> int | None:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return None


def _kill_marked(marker: str) -> None:
    """Kill processes that were started with the marker, if the system has /proc."""
    processes = Path("/proc")
    needle = f"{MARKER}={marker}".encode()
    found = processes.is_dir()
    while found:
        found = False
        for entry in processes.iterdir():
            if not entry.name.isdigit():
                continue
            # Other users' processes cannot be read, and many processes end during the check.
            with contextlib.suppress(OSError):
                if needle in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)
                    found = True
