"""The open connections of a server: how many there may be, and which one makes room.

A connection is *known* once a request with a valid token has arrived on it; before that it is a
*stranger*. If no more connections may be opened, the oldest stranger is closed, and without one an
idle known connection. A connection with a known request in progress is never closed. So however
many requests are opened and never finished, they only displace each other.

Two seams to other libraries are in this module only: asyncio calls the `accept` of the listening
socket that it is given, even if that is of a subclass; and uvicorn's protocols keep the request in
progress in `cycle`, and copy `app_state` into the scope of each request.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from starlette.requests import HTTPConnection

from prefect_qiskit_runtime.service.own_process import file_budget
from prefect_qiskit_runtime.settings import Settings

__all__ = ["ConnectionLimits", "Connections", "close_connection", "mark_known", "until_sent"]

logger = logging.getLogger(__name__)

_STATE = "connection"
_LOOK_AGAIN_SECONDS = 0.02
_ACCEPTED_PER_ROUND = 64
_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of a server's connections.

    Attributes:
        total: Maximum number of open connections.
        per_peer: Maximum number of open connections from one address.
        head_seconds: Maximum time in which the head of a request must arrive.
    """

    total: int
    per_peer: int
    head_seconds: float

    @classmethod
    def from_settings(cls, settings: Settings) -> ConnectionLimits:
        """Return the limits, within the number of files that this process may open."""
        files = file_budget(settings.max_concurrent_jobs)
        return cls(
            total=min(settings.max_connections, files),
            per_peer=settings.max_connections_per_peer,
            head_seconds=settings.request_head_seconds,
        )


def mark_known(request: HTTPConnection) -> None:
    """Record that a request carried a valid token: its connection is now known."""
    connection = request.scope.get("state", {}).get(_STATE)
    if connection is not None:
        connection.mark_known()


def close_connection(request: HTTPConnection, why: str) -> None:
    """Close the connection of a request; data that was not sent is dropped."""
    connection = request.scope.get("state", {}).get(_STATE)
    if connection is not None:
        connection.close(why)


async def until_sent(request: HTTPConnection, moved: Callable[[], None]) -> None:
    """Wait until the data that was handed to a connection has been sent, or it is closed.

    Args:
        request: A request of the connection.
        moved: Called each time that some of it was sent.
    """
    connection = request.scope.get("state", {}).get(_STATE)
    if connection is None:
        return
    unsent = connection.unsent_bytes
    while unsent:
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)  # the protocol of websockets does not report it
        before, unsent = unsent, connection.unsent_bytes
        if unsent < before:
            moved()


class Connections:
    """Admits connections, and closes one where the limits are reached."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._open: dict[int, _Connection] = {}
        self._strangers: dict[str, dict[_Connection, None]] = {}
        self._per_peer: Counter[str] = Counter()
        self._staying = 0
        self._accepted_in_round = 0

    def listener(self, listening: socket.socket) -> socket.socket:
        """Return a socket that replaces the listening one and admits its connections here."""
        return _Listener(listening, self)

    def protocol(self, base: type[asyncio.Protocol]) -> type[asyncio.Protocol]:
        """Return uvicorn's protocol, extended to limit the time for the head of a request."""
        return _guarded(base, self)

    def admit(self, accepted: socket.socket, peer: str) -> socket.socket | None:
        """Return the socket of a connection that may stay; None if it was closed."""
        if not self._has_room(peer):
            accepted.close()
            logger.warning("Refused connections from %s: too many requests are in progress", peer)
            return None
        connection = _Connection(peer, self)
        known_socket = _Accepted(accepted, connection.discard)
        connection.begin(known_socket, self._limits.head_seconds)
        self._open[connection.number] = connection
        self._strangers.setdefault(peer, {})[connection] = None
        self._per_peer[peer] += 1
        self._staying += 1
        return known_socket

    @property
    def head_seconds(self) -> float:
        """Maximum time in which the head of a request must arrive."""
        return self._limits.head_seconds

    def start_round(self) -> None:
        """Limit how many connections are accepted before the event loop continues.

        Raises:
            BlockingIOError: The limit is reached.
        """
        if self._accepted_in_round == 0:
            asyncio.get_running_loop().call_soon(self._end_round)
        if self._accepted_in_round >= _ACCEPTED_PER_ROUND:
            raise BlockingIOError(errno.EAGAIN, "the event loop must handle other events first")
        self._accepted_in_round += 1

    def find(self, number: int) -> _Connection:
        """Return the connection of a descriptor."""
        return self._open[number]

    def leave(self, connection: _Connection) -> None:
        """Stop counting a connection that is closed, or is about to be."""
        if connection.is_leaving:
            return
        connection.is_leaving = True
        self.remove_stranger(connection)
        self._staying -= 1
        self._per_peer[connection.peer] -= 1
        if not self._per_peer[connection.peer]:
            del self._per_peer[connection.peer]

    def forget(self, connection: _Connection) -> None:
        """Forget a connection whose descriptor is about to be closed."""
        self.leave(connection)
        del self._open[connection.number]

    def remove_stranger(self, connection: _Connection) -> None:
        """Remove a connection from the strangers."""
        strangers = self._strangers.get(connection.peer)
        if strangers is not None:
            strangers.pop(connection, None)
            if not strangers:
                del self._strangers[connection.peer]

    def _end_round(self) -> None:
        self._accepted_in_round = 0

    def _has_room(self, peer: str) -> bool:
        """Return whether one more connection of a peer may be opened, after making room."""
        if self._per_peer[peer] >= self._limits.per_peer:
            of_peer = (c for c in self._open.values() if c.peer == peer)
            return self._make_room(peer, of_peer)
        if self._staying >= self._limits.total:
            most = max(self._strangers, key=lambda one: len(self._strangers[one]), default=peer)
            return self._make_room(most, self._open.values())
        return True

    def _make_room(self, peer: str, candidates: Iterable[_Connection]) -> bool:
        """Close the oldest stranger of a peer, or an idle connection; return False without one."""
        leaving = next(iter(self._strangers.get(peer, ())), None)
        if leaving is None:
            leaving = next((one for one in candidates if one.is_idle and not one.is_leaving), None)
        if leaving is None:
            return False
        leaving.close("there are too many connections")
        return True


class _Connection:
    """One open connection."""

    def __init__(self, peer: str, connections: Connections) -> None:
        self.peer = peer
        self.number = -1
        self.is_leaving = False
        self._connections = connections
        self._socket: socket.socket | None = None
        self._transport: asyncio.Transport | None = None
        self._is_idle: Callable[[], bool] = lambda: True
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request is in progress."""
        return self._is_idle()

    def begin(self, accepted: socket.socket, head_seconds: float) -> None:
        """Start to wait for the first request; over TLS this includes the handshake."""
        self._socket, self.number = accepted, accepted.fileno()
        self.expect_head(head_seconds)

    def follow(self, transport: asyncio.Transport, is_idle: Callable[[], bool]) -> None:
        """Connect this to the protocol that now serves the connection."""
        self._transport, self._is_idle = transport, is_idle
        if self.is_leaving:  # closed before its protocol existed
            transport.abort()

    def expect_head(self, seconds: float) -> None:
        """Close the connection if `head_complete` is not called in time."""
        if self._timer is None:
            why = f"the head of its request did not arrive within {seconds:g} s"
            self._timer = asyncio.get_running_loop().call_later(seconds, self.close, why)

    def head_complete(self) -> None:
        """End the time limit of the head."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def mark_known(self) -> None:
        """Record that a valid token has arrived."""
        self._connections.remove_stranger(self)

    @property
    def unsent_bytes(self) -> int:
        """How much data waits here until its client reads."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close(self, why: str) -> None:
        """Close the connection now; data that was not sent is dropped."""
        logger.info("Closed a connection of %s: %s", self.peer, why)
        self._connections.leave(self)
        self.head_complete()
        if self._transport is not None:
            self._transport.abort()
        elif self._socket is not None:
            # During a TLS handshake only the event loop may close the descriptor. The handshake
            # ends when it finds the connection shut down.
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                logger.debug("A connection of %s was already closed", self.peer)

    def discard(self) -> None:
        """Forget the connection, whose descriptor is about to be closed."""
        self.head_complete()
        if self._socket is not None:
            self._socket = None
            self._connections.forget(self)


class _Listener(socket.socket):
    """A listening socket whose connections are admitted first."""

    def __init__(self, listening: socket.socket, connections: Connections) -> None:
        family, kind, protocol = listening.family, listening.type, listening.proto
        super().__init__(family, kind, protocol, fileno=listening.detach())
        self._connections = connections
        # Given up to accept and close a connection when no more files can be opened. Without it,
        # the waiting connection would keep the event loop busy. It is -1 if another file took its
        # place.
        self._spare = os.open(os.devnull, os.O_RDONLY)

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept the next connection that may stay."""
        while True:
            self._connections.start_round()
            try:
                accepted, address = super().accept()
            except OSError as exc:
                if exc.errno not in _OUT_OF_FILES:
                    raise
                self._refuse()
                continue
            admitted = self._connections.admit(accepted, str(address[0]))
            if admitted is not None:
                return admitted, address

    def close(self) -> None:
        """Close the socket and the spare descriptor."""
        super().close()
        self._give_up_spare()

    def _refuse(self) -> None:
        logger.error("No more files can be opened: a connection was refused")
        self._give_up_spare()
        try:
            super().accept()[0].close()
        finally:
            self._spare = os.open(os.devnull, os.O_RDONLY)

    def _give_up_spare(self) -> None:
        spare, self._spare = self._spare, -1  # its number may soon belong to another file
        if spare >= 0:
            os.close(spare)


class _Accepted(socket.socket):
    """The socket of a connection; its owner learns when it is closed."""

    def __init__(self, accepted: socket.socket, on_close: Callable[[], None]) -> None:
        family, kind, protocol = accepted.family, accepted.type, accepted.proto
        super().__init__(family, kind, protocol, fileno=accepted.detach())
        self._on_close = on_close

    def close(self) -> None:
        """Close the socket."""
        # First, because the descriptor's number may be used again as soon as it is closed.
        self._on_close()
        super().close()


def _guarded(base: type[Any], connections: Connections) -> type[asyncio.Protocol]:
    class Guarded(base):
        """uvicorn's protocol, which has no time limit for the head of a request."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            number = transport.get_extra_info("socket").fileno()
            self._connection = connections.find(number)
            self._connection.follow(transport, self._is_idle)
            self.app_state = {**self.app_state, _STATE: self._connection}
            super().connection_made(transport)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._has_request():
                self._connection.head_complete()
            else:
                self._connection.expect_head(connections.head_seconds)

        def _is_idle(self) -> bool:
            return not self._has_request()

        def _has_request(self) -> bool:
            if self.transport.get_protocol() is not self:  # it became a websocket
                return True
            return self.cycle is not None and not self.cycle.response_complete

    return Guarded
