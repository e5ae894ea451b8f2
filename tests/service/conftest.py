"""A real service process with its own home, and an app in-process with a scripted executor."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from prefect_qiskit_runtime.models import Discovery
from prefect_qiskit_runtime.models.embedded_home import EmbeddedHome
from prefect_qiskit_runtime.service.access_tokens import Authenticator
from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.context import ServiceContext
from prefect_qiskit_runtime.service.devices import Devices
from prefect_qiskit_runtime.service.execution.executor import Event, Exited, JobLaunch
from prefect_qiskit_runtime.service.execution.images import AnyInterpreter
from prefect_qiskit_runtime.service.execution.run import JobFolders
from prefect_qiskit_runtime.service.execution.scheduler import Interference, Scheduler
from prefect_qiskit_runtime.service.feed import Feed
from prefect_qiskit_runtime.service.http.app import create_app
from prefect_qiskit_runtime.service.store import Store
from prefect_qiskit_runtime.service.store.records import Owner
from prefect_qiskit_runtime.settings import Settings
from tests.waiting import wait_until

DEADLINE_SECONDS = 60.0

# Publishes numbers, waits at a given number, and returns a part of its inputs.
COUNTING = """
import os, time

def main(backend, user_messenger, n=3, wait_for=None, wait_at=0, result="done"):
    for i in range(n):
        if wait_for is not None and i == wait_at:
            print("waiting", flush=True)
            while not os.path.exists(wait_for):
                time.sleep(0.005)
        user_messenger.publish({"i": i})
    return result
"""


class Api:
    """The few calls that most tests make, over a real connection."""

    def __init__(self, url: str, token: str) -> None:
        self.http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=DEADLINE_SECONDS,
            trust_env=False,
        )

    def upload(self, source: str = COUNTING, name: str = "counting", **fields: Any) -> str:
        answer = self.http.post("/programs", content=program_body(source, name=name, **fields))
        assert answer.status_code in (200, 201), answer.text
        return answer.json()["id"]

    def submit(self, program_id: str, *, key: str | None = None, **fields: Any) -> str:
        headers = {} if key is None else {"Idempotency-Key": key}
        body = json.dumps({"program_id": program_id, **fields})
        answer = self.http.post("/jobs", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    def state(self, job_id: str) -> dict[str, Any]:
        return self.http.get(f"/jobs/{job_id}").json()["state"]

    def wait_for_state(self, job_id: str, status: str) -> None:
        wait_until(lambda: self.state(job_id)["status"] == status, f"{job_id} is {status}")

    def events(self, job_id: str, from_seq: int = 0) -> Iterator[dict[str, Any]]:
        with self.http.stream("GET", f"/jobs/{job_id}/stream?from={from_seq}") as stream:
            assert stream.status_code == 200
            for line in stream.iter_lines():
                yield json.loads(line)

    def finish(self, job_id: str) -> dict[str, Any]:
        """Wait for the end of a job; return its state."""
        *_, end = self.events(job_id, from_seq=2**31)
        assert end["type"] == "end"
        return end["state"]


@dataclass
class ServiceProcess:
    """A service process of a home."""

    root: Path
    process: subprocess.Popen[bytes]
    apis: list[Api] = field(default_factory=list)

    @property
    def home(self) -> EmbeddedHome:
        return EmbeddedHome(self.root)

    @property
    def discovery(self) -> Discovery:
        discovery = self.home.read_discovery()
        assert discovery is not None
        return discovery

    @property
    def token(self) -> str:
        return self.home.read_token() or ""

    def api(self) -> Api:
        self.apis.append(Api(self.discovery.url, self.token))
        return self.apis[-1]

    def close(self) -> None:
        for api in self.apis:
            api.http.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_SECONDS)

    def log(self) -> str:
        return self.home.log_path.read_text()


def start_process(root: Path, *arguments: str, **settings: object) -> ServiceProcess:
    """Start a service and wait until it is ready."""
    root.mkdir(parents=True, exist_ok=True)
    names = {f"PREFECT_QISKIT_RUNTIME_{k.upper()}": str(v) for k, v in settings.items()}
    with (root / "service.log").open("ab") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "prefect_qiskit_runtime.service"),
                *("--embedded", "--home", str(root), *arguments),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **names},
            start_new_session=True,
        )
    service = ServiceProcess(root, process)

    def ready() -> bool:
        assert process.poll() is None, service.log()
        discovery = service.home.read_discovery()
        return discovery is not None and discovery.pid == process.pid

    wait_until(ready, "the service is ready")
    return service


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[Callable[..., ServiceProcess]]:
    """Start services of the test's own home; they are ended with the test."""
    started: list[ServiceProcess] = []

    def start(*arguments: str, **settings: object) -> ServiceProcess:
        service = start_process(tmp_path / "home" / "v1", *arguments, **settings)
        started.append(service)
        return service

    yield start
    for service in started:
        service.kill()
        service.close()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """One service for the tests that leave it as it is."""
    root = tmp_path_factory.mktemp("service") / "v1"
    service = start_process(root, max_concurrent_jobs=4, terminate_grace_seconds=1)
    yield service
    assert service.terminate() == 0
    assert "Traceback" not in service.log()


@pytest.fixture(scope="session")
def api(service: ServiceProcess) -> Iterator[Api]:
    yield service.api()
    service.close()


@pytest.fixture(scope="session")
def counting(api: Api) -> str:
    """Id of the counting program."""
    return api.upload()


def program_body(source: str, **fields: Any) -> str:
    data = base64.b64encode(source.encode()).decode()
    return json.dumps({"name": "program", "data": data, **fields})


def upload(client: httpx.Client, source: str = COUNTING, **fields: object) -> str:
    """Upload a program; return its id."""
    answer = client.post("/programs", content=program_body(source, **fields))
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def submit(client: httpx.Client, program_id: str, **fields: object) -> str:
    """Submit a job; return its id."""
    answer = client.post("/jobs", json={"program_id": program_id, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def finish(client: httpx.Client, job_id: str) -> dict[str, object]:
    """Wait for the end of a job; return its state."""
    client.get(f"/jobs/{job_id}/stream")
    return client.get(f"/jobs/{job_id}").json()["state"]


@dataclass
class ScriptedExecution:
    """A job whose events the test sends."""

    launch: JobLaunch
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    terminated: bool = False

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            event = await self.events.get()
            yield event
            if isinstance(event, Exited):
                return

    def send(self, *events: Event) -> None:
        for event in events:
            self.events.put_nowait(event)

    def exit(self, code: int = 0) -> None:
        self.send(Exited(code, None, False))

    async def terminate(self) -> None:
        if not self.terminated:
            self.terminated = True
            self.send(Exited(None, signal.SIGTERM, False))


class ScriptedExecutor:
    """Starts nothing: each launch waits for the test."""

    def __init__(self) -> None:
        self.launched: asyncio.Queue[ScriptedExecution] = asyncio.Queue()
        self.fault: Exception | None = None
        self.refused = 0

    async def warm(self, image: str) -> None:
        pass

    async def launch(self, launch: JobLaunch) -> ScriptedExecution:
        if self.fault is not None:
            self.refused += 1
            raise self.fault
        execution = ScriptedExecution(launch)
        self.launched.put_nowait(execution)
        return execution

    async def next(self) -> ScriptedExecution:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.launched.get()

    async def close(self) -> None:
        pass


class LocalService:
    """The app within the test's event loop, with the users alice and bob."""

    def __init__(self, context: ServiceContext, executor: ScriptedExecutor) -> None:
        self.context = context
        self.executor = executor
        self.app = create_app(context)

    def client(self, user: str = "alice") -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app),
            base_url="http://service",
            headers={"Authorization": f"Bearer token-of-{user}"},
        )

    async def program(self, client: httpx.AsyncClient, **fields: Any) -> str:
        return (await client.post("/programs", content=program_body(COUNTING, **fields))).json()[
            "id"
        ]

    async def job(self, client: httpx.AsyncClient, program_id: str, **fields: Any) -> str:
        answer = await client.post("/jobs", json={"program_id": program_id, **fields})
        return answer.json()["id"]

    async def ended(self, job_id: str) -> None:
        """Wait for the end of a job."""
        from prefect_qiskit_runtime.service.http.routes.stream import StreamSource, follow

        source = StreamSource(self.context.store, self.context.feed, job_id)
        async with asyncio.timeout(DEADLINE_SECONDS):
            async for _page in follow(source, 2**31):
                pass


@asynccontextmanager
async def run_locally(root: Path, empty: Path, **settings: Any) -> AsyncIterator[LocalService]:
    given = Settings(home=root, **settings)
    if not (root / "runtime.db").exists():
        shutil.copy(empty, root / "runtime.db")
    store = Store.open(root / "runtime.db")
    executor, feed, clock = ScriptedExecutor(), Feed(), Clock()
    folders = JobFolders(scratch=root / "scratch", logs=root / "logs", hardware=root / "hardware")
    folders.logs.mkdir(exist_ok=True)
    scheduler = Scheduler(
        store=store,
        executor=executor,
        feed=feed,
        folders=folders,
        max_concurrent_jobs=given.max_concurrent_jobs,
        clock=clock,
        interference=Interference(),
        credentials_wait_seconds=given.credentials_wait_seconds,
    )
    await scheduler.start()
    context = ServiceContext(
        settings=given,
        store=store,
        scheduler=scheduler,
        executor=executor,
        feed=feed,
        devices=Devices(),
        authenticator=Authenticator(
            {f"token-of-{user}": Owner(user, "") for user in ("alice", "bob")}, clock
        ),
        job_logs_dir=folders.logs,
        journals_dir=folders.hardware,
        images=AnyInterpreter(f"python:{sys.executable}"),
        clock=clock,
    )
    try:
        yield LocalService(context, executor)
    finally:
        await context.checker.close()
        await scheduler.close()
        await store.close()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that has its tables: to make them takes longer than most tests."""
    path = tmp_path_factory.mktemp("database") / "runtime.db"

    async def make() -> None:
        await Store.open(path).close()

    with asyncio.Runner() as runner:
        runner.run(make())
    return path


@pytest.fixture
async def local(tmp_path: Path, empty_database: Path) -> AsyncIterator[LocalService]:
    async with run_locally(tmp_path, empty_database, max_concurrent_jobs=2) as service:
        yield service


@pytest.fixture
def locally(tmp_path: Path, empty_database: Path) -> Callable[..., Any]:
    """Run the app on the test's own folder, again and again on the same data."""
    return lambda **settings: run_locally(tmp_path, empty_database, **settings)
