"""The web server of a service: uvicorn on a socket that the service opened."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from prefect_qiskit_runtime.service.http.connections import ConnectionLimits, Connections


class RepeatFilter(logging.Filter):
    """Limits how often the same line is logged, so that no client can fill the disk.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: OrderedDict[tuple[str, int, str], _Repeats] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a line; the first after a pause reports how many were left out."""
        key = (record.name, record.levelno, record.getMessage()[:_KEY_CHARACTERS])
        now = self._clock()
        repeats = self._seen.get(key)
        if repeats is None or now - repeats.since >= _REPEAT_SECONDS:
            if repeats is not None and repeats.count > _MOST_REPEATS:
                left_out = repeats.count - _MOST_REPEATS
                record.msg = f"{record.getMessage()} [left out before: {left_out} equal lines]"
                record.args = ()
            repeats = self._seen[key] = _Repeats(now)
        self._seen.move_to_end(key)
        while len(self._seen) > _MOST_KEYS:
            self._seen.popitem(last=False)
        repeats.count += 1
        return repeats.count <= _MOST_REPEATS


@dataclass
class _Repeats:
    since: float
    count: int = 0


_MOST_REPEATS = 5
_REPEAT_SECONDS = 60.0
_MOST_KEYS = 512
_KEY_CHARACTERS = 300


def configure_logging() -> None:
    """Log the service's actions, and only warnings of the libraries it uses."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(RepeatFilter())
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)


_LAST_ANSWERS_SECONDS = 3
_BACKLOG = 512
_LARGEST_MESSAGE_BYTES = 64 * 1024


@dataclass(frozen=True)
class TlsFiles:
    """A certificate (with its chain) and its private key, as PEM files."""

    certificate: Path
    key: Path


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that accepts connections; port 0 selects a free port.

    Raises:
        OSError: The host is unknown, or the port is in use.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    # The protocol is given, because asyncio disables Nagle's algorithm only on sockets that are
    # declared as TCP; with Nagle's algorithm, a small answer takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


class Server(uvicorn.Server):
    """uvicorn on a socket that is already listening, without uvicorn's signal handlers."""

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        *,
        limits: ConnectionLimits,
        tls: TlsFiles | None = None,
        http: type[asyncio.Protocol] | None = None,
    ) -> None:
        connections = Connections(limits)
        config = uvicorn.Config(
            app,
            lifespan="off",
            # Not uvicorn's choice: with httptools, if installed, it limits no head of a request.
            http=connections.protocol(http or H11Protocol),
            ws="websockets-sansio",
            # Clients send nothing, and compressing a large result would hold up all others.
            ws_per_message_deflate=False,
            ws_max_size=_LARGEST_MESSAGE_BYTES,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=_LAST_ANSWERS_SECONDS,
            ssl_certfile=None if tls is None else str(tls.certificate),
            ssl_keyfile=None if tls is None else str(tls.key),
        )
        super().__init__(config)
        self._listener = connections.listener(listener)
        self._up = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    def capture_signals(self) -> Any:
        """Leave signals to the service, which ends jobs before it closes connections."""
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start accepting connections."""
        await super().startup(sockets)
        self._up.set()

    async def start(self) -> asyncio.Task[None]:
        """Start the server; return its task once it accepts connections."""
        self._serving = asyncio.create_task(self.serve(sockets=[self._listener]))
        up = asyncio.create_task(self._up.wait())
        await asyncio.wait((self._serving, up), return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        return self._serving

    async def stop(self) -> None:
        """Finish the requests in progress, then close."""
        self.should_exit = True
        if self._serving is not None:
            await self._serving


async def until(serving: asyncio.Task[None], ending: asyncio.Event) -> None:
    """Wait until the end is requested, or the server has failed."""
    asked = asyncio.create_task(ending.wait())
    await asyncio.wait((serving, asked), return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
