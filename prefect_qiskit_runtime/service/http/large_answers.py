"""Answers with large bodies: loaded when their user has memory for them, and sent in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from prefect_qiskit_runtime.service.answer_shares import AnswerShares, Holder
from prefect_qiskit_runtime.service.http.connections import close_connection

PIECE_BYTES = 64 * 1024
"""How much is handed to the connection at once; the rest waits here until it is read."""

Share = Callable[[int], AbstractAsyncContextManager[Holder]]
"""Waits until so many bytes fit into the memory of the user of an answer."""


def share_of(shares: AnswerShares, user: str, request: HTTPConnection) -> Share:
    """Return the share of a user, for an answer to a request."""
    why = "its client reads nothing, and other answers of its user wait for memory"
    return partial(shares.share, user, partial(close_connection, request, why))


class LargeResponse(Response):
    """An answer that is loaded when its user's share has room, and sent in pieces.

    Args:
        shares: The shares of all users.
        user: The user.
        num_bytes: The size of the answer, or the most that it can have.
        load: Loads it; may raise instead.
        media_type: Its type.
        around: What is sent before and after it.
        afterwards: Called once a client has received it completely.
    """

    def __init__(
        self,
        shares: AnswerShares,
        user: str,
        num_bytes: int,
        load: Callable[[], Awaitable[bytes]],
        *,
        media_type: str,
        around: tuple[bytes, bytes] = (b"", b""),
        afterwards: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(media_type=media_type)
        self._shares = shares
        self._user = user
        self._num_bytes = num_bytes
        self._load = load
        self._around = around
        self._afterwards = afterwards

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Load and send the answer."""
        request = Request(scope, receive)
        await request.body()
        async with share_of(self._shares, self._user, request)(self._num_bytes) as holder:
            content, (before, after) = await self._load(), self._around
            size = len(before) + len(content) + len(after)
            self.headers["content-length"] = str(size)
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            for part in (before, content, after):
                for piece in pieces(part):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    holder.move()
                    await asyncio.sleep(0)  # a client that reads fast must not hold the event loop
            if self._afterwards is not None and not await request.is_disconnected():
                await self._afterwards()
            await send({"type": "http.response.body", "body": b""})


def pieces(content: bytes) -> Iterator[bytes]:
    """Yield the pieces in which a content is sent."""
    view = memoryview(content)
    for first in range(0, len(view), PIECE_BYTES):
        yield bytes(view[first : first + PIECE_BYTES])
