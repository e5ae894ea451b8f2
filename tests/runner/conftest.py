import asyncio
import os
import select
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import pytest_asyncio

from prefect_qiskit_runtime.service.execution.executor import (
    Event,
    Exited,
    Interim,
    JobLaunch,
    ProgramError,
    Result,
)
from prefect_qiskit_runtime.service.execution.fork_executor import ForkExecutor
from prefect_qiskit_runtime.settings import Settings

IMAGE = f"python:{sys.executable}"


@dataclass
class Ended:
    """All that came of one job."""

    launch: JobLaunch
    events: list[Event] = field(default_factory=list)

    def only(self, kind: type[Any]) -> Any:
        """The one event of a kind."""
        (event,) = [event for event in self.events if isinstance(event, kind)]
        return event

    @property
    def result(self) -> str:
        return self.only(Result).data

    @property
    def error(self) -> ProgramError:
        return self.only(ProgramError)

    @property
    def exited(self) -> Exited:
        assert isinstance(self.events[-1], Exited)
        return self.only(Exited)

    @property
    def interim(self) -> list[str]:
        return [event.data for event in self.events if isinstance(event, Interim)]

    @property
    def log(self) -> str:
        return self.launch.log_path.read_text("utf-8")


@dataclass
class Jobs:
    """Launches programs given as text."""

    executor: ForkExecutor
    folder: Path

    def describe(self, source: str, **fields: Any) -> JobLaunch:
        job_id = uuid.uuid4().hex
        launch = JobLaunch(
            job_id=job_id,
            program_id="hello-1234",
            source=dedent(source),
            inputs=b"{}",
            backend="aer_simulator",
            image=IMAGE,
            log_level="WARNING",
            max_execution_seconds=60,
            scratch=self.folder / "scratch" / job_id,
            log_path=self.folder / "logs" / job_id,
        )
        return replace(launch, **fields)

    async def run(self, source: str, **fields: Any) -> Ended:
        ended = Ended(self.describe(source, **fields))
        async for event in await self.executor.launch(ended.launch):
            ended.events.append(event)
        return ended


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings(
        terminate_grace_seconds=0.5,
        job_memory_bytes=512 * 1024**2,
        job_file_bytes=1024**2,
        log_bytes=64 * 1024,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["fork", "single-use"])
async def jobs(
    request: pytest.FixtureRequest, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Jobs]:
    executor = ForkExecutor(settings, single_use=request.param == "single-use", threads=2)
    yield Jobs(executor, tmp_path_factory.mktemp("jobs"))
    await executor.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def forked(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Jobs]:
    """Jobs of a fork server, for what only that does or where the way does not matter."""
    executor = ForkExecutor(settings, single_use=False, threads=2)
    yield Jobs(executor, tmp_path_factory.mktemp("jobs"))
    await executor.close()


def _has_ended(pid: int) -> bool:
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watched], [], [], 20)[0])
    finally:
        os.close(watched)


@pytest.fixture
def wait_ended() -> Callable[[int], Any]:
    """Wait until a process of any parent has ended; False after 20 s."""
    return lambda pid: asyncio.to_thread(_has_ended, pid)
