"""A service on a real socket that answers, or misbehaves, exactly as a test writes it."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.settings import Settings

TOKEN = "a-very-secret-token"


@dataclass
class Seen:
    """A request as it came over the wire."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Reply = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Wire:
    """Answers each `METHOD /path` with the replies of its list, one by one, the last for ever."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    replies: dict[str, list[Reply]] = field(default_factory=dict)
    serving: set[asyncio.Task[None] | None] = field(default_factory=set)
    # The other end has closed a connection on which a reply was still going on.
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    def on(self, call: str, *replies: Reply) -> None:
        self.replies[call] = list(replies)

    def calls(self, call: str) -> list[Seen]:
        return [seen for seen in self.seen if f"{seen.method} {seen.path}" == call]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            seen = await _read_request(reader)
            self.seen.append(seen)
            replies = self.replies.get(f"{seen.method} {seen.path}") or [refuse(404, "none")]
            reply = replies.pop(0) if len(replies) > 1 else replies[0]
            replying = asyncio.ensure_future(reply(seen, writer))
            hanging_up = asyncio.ensure_future(reader.read(1))  # clients send one request each
            await asyncio.wait({replying, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
            if not replying.done():
                self.hung_up.set()
            replying.cancel()
            hanging_up.cancel()
            await asyncio.gather(replying, hanging_up, return_exceptions=True)
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


async def _read_request(reader: asyncio.StreamReader) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request_line, *header_lines = head.rstrip().split("\r\n")
    method, target, _ = request_line.split(" ")
    headers = {}
    for line in header_lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    url = urlsplit(target)
    return Seen(method, url.path, parse_qs(url.query), headers, body)


def answer(body: Any = None, status: int = 200, **headers: str) -> Reply:
    """Answer properly; text and bytes go out as they are, other values as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    if isinstance(body, str):
        content = body.encode()

    async def reply(seen: Seen, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} Any", "Connection: close"]
        lines.append(f"Content-Length: {len(content)}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        await writer.drain()

    return reply


def refuse(status: int, message: str, **headers: str) -> Reply:
    return answer({"error": {"message": message, "code": status}}, status, **headers)


async def cut(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Close the connection instead of answering."""
    writer.close()


async def hang(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


def stream(*parts: Any, then: str = "end") -> Reply:
    """Send parts of a stream (bytes as they are, dicts as lines), then "end", "cut" or "hang"."""

    async def reply(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in parts:
            chunk = part if isinstance(part, bytes) else json.dumps(part).encode() + b"\n"
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        if then == "end":
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        if then == "hang":
            await asyncio.Event().wait()
        if then == "cut":
            writer.close()

    return reply


def interim(seq: int, data: str | None = None) -> dict[str, Any]:
    return {"type": "interim", "seq": seq, "data": json.dumps(seq) if data is None else data}


def end(count: int, status: str = "Completed") -> dict[str, Any]:
    return {"type": "end", "state": {"status": status}, "interim_count": count}


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async for served in _serve(None):
        yield served


async def _serve(tls: ssl.SSLContext | None) -> AsyncIterator[Wire]:
    wire = Wire()
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    wire.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    async with server:
        yield wire
    for task in wire.serving:
        assert task is not None
        await asyncio.wait_for(task, 10)


@pytest.fixture
async def api(wire: Wire) -> AsyncIterator[RuntimeApi]:
    async with RuntimeApi(wire.url, TOKEN, settings=Settings(request_timeout_seconds=30)) as api:
        yield api


@pytest.fixture
async def tls_wire(tmp_path: Path) -> AsyncIterator[tuple[Wire, str]]:
    """Give a service behind a self-signed certificate, and the path of that."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = (
        "openssl req -x509 -nodes -days 1 -newkey ec -pkeyopt ec_paramgen_curve:P-256"
        f" -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    async for served in _serve(tls):
        yield served, str(certificate)


@pytest.fixture
def unused_port() -> int:
    """A port without a listener."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
