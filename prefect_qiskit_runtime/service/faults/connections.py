"""The open connections of a server, so that one can be broken under a request."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any
from weakref import WeakValueDictionary

from starlette.types import Scope
from uvicorn.protocols.http.auto import AutoHTTPProtocol

_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class Connections:
    """Finds the connection of a request by the address at its other end.

    An application cannot end a connection without an answer: the server then answers 500. Its
    transport can.
    """

    def __init__(self) -> None:
        self._transports: WeakValueDictionary[Any, asyncio.Transport] = WeakValueDictionary()

    def protocol(self) -> type[asyncio.Protocol]:
        """Return the server's own protocol, which makes its connections known here."""
        transports = self._transports

        class Known(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
            def connection_made(self, transport: Any) -> None:
                transports[_address(transport.get_extra_info("peername"))] = transport
                super().connection_made(transport)

        return Known

    def reset(self, scope: Scope) -> None:
        """Break the connection of a request; what is not sent yet never is."""
        transport = self._transports[_address(scope["client"])]
        plain = transport.get_extra_info("socket")
        if plain is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        transport.abort()

    def close(self, scope: Scope) -> None:
        """End the connection of a request once all is sent that was said so far."""
        self._transports[_address(scope["client"])].close()


def _address(peer: Any) -> tuple[str, int]:
    return str(peer[0]), int(peer[1])
