"""Entry point, started by a service for one job: `python -m prefect_qiskit_runtime.broker FD`.

FD is a socket whose other end belongs to the program. The service writes two lines to standard
input: the order, including credentials, and later how the job has ended; an early end of file
means that the service is gone. The broker writes two lines to standard output: one when the
program may start, and one at the end with the time used; a line that reports a problem replaces
either.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import signal
import sys
from contextlib import suppress

from prefect_qiskit_runtime.broker._broker import Order, run
from prefect_qiskit_runtime.broker._pipe import ProgramPipe
from prefect_qiskit_runtime.errors import QiskitRuntimeError

_PR_SET_DUMPABLE = 4
_LINE_BYTES = 1024 * 1024


async def _main(descriptor: int) -> int:
    reader = asyncio.StreamReader(limit=_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )
    try:
        order = Order.read(await reader.readline())
        pipe = await ProgramPipe.connect(descriptor)
        seconds = await run(order, pipe, reader, ready=lambda: _say(ready=True))
    except QiskitRuntimeError as exc:
        _say(problem=f"{type(exc).__name__}: {exc}")
        return 1
    _say(quantum_seconds=seconds)
    return 0


def _say(**what: object) -> None:
    with suppress(BrokenPipeError):  # the service is gone
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


def _hide_memory() -> None:
    """Keep other processes of the same user from reading this memory (Linux): it holds a key."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


if __name__ == "__main__":
    _hide_memory()
    # The service reports the end of the job; an interrupt at a terminal reaches both processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s broker: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    sys.exit(asyncio.run(_main(int(sys.argv[1]))))
