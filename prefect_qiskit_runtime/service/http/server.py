"""The web server of a service: uvicorn on a socket that the service opened."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp


def configure_logging() -> None:
    """Log the service's actions, and only warnings of the libraries it uses."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)


_LAST_ANSWERS_SECONDS = 3
_BACKLOG = 512


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
        tls: TlsFiles | None = None,
        http: type[asyncio.Protocol] | None = None,
    ) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            http=http or "auto",
            ws="websockets-sansio",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=_LAST_ANSWERS_SECONDS,
            ssl_certfile=None if tls is None else str(tls.certificate),
            ssl_keyfile=None if tls is None else str(tls.key),
        )
        super().__init__(config)
        self._listener = listener
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
