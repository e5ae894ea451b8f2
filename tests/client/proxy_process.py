"""A proxy in a separate process: CONNECT and plain requests, for one user and password.

It goes to one address on this machine, whatever is asked for, and prints what it was asked, and
the status of its answer if it let nothing through.
"""

from __future__ import annotations

import asyncio
import base64
import sys
from contextlib import suppress


async def serve(goes_to: int, login: str) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            first = head.split(b"\r\n")[0].decode()
            if login and f"proxy-authorization: basic {login}" not in head.decode().lower():
                print(f"407 {first}", flush=True)
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n")
                writer.write(b'Proxy-Authenticate: Basic realm="p"\r\nContent-Length: 0\r\n\r\n')
                await writer.drain()
                writer.close()
                return
            print(first, flush=True)
            if "forbidden.test" in first:
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                writer.close()
                return
            onward = await asyncio.open_connection("127.0.0.1", goes_to)
            if first.startswith("CONNECT"):
                writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                onward[1].write(_as_to_the_host(head))
            await asyncio.gather(pass_on(reader, onward[1]), pass_on(onward[0], writer))

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    print(f"ready {server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


def _as_to_the_host(head: bytes) -> bytes:
    """Turn a request to a proxy into one to the host, the only one of its connection."""
    first, _, rest = head.partition(b"\r\n")
    method, url, version = first.split(b" ")
    path = b"/" + url.split(b"/", 3)[3]
    return b" ".join([method, path, version]) + b"\r\nConnection: close\r\n" + _lines(rest)


def _lines(headers: bytes) -> bytes:
    kept = [line for line in headers.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join(kept)


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    user_and_password = sys.argv[2] if len(sys.argv) > 2 else ""
    encoded = base64.b64encode(user_and_password.encode()).decode().lower()
    asyncio.run(serve(int(sys.argv[1]), encoded))
