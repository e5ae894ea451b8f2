"""The pipe between program and broker: a JSON header on one line, then the bytes it announces."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from typing import Any

logger = logging.getLogger(__name__)

_VERSION = 1
_ASKS = ("device", "run")
_HEADER_BYTES = 64 * 1024


class ProgramPipe:
    """Reads the requests of a program and answers them, in any order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._writing = asyncio.Lock()

    @classmethod
    async def connect(cls, descriptor: int) -> ProgramPipe:
        """Take over a connected socket."""
        pipe = socket.socket(fileno=descriptor)
        return cls(*await asyncio.open_connection(sock=pipe, limit=_HEADER_BYTES))

    async def read(self) -> tuple[dict[str, Any], str] | None:
        """Return the next request with its body; None when the program is gone."""
        try:
            header = json.loads(await self._reader.readuntil(b"\n"))
            body = await self._reader.readexactly(header["bytes"])
            return _checked(header), body.decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        except (ValueError, KeyError, TypeError, asyncio.LimitOverrunError):
            logger.warning("The program wrote into the pipe of its broker itself: it is closed.")
            self._writer.close()
            return None

    def note(self, text: str) -> None:
        """Send a sentence for the log of the program's job; no request is answered by it."""
        line = json.dumps({"v": _VERSION, "note": text, "bytes": 0}).encode() + b"\n"
        self._writer.write(line)  # whole: a message is never written in parts

    async def answer(self, number: int, body: bytes) -> None:
        """Answer a request."""
        await self._send({"id": number}, body)

    async def refuse(self, number: int, error: dict[str, Any]) -> None:
        """Report why a request has no answer."""
        await self._send({"id": number, "error": error}, b"")

    async def _send(self, header: dict[str, Any], body: bytes) -> None:
        line = json.dumps({"v": _VERSION, **header, "bytes": len(body)}).encode()
        try:
            async with self._writing:
                self._writer.writelines([line, b"\n", body])
                await self._writer.drain()
        except ConnectionError:  # the program is gone; `read` returns None as well
            return


def _checked(header: dict[str, Any]) -> dict[str, Any]:
    """Return the header of a request.

    Raises:
        ValueError: The header is not a request, or has another version.
    """
    texts = ("primitive", "fingerprint") if header["ask"] == "run" else ()
    is_request = (
        header["v"] == _VERSION
        and header["ask"] in _ASKS
        and isinstance(header["id"], int)
        and all(isinstance(header[name], str) for name in texts)
    )
    if not is_request:
        raise ValueError("not a request of this version")
    return header
