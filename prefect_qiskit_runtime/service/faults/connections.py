"""The open connections of a server, so that one can be broken during a request."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any
from weakref import WeakValueDictionary

from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class Connections:
    """Finds the connection of a request by its peer address.

    An application cannot end a connection without an answer, because the server then answers 500.
    The connection's transport can.
    """

    def __init__(self) -> None:
        self._transports: WeakValueDictionary[Any, asyncio.Transport] = WeakValueDictionary()

    def protocol(self) -> type[asyncio.Protocol]:
        """Return the server's protocol class, extended to register its connections here."""
        transports = self._transports

        class Known(H11Protocol):
            def connection_made(self, transport: Any) -> None:
                transports[_address(transport.get_extra_info("peername"))] = transport
                super().connection_made(transport)

        return Known

    def reset(self, scope: Scope) -> None:
        """Reset the connection of a request; unsent data is discarded."""
        transport = self._transports[_address(scope["client"])]
        plain = transport.get_extra_info("socket")
        if plain is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        transport.abort()

    def close(self, scope: Scope) -> None:
        """Close the connection of a request once all pending data is sent."""
        self._transports[_address(scope["client"])].close()


def _address(peer: Any) -> tuple[str, int]:
    return str(peer[0]), int(peer[1])
