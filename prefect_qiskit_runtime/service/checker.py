"""The service's side of the process that checks sources, schemas and inputs (see `checks`)."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakValueDictionary

from prefect_qiskit_runtime.errors import (
    InvalidInputError,
    QiskitRuntimeError,
    ServiceUnavailableError,
)
from prefect_qiskit_runtime.models import ProgramSpec
from prefect_qiskit_runtime.service.checks import (
    FAULT,
    LIMITS,
    OUT_OF_MEMORY,
    VALUES,
    WAIT_FACTOR,
)
from prefect_qiskit_runtime.settings import Settings

__all__ = ["Checker"]

logger = logging.getLogger(__name__)

_AT_ONCE_PER_USER = 2
_BYTES_PER_SECOND = 20 * 1000**2
_MEMORY_PER_BYTE = 12
_GRACE_SECONDS = 5.0
_ATTEMPTS = 2
_OUT_OF_TIME = "time"
_NO_USER = ""
_READ_BYTES = 64 * 1024
_INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "HOME", "TZ")


class Checker:
    """Runs checks in a process that is kept warm, and is replaced if it ends.

    Each user has at most two checks at once, so that the checks of one user do not delay those of
    others.
    """

    def __init__(self, settings: Settings) -> None:
        self._seconds = settings.check_seconds
        self._memory_bytes = settings.check_memory_bytes
        self._starting = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None
        self._lanes: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def warm(self) -> None:
        """Start the process, and wait until it has imported everything and answers."""
        try:
            await self.find_values(_NO_USER, b"{}")
        except QiskitRuntimeError as exc:  # it is started again for the first check
            logger.warning("The process that checks programs and inputs is not ready: %s", exc)

    async def check_inputs(
        self, user: str, program_id: str, schema: dict[str, Any], params: bytes
    ) -> None:
        """Check the encoded inputs of a job against the schema of its program.

        Raises:
            InvalidInputError: The inputs break a rule, or the check exceeds a limit.
            ServiceUnavailableError: The process cannot be started.
        """
        program = f"program {program_id}"
        order = {"kind": "inputs", "schema": schema, "program": program}
        await self._check(user, order, params, f"The inputs of {program}")

    async def find_values(self, user: str, body: bytes) -> dict[str, tuple[int, int]]:
        """Return where the text of each value of a JSON object begins and ends, in characters.

        Raises:
            InvalidInputError: The body is not a JSON object, or exceeds a limit.
            ServiceUnavailableError: The process cannot be started.
        """
        answer = await self._check(user, {"kind": "object"}, body, "The request's body")
        return {name: (begin, end) for name, (begin, end) in answer[VALUES].items()}

    async def check_program(self, user: str, spec: ProgramSpec | None, source: str | None) -> None:
        """Check the schemas and the source of a program.

        Args:
            user: The caller.
            spec: The program's schemas; None if they are not new.
            source: The program's source; None if it is not new.

        Raises:
            InvalidInputError: One of them is invalid, or the check exceeds a limit.
            ServiceUnavailableError: The process cannot be started.
        """
        schemas = {} if spec is None else _schemas_of(spec)
        order = {"kind": "program", "schemas": schemas, "has_source": source is not None}
        if schemas or source is not None:
            await self._check(user, order, (source or "").encode(), "The program")

    async def close(self) -> None:
        """End the process."""
        async with self._starting:
            await self._end()

    async def _running(self) -> tuple[asyncio.subprocess.Process, socket.socket]:
        """Return the process and the socket to it; start it if it has ended."""
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                await self._start()
            assert self._process is not None  # noqa: S101 - set by `_start`
            assert self._control is not None  # noqa: S101 - set by `_start`
            return self._process, self._control

    async def _replace(self, stuck: asyncio.subprocess.Process) -> None:
        """End a process that does not answer, unless another request has already done so."""
        async with self._starting:
            if self._process is stuck:
                logger.warning("The process that checks programs and inputs is replaced")
                await self._end()

    async def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def _check(
        self, user: str, order: Mapping[str, Any], body: bytes, what: str
    ) -> dict[str, Any]:
        line = json.dumps(order).encode() + b"\n"
        size = len(line) + len(body)
        seconds = self._seconds + size / _BYTES_PER_SECOND
        memory_bytes = self._memory_bytes + _MEMORY_PER_BYTE * size
        lane = self._lanes.setdefault(user, asyncio.Semaphore(_AT_ONCE_PER_USER))
        async with lane:
            answer = await self._answer(LIMITS.pack(seconds, memory_bytes), (line, body), seconds)
        if answer.get(_OUT_OF_TIME):
            raise InvalidInputError(
                f"{what} could not be checked within {seconds:.1f} s of computing time, and"
                " nothing was stored. A pattern or schema that takes so long must be simplified.",
                rule=f"checked within {self._seconds:g} s",
            )
        if answer.get(OUT_OF_MEMORY):
            raise InvalidInputError(
                f"{what} could not be checked: the check needed more than"
                f" {memory_bytes // 1000**2} MB of memory. Nothing was stored.",
                rule=f"checked with {self._memory_bytes // 1000**2} MB",
            )
        if FAULT in answer:
            raise InvalidInputError(
                f"{what} could not be checked: the check ended with {answer[FAULT]}. Nothing was"
                " stored.",
                rule="can be checked",
            )
        if "error" in answer:
            error = answer["error"]
            raise InvalidInputError(error["message"], path=error["path"], rule=error["rule"])
        return answer

    async def _answer(
        self, head: bytes, parts: tuple[bytes, ...], seconds: float
    ) -> dict[str, Any]:
        """Return the answer to a request. One that was lost with a process is sent again, once.

        Raises:
            ServiceUnavailableError: No process can be started, or the machine is too busy.
        """
        loop = asyncio.get_running_loop()
        for _ in range(_ATTEMPTS):
            begin = loop.time()
            text = await self._ask(head, parts, seconds)
            if text:
                return json.loads(text)
            took = loop.time() - begin
            if took >= seconds * WAIT_FACTOR:
                raise ServiceUnavailableError(
                    f"The check was not finished after {took:.0f} s, because the machine is busy."
                    " Nothing was stored."
                )
            if took >= seconds:
                return {_OUT_OF_TIME: True}
        return {FAULT: "a crash of its process"}

    async def _ask(self, head: bytes, parts: tuple[bytes, ...], seconds: float) -> bytes:
        """Send a request; return the text of its answer, empty if the check ended without one."""
        loop = asyncio.get_running_loop()
        with _connected_pair() as (ours, theirs):
            process = await self._hand_over(head, theirs)
            theirs.close()
            text = b""
            try:
                async with asyncio.timeout(seconds * WAIT_FACTOR + _GRACE_SECONDS):
                    await _send(ours, parts)
                    while data := await loop.sock_recv(ours, _READ_BYTES):
                        text += data
            except ConnectionError:
                return b""
            except TimeoutError:  # the kernel ends checks earlier: the process is stuck
                await self._replace(process)
                return b""
        return text

    async def _hand_over(self, head: bytes, request: socket.socket) -> asyncio.subprocess.Process:
        """Give the process the socket of a request; start the process if it has ended."""
        for _ in range(_ATTEMPTS):
            process, control = await self._running()
            try:
                socket.send_fds(control, [head], [request.fileno()])
            except BlockingIOError as exc:
                raise ServiceUnavailableError(
                    "Too many programs and inputs are being checked now. Nothing was stored."
                ) from exc
            except ConnectionError:
                await process.wait()
            else:
                return process
        raise ServiceUnavailableError(
            "The process that checks programs and inputs ended twice. Nothing was stored."
        )

    async def _start(self) -> None:
        if self._control is not None:
            self._control.close()
        try:
            self._control, theirs = socket.socketpair()
        except OSError as exc:
            raise _shortage(exc) from exc
        self._control.setblocking(False)
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-m", "prefect_qiskit_runtime.service.checks", str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                env=environment,
                cwd="/",
            )
        except OSError as exc:
            raise _shortage(exc) from exc
        finally:
            theirs.close()


async def _send(request: socket.socket, parts: tuple[bytes, ...]) -> None:
    """Send a request; a check that runs out of memory answers before it has read everything."""
    loop = asyncio.get_running_loop()
    with suppress(BrokenPipeError, ConnectionResetError):
        for part in parts:
            await loop.sock_sendall(request, part)
        request.shutdown(socket.SHUT_WR)


@contextmanager
def _connected_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    try:
        ours, theirs = socket.socketpair()
    except OSError as exc:
        raise _shortage(exc) from exc
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


def _shortage(exc: OSError) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        f"No program or inputs can be checked now: {exc.strerror}. Nothing was stored."
    )


def _schemas_of(spec: ProgramSpec) -> dict[str, dict[str, Any]]:
    """Return the schemas of a program by their paths in an upload."""
    names = ("parameters", "return_values", "interim_results")
    return {f"$.spec.{name}": schema for name in names if (schema := getattr(spec, name))}
