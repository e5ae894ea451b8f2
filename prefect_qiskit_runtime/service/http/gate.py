"""The first checks of every request: its host, the size of its body, and its path prefix."""

from __future__ import annotations

from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prefect_qiskit_runtime.service.problem import (
    PayloadTooLargeError,
    error_response,
    problem_response,
)

LARGEST_BODY_BYTES = 300 * 1000**2
"""IBM's limit on the inputs of a job."""

# Each generation of IBM's clients uses one of these (see the protocol reference). They are
# stripped here, because routing every path four times would slow down the start.
_PREFIXES = ("/experimental/api/v1", "/experimental", "/api/v1", "/api")


class Gate:
    """ASGI middleware around the whole app.

    Args:
        app: The app.
        hosts: Accepted values of `Host`; None for any. This refuses web pages whose host name was
            made to resolve to this machine, because browsers send that name as `Host`.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] | None) -> None:
        self._app = app
        self._hosts = hosts

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
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > LARGEST_BODY_BYTES:
            await error_response(_too_large())(scope, receive, send)
            return
        await self._app(scope, _limit_body(receive), send)


def _limit_body(receive: Receive) -> Receive:
    """Limit a body that does not declare its length."""
    received = 0

    async def count() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > LARGEST_BODY_BYTES:
            raise _too_large()
        return message

    return count


def _too_large() -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"The request is larger than {LARGEST_BODY_BYTES} bytes. Send less data, or a reference."
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
