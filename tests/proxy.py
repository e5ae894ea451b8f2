"""A real proxy between a client and a service, which breaks chosen requests."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

Moment = Literal["before", "after"]

EMPTY_LISTING = b'{"jobs": [], "count": 0}'


@dataclass
class Fault:
    """A fault of some of the requests.

    Attributes:
        request: Pattern of "METHOD /target" that it is for.
        moment: Before the service gets the request, or after it has answered.
        action: "cut" the connection, or what to answer instead: a status.
        body: What to answer with a status.
        times: How many of the requests it is for.
        skip: How many it leaves alone first.
        after_lines: For streams: after this many lines of the answer have passed.
        call: Called when it happens.
    """

    request: str
    moment: Moment
    action: Literal["cut"] | int = "cut"
    body: bytes = b"{}"
    times: int = 1
    skip: int = 0
    after_lines: int | None = None
    call: Callable[[], object] = lambda: None
    happened: int = field(default=0, init=False)


class Proxy:
    """Passes on requests to a service on this machine, one to a connection."""

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.removeprefix("http://").partition(":")
        self._upstream = host, int(port)
        self.faults: list[Fault] = []
        self.seen: list[str] = []
        self._refusing_seconds: float | None = None
        self._kinds: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)

    def refuse_between_kinds(self, seconds: float) -> None:
        """Refuse connections for a while, now and whenever a request of another kind has come."""
        self._refusing_seconds = seconds
        self._kinds.clear()
        asyncio.run_coroutine_threadsafe(self._refuse(seconds), self._loop).result(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._serving: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _refuse(self, seconds: float) -> None:
        """Stop listening; connections that there are stay."""
        self._server.close()
        self._serving.add(self._loop.create_task(self._listen_in(seconds)))

    async def _listen_in(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if not self._server.is_serving():
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._pass_on(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._serving.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        self.seen.append(f"{method} {target}")
        await self._refuse_after(f"{method} {target}")
        fault = self._fault(f"{method} {target}")
        if fault is not None and fault.moment == "before":
            await self._break(fault, writer)
            return
        upstream, sending = await asyncio.open_connection(*self._upstream)
        # One request to a connection, so that the end of the answer is the end of the bytes.
        once = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head)
        sending.write(once.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + body)
        try:
            await self._answer(fault, upstream, writer)
        finally:
            sending.close()

    async def _answer(
        self, fault: Fault | None, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if fault is not None and fault.after_lines is None:
            await upstream.read()
            await self._break(fault, writer)
            return
        lines = 0
        while chunk := await upstream.readline():
            writer.write(chunk)
            await writer.drain()
            lines += chunk.startswith(b"{")
            if fault is not None and lines == fault.after_lines:
                await self._break(fault, writer)
                return

    async def _break(self, fault: Fault, writer: asyncio.StreamWriter) -> None:
        fault.call()
        if isinstance(fault.action, int):
            head = f"HTTP/1.1 {fault.action} Any\r\nConnection: close\r\n"
            writer.write(f"{head}Content-Length: {len(fault.body)}\r\n\r\n".encode() + fault.body)
            await writer.drain()

    async def _refuse_after(self, request: str) -> None:
        kind = re.sub(r"\?.*|/[^/?]*\d[^/?]*", "", request)  # without what is another each time
        if self._refusing_seconds is not None and kind not in self._kinds:
            self._kinds.add(kind)
            await self._refuse(self._refusing_seconds)

    def _fault(self, request: str) -> Fault | None:
        for fault in self.faults:
            if re.match(fault.request, request) and fault.happened < fault.skip + fault.times:
                fault.happened += 1
                return fault if fault.happened > fault.skip else None
        return None
