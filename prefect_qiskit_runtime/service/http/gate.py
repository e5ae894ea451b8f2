"""The first checks of every request: its host, its path prefix, the size and time of its body."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prefect_qiskit_runtime.errors import QiskitRuntimeError
from prefect_qiskit_runtime.service.problem import (
    PayloadTooLargeError,
    SlowRequestError,
    error_response,
    problem_response,
)
from prefect_qiskit_runtime.settings import Settings

LARGEST_BODY_BYTES = 300 * 1000**2
"""IBM's limit on the inputs of a job."""

# Each generation of IBM's clients uses one of these (see the protocol reference). They are
# stripped here, because routing every path four times would slow down the start.
_PREFIXES = ("/experimental/api/v1", "/experimental", "/api/v1", "/api")

_SMALL_BYTES = 64 * 1024
_LOGIN_BYTES = 8 * 1024
_METADATA_BYTES = 1000**2
_DRAIN_SECONDS = 2.0
_DRAIN_BYTES = 32 * 1000**2


class Gate:
    """ASGI middleware around the whole app.

    Args:
        app: The app.
        hosts: Accepted values of `Host`; None for any. This refuses web pages whose host name was
            made to resolve to this machine, because browsers send that name as `Host`.
        settings: The largest source of a program, and the time limit of bodies.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] | None, settings: Settings) -> None:
        self._app = app
        self._hosts = hosts
        self._limits = _Limits(settings.source_bytes)
        self._seconds = settings.request_body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse requests that fail a check; forward the rest."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if self._hosts is not None and host not in self._hosts:
            await _refuse_host(scope, receive, send)
            return
        scope = {**scope, "path": without_prefix(scope["path"])}
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        limit = self._limits.of_route(scope["method"], scope["path"])
        body = _Body(receive, send, limit=limit, seconds=self._seconds, headers=headers)
        try:
            body.check_declared()
            arrived = limit > _SMALL_BYTES or await body.read_completely()
        except QiskitRuntimeError as exc:
            await error_response(exc)(scope, body.receive, body.send)
            return
        if arrived:
            await self._app(scope, body.receive, body.send)


class _Limits:
    """The largest body of each route. A route that is not listed accepts a small body only."""

    def __init__(self, source_bytes: int) -> None:
        # As base64 with line breaks, and the metadata beside it.
        program_bytes = source_bytes * 7 // 5 + _METADATA_BYTES
        self._routes = [
            ("POST", re.compile("/jobs"), None),
            ("POST", re.compile("/programs"), program_bytes),
            ("PUT", re.compile("/programs/[^/]+/data"), program_bytes),
            ("PATCH", re.compile("/programs/[^/]+"), _METADATA_BYTES),
            ("POST", re.compile("/identity/token|/users/loginWithToken"), _LOGIN_BYTES),
        ]

    def of_route(self, method: str, path: str) -> int:
        """Return the maximum number of bytes in the body of a request."""
        for of_method, pattern, limit in self._routes:
            if of_method == method and pattern.fullmatch(path):
                return LARGEST_BODY_BYTES if limit is None else limit
        return _SMALL_BYTES


class _Body:
    """The body of one request, received within limits of size and time."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        limit: int,
        seconds: float,
        headers: Mapping[bytes, bytes],
    ) -> None:
        self._receive = receive
        self._send = send
        self._limit = limit
        self._seconds = seconds
        length = headers.get(b"content-length", b"0")
        self._declared = int(length) if length.isdigit() else 0
        self._is_chunked = b"transfer-encoding" in headers
        self._parts: list[bytes] | None = None
        self._deadline: float | None = None
        self._received = 0
        self._complete = False
        self._closes = False

    def check_declared(self) -> None:
        """Refuse a body that declares more bytes than its route accepts.

        Raises:
            PayloadTooLargeError: It does.
        """
        if self._declared > self._limit:
            raise _too_large(self._limit)

    async def read_completely(self) -> bool:
        """Receive a small body before the app is called; return False if the client left.

        Until then, an unfinished request costs little more than its connection.

        Raises:
            PayloadTooLargeError: The body is larger than its route accepts.
            SlowRequestError: The body did not arrive in time.
        """
        if not self._declared and not self._is_chunked:
            return True
        parts = []
        while not self._complete:
            message = await self.receive()
            if message["type"] != "http.request":
                return False
            parts.append(message.get("body", b""))
        self._parts = parts
        return True

    async def receive(self) -> Message:
        """Return the next part.

        Raises:
            PayloadTooLargeError: The body is larger than its route accepts.
            SlowRequestError: The part did not arrive in time.
        """
        if self._parts is not None:
            parts, self._parts = self._parts, None
            return {"type": "http.request", "body": b"".join(parts), "more_body": False}
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._next_deadline()):
                message = await self._receive()
        except TimeoutError as exc:
            raise SlowRequestError(
                f"The request's body stopped after {self._received} bytes: nothing arrived within"
                f" {self._seconds:g} s. Send it again.",
            ) from exc
        self._received += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._received > self._limit:
            raise _too_large(self._limit)
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer; close the connection after it if much of the body is unread.

        A connection that is closed with unread data is reset, and the client may lose the answer.
        So the rest of the body is received for a while and dropped.
        """
        is_large = self._is_chunked or self._declared > _SMALL_BYTES
        if message["type"] == "http.response.start" and is_large and not self._complete:
            self._closes = True
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if self._closes and last:
            await self._send({**message, "more_body": True})
            await self._drop_rest()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    def _next_deadline(self) -> float:
        now = asyncio.get_running_loop().time()
        if self._deadline is None or self._limit > _SMALL_BYTES:
            self._deadline = now + self._seconds
        return self._deadline

    async def _drop_rest(self) -> None:
        dropped = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not self._complete and dropped < _DRAIN_BYTES:
                    message = await self._receive()
                    dropped += len(message.get("body", b""))
                    self._complete = not message.get("more_body", False)


def _too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"The request's body is larger than {limit} bytes, the most that this route accepts."
        " Send less data, or a reference."
    )


def without_prefix(path: str) -> str:
    """Return a path without the prefixes that the routes do not have."""
    # Clients that join an address ending in "/" with a path send "//"; IBM's services accept it.
    path = f"/{path.lstrip('/')}"
    for prefix in _PREFIXES:
        if path.startswith(f"{prefix}/"):
            return path.removeprefix(prefix)
    return path


async def _refuse_host(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    response = problem_response(421, "This service does not answer to that host name.")
    await response(scope, receive, send)
