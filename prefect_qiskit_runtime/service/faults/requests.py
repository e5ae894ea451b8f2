"""Scenarios for requests: refuse them, break their connections, or send no answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.faults.connections import Connections
from prefect_qiskit_runtime.service.faults.scenarios import Cut, Refuse, Silence
from prefect_qiskit_runtime.service.problem import problem_response

_CLOSE_GOING_AWAY = 1001


@dataclass
class Exchange:
    """One request, with the app that would answer it."""

    app: ASGIApp
    scope: Scope
    receive: Receive
    send: Send

    @property
    def is_websocket(self) -> bool:
        """Whether the request is a websocket handshake."""
        return self.scope["type"] == "websocket"

    async def forward(self) -> None:
        """Let the app answer."""
        await self.app(self.scope, self.receive, self.send)

    async def answer(self, response: Response) -> None:
        """Answer instead of the app."""
        if self.is_websocket:
            await _deny(self, response)
            return
        await self.read_body()
        await response(self.scope, self.receive, self.send)

    async def collect(self) -> list[Message]:
        """Let the app answer, and return its messages without sending them."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self.app(self.scope, self.receive, keep)
        return messages

    async def read_body(self) -> list[Message]:
        """Read the body of the request to its end, or until the client is gone."""
        messages: list[Message] = []
        while True:
            messages.append(await self.receive())
            if messages[-1]["type"] != "http.request" or not messages[-1].get("more_body"):
                return messages

    def with_body(self, messages: list[Message]) -> Exchange:
        """Return the exchange with a body that has already been read."""
        unread = list(messages)

        async def receive() -> Message:
            return unread.pop(0) if unread else await self.receive()

        return Exchange(self.app, self.scope, receive, self.send)

    async def wait_for_disconnect(self) -> None:
        """Wait until the client disconnects."""
        while (await self.receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
            pass


async def refuse(exchange: Exchange, how: Refuse) -> None:
    """Answer with an error."""
    if how.after_effect and not exchange.is_websocket:
        await exchange.collect()
    details = {} if how.solution is None else {"solution": how.solution}
    response = problem_response(how.status, how.message, code=how.code, **details)
    if how.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(how.retry_after_seconds)
    if how.after_effect:
        await response(exchange.scope, exchange.receive, exchange.send)
    else:
        await exchange.answer(response)


async def cut(exchange: Exchange, how: Cut, connections: Connections) -> None:
    """Break the connection."""
    if how.moment == "half_body":
        await _send_half(exchange, connections)
        return
    if how.moment == "after_effect":
        if exchange.is_websocket:
            await exchange.receive()
            await exchange.send({"type": "websocket.accept"})
        else:
            await exchange.collect()
    connections.reset(exchange.scope)
    await exchange.wait_for_disconnect()


async def keep_silent(
    exchange: Exchange, how: Silence, clock: Clock, removed: asyncio.Event
) -> None:
    """Send nothing for a time, or until the scenario is removed; then continue if possible."""

    async def is_over() -> bool:
        return await _is_over(exchange, how.seconds, clock, removed)

    if exchange.is_websocket:
        await exchange.receive()
        await exchange.send({"type": "websocket.accept"})
        if await is_over():
            await exchange.send({"type": "websocket.close", "code": _CLOSE_GOING_AWAY})
        return
    continued = exchange.with_body(await exchange.read_body())
    if how.moment == "before_effect":
        if await is_over():
            await continued.forward()
    elif how.moment == "after_effect":
        answer = await continued.collect()
        if await is_over():
            for message in answer:
                await exchange.send(message)
    else:
        await _answer_after_headers(continued, is_over)


async def _answer_after_headers(exchange: Exchange, is_over: Callable[[], Awaitable[bool]]) -> None:
    sent_headers = silence_over = False

    async def send(message: Message) -> None:
        nonlocal sent_headers, silence_over
        if sent_headers and not silence_over:
            silence_over = await is_over()
        sent_headers = True
        await exchange.send(message)

    await exchange.app(exchange.scope, exchange.receive, send)


async def _is_over(
    exchange: Exchange, seconds: float | None, clock: Clock, removed: asyncio.Event
) -> bool:
    """Wait for the end of a silence; return whether the client is still connected."""
    gone = asyncio.create_task(exchange.wait_for_disconnect())
    waits = [gone, asyncio.create_task(removed.wait())]
    if seconds is not None:
        waits.append(asyncio.create_task(clock.sleep(seconds)))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        return not gone.done()
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def _send_half(exchange: Exchange, connections: Connections) -> None:
    """Let the app answer, but close the connection within the first part of its answer."""
    is_broken = asyncio.Event()

    async def send(message: Message) -> None:
        if is_broken.is_set():
            return
        half = _half(message)
        if half is None:
            await exchange.send(message)
            return
        is_broken.set()
        await exchange.send(half)
        connections.close(exchange.scope)

    async def receive() -> Message:
        if is_broken.is_set():
            return {"type": f"{exchange.scope['type']}.disconnect"}
        return await exchange.receive()

    await exchange.app(exchange.scope, receive, send)


def _half(message: Message) -> Message | None:
    """Return the first half of a message, marked as incomplete; None if it has no body."""
    if message["type"] == "websocket.send":
        return message
    body = message.get("body", b"")
    if message["type"] != "http.response.body" or not body:
        return None
    return {**message, "body": body[: len(body) // 2], "more_body": True}


async def _deny(exchange: Exchange, response: Response) -> None:
    """Refuse a websocket handshake with an HTTP answer."""
    await exchange.receive()
    await exchange.send(
        {
            "type": "websocket.http.response.start",
            "status": response.status_code,
            "headers": response.raw_headers,
        }
    )
    await exchange.send({"type": "websocket.http.response.body", "body": response.body})
