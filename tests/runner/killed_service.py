"""A service that runs one program and prints its interim results, until it is killed."""

import asyncio
import sys
from pathlib import Path

from prefect_qiskit_runtime.service.execution.executor import Interim, JobLaunch
from prefect_qiskit_runtime.service.execution.fork_executor import ForkExecutor
from prefect_qiskit_runtime.settings import Settings


async def serve(program: Path) -> None:
    launch = JobLaunch(
        "j",
        "p",
        program.read_text(),
        b"{}",
        "aer_simulator",
        "python:" + sys.executable,
        "WARNING",
        60,
        program.parent / "s",
        program.parent / "log",
    )
    async for event in await ForkExecutor(Settings()).launch(launch):
        if isinstance(event, Interim):
            print(event.data, flush=True)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
