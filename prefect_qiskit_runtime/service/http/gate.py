"""The first checks of every request: its host, its path prefix, the size and time of its body.

The bodies of all requests in progress take memory. Each user has a share of it, and so have all
callers without a valid token together.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prefect_qiskit_runtime.errors import QiskitRuntimeError
from prefect_qiskit_runtime.service.problem import (
    PayloadTooLargeError,
    SlowRequestError,
    TooManyBytesError,
    UnsupportedEncodingError,
    error_response,
    problem_response,
)
from prefect_qiskit_runtime.settings import Settings

LARGEST_BODY_BYTES = 300 * 1000**2
"""IBM's limit on the inputs of a job."""

# Each generation of IBM's clients uses one of these (see the protocol reference). They are
# stripped here, because routing every path four times would slow down the start.
_PREFIXES = ("/experimental/api/v1", "/experimental", "/api/v1", "/api")

_LONGEST_SHOWN = 40
_SMALL_BYTES = 64 * 1024
_LOGIN_BYTES = 8 * 1024
_METADATA_BYTES = 1000**2
_RESERVE_BYTES = 32 * 1000**2
_RETRY_SECONDS = 2
_DRAIN_SECONDS = 2.0
_DRAIN_BYTES = 32 * 1000**2


class Gate:
    """ASGI middleware around the whole app.

    Args:
        app: The app.
        hosts: Accepted values of `Host`; None for any. This refuses web pages whose host name was
            made to resolve to this machine, because browsers send that name as `Host`.
        user_of: Returns the user of a request; None without a valid token.
        settings: The largest source of a program, and the limits of bodies.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str] | None,
        user_of: Callable[[HTTPConnection], str | None],
        settings: Settings,
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._user_of = user_of
        self._shares = _Shares(settings.request_bytes_per_user)
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
        limit = min(
            self._limits.of_route(scope["method"], scope["path"]), self._shares.largest_body
        )
        share = _Share(self._shares, self._sender(scope, headers))
        body = _Body(receive, send, share, limit=limit, seconds=self._seconds, headers=headers)
        try:
            await self._forward(scope, headers, body)
        finally:
            share.release()

    async def _forward(self, scope: Scope, headers: Mapping[bytes, bytes], body: _Body) -> None:
        try:
            _require_plain(headers)
            body.check_declared()
            arrived = body.limit > _SMALL_BYTES or await body.read_completely()
        except QiskitRuntimeError as exc:
            await error_response(exc)(scope, body.receive, body.send)
            return
        if arrived:
            await self._app(scope, body.receive, body.send)

    def _sender(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str | None:
        """Return the user whose share a request's body takes; None if it has no valid token."""
        has_body = b"content-length" in headers or b"transfer-encoding" in headers
        return self._user_of(HTTPConnection(scope)) if has_body else None


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


class _Shares:
    """The bytes of the bodies of requests in progress, by user; None for those without a token."""

    def __init__(self, bytes_per_user: int) -> None:
        self.largest_body = bytes_per_user
        self._in_use: Counter[str | None] = Counter()

    def take(self, user: str | None, num_bytes: int, *, most: int) -> None:
        """Count more bytes of a user.

        Raises:
            TooManyBytesError: The user would have more than `most`; nothing was counted.
        """
        if self._in_use[user] + num_bytes > most:
            whose = "requests without a valid token" if user is None else "your requests"
            raise TooManyBytesError(
                f"The bodies of {whose} that are in progress have {self._in_use[user]} bytes, and"
                f" with {num_bytes} more they would exceed {most}. Nothing was done: send this one"
                " again when another is finished.",
                retry_after_seconds=_RETRY_SECONDS,
            )
        self._in_use[user] += num_bytes

    def give_back(self, user: str | None, num_bytes: int) -> None:
        """Stop counting bytes of a user."""
        self._in_use[user] -= num_bytes
        if not self._in_use[user]:
            del self._in_use[user]


class _Share:
    """The bytes of one request's body, counted until it is answered."""

    def __init__(self, shares: _Shares, user: str | None) -> None:
        self.user = user
        self._shares = shares
        self._num_bytes = 0

    def grow(self, num_bytes: int) -> None:
        """Count the bytes of a body, which may grow; small ones may use a reserve.

        Raises:
            TooManyBytesError: The user has too many bytes in progress.
        """
        reserve = _RESERVE_BYTES if num_bytes <= _SMALL_BYTES else 0
        more = num_bytes - self._num_bytes
        if more > 0:
            self._shares.take(self.user, more, most=self._shares.largest_body + reserve)
            self._num_bytes = num_bytes

    def release(self) -> None:
        """Stop counting them."""
        self._shares.give_back(self.user, self._num_bytes)
        self._num_bytes = 0


class _Body:
    """The body of one request, received within limits of size and time."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        share: _Share,
        *,
        limit: int,
        seconds: float,
        headers: Mapping[bytes, bytes],
    ) -> None:
        self._receive = receive
        self._send = send
        self._share = share
        self.limit = limit
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
        """Refuse a body that declares more bytes than its route accepts, or its user may send.

        Raises:
            PayloadTooLargeError: Its route does not accept a body of that size.
            TooManyBytesError: Other requests of the user are in progress.
        """
        if self._declared > self.limit:
            raise _too_large(self.limit)
        if self._share.user is not None:  # others are refused before their body is received
            self._share.grow(self._declared)

    async def read_completely(self) -> bool:
        """Receive a small body before the app is called; return False if the client left.

        Until then, an unfinished request costs little more than its connection.

        Raises:
            PayloadTooLargeError: The body is larger than its route accepts.
            SlowRequestError: The body did not arrive in time.
            TooManyBytesError: The user has too many bytes in progress.
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
            TooManyBytesError: The user has too many bytes in progress.
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
        if self._received > self.limit:
            raise _too_large(self.limit)
        self._share.grow(self._received)
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
            self._share.release()  # the rest is not kept
            await self._drop_rest()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    def _next_deadline(self) -> float:
        now = asyncio.get_running_loop().time()
        if self._deadline is None or self.limit > _SMALL_BYTES:
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


def _require_plain(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a compressed body: a small one could take any amount of memory when unpacked.

    Raises:
        UnsupportedEncodingError: The body is compressed.
    """
    coding = headers.get(b"content-encoding", b"identity").decode("latin-1")
    if coding.strip().lower() not in ("", "identity"):
        raise UnsupportedEncodingError(
            "The service accepts bodies without a content encoding only, not"
            f" {coding[:_LONGEST_SHOWN]!r}. Send the body as it is."
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
