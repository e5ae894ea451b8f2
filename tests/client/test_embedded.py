"""Finding, starting and replacing the embedded service: real processes, files and locks."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from prefect_qiskit_runtime.client import (
    RuntimeClient,
    _embedded as embedded_module,
    embedded_api,
    embedded_status,
    own_image,
    start_embedded,
    stop_embedded,
)
from prefect_qiskit_runtime.client._embedded import service_environment
from prefect_qiskit_runtime.errors import ConfigurationError, ConflictError, EmbeddedServiceError
from prefect_qiskit_runtime.models import Discovery, JobStatus, embedded_home, package_version
from prefect_qiskit_runtime.models.embedded_home import (
    EmbeddedHome,
    boot_id,
    host_name,
    identity_proof,
)
from prefect_qiskit_runtime.settings import Settings

from .conftest import Seen, Wire, answer

SLEEPER = """
import time
def main(backend, user_messenger):
    user_messenger.publish("up")
    time.sleep(600)
"""


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[Settings]:
    settings = Settings(home=tmp_path / "runtime", start_timeout_seconds=120)
    yield settings
    await stop_embedded(settings, only_if_idle=False)


@pytest.fixture
def home(settings: Settings) -> EmbeddedHome:
    home = EmbeddedHome(settings.embedded_dir(1))
    home.ensure()
    return home


def discovery(**changes: object) -> Discovery:
    known = Discovery(
        url="http://127.0.0.1:9",
        pid=os.getpid(),
        host=host_name(),
        boot_id=boot_id(),
        package_version=package_version(),
        started_at=datetime.now(UTC),
    )
    return known.model_copy(update=changes)


def identity(token: str):
    """Answer as a service that knows this token."""

    async def reply(seen: Seen, writer: asyncio.StreamWriter) -> None:
        proof = identity_proof(token, seen.query["nonce"][0])
        body = {
            "product": "prefect-qiskit-runtime",
            "protocol_version": 1,
            "package_version": "0.0.0",
            "proof": proof,
        }
        await answer(body)(seen, writer)

    return reply


async def wait_for_end(pid: int) -> None:
    """Wait until a process has ended."""
    descriptor = os.pidfd_open(pid)
    try:
        ended, _, _ = await asyncio.to_thread(select.select, [descriptor], [], [], 60)
        assert ended
    finally:
        os.close(descriptor)


# Without a service ------------------------------------------------------------------------


async def test_looking_starts_nothing(settings: Settings) -> None:
    assert await embedded_status(settings) is None
    assert await stop_embedded(settings) is False
    assert not settings.home.exists()


@pytest.mark.parametrize(
    "changes", [{"host": "elsewhere"}, {"boot_id": "another"}, {"pid": 2**22 + 1}]
)
async def test_a_discovery_of_another_life_is_not_even_asked(
    settings: Settings, home: EmbeddedHome, wire: Wire, changes: dict[str, object]
) -> None:
    token = home.read_or_create_token()
    wire.on("GET /.well-known/qiskit-runtime", identity(token))
    home.write_discovery(discovery(url=wire.url, **changes))
    assert await embedded_status(settings) is None
    assert wire.seen == []


@pytest.mark.parametrize("known_token", ["another token", None])
async def test_a_stranger_on_the_port_never_sees_the_token(
    settings: Settings, home: EmbeddedHome, wire: Wire, known_token: str | None
) -> None:
    home.read_or_create_token()
    if known_token:
        wire.on("GET /.well-known/qiskit-runtime", identity(known_token))
    home.write_discovery(discovery(url=wire.url))
    assert await embedded_status(settings) is None
    assert len(wire.seen) == 1
    assert "authorization" not in wire.seen[0].headers
    home.remove_discovery()


async def test_a_home_on_a_network_file_system_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_home, "_mounts", lambda: iter([(Path("/"), "nfs4")]))
    with pytest.raises(EmbeddedServiceError, match=r"network file system \(nfs4\)"):
        async with embedded_api(settings):
            pass


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        ([("/", "ext4")], None),
        ([("/", "nfs4"), ("/home", "xfs")], None),
        ([("/", "ext4"), ("/home", "nfs4"), ("/homes", "xfs")], "nfs4"),
        ([("/home", "xfs"), ("/home/me", "fuse.sshfs")], "fuse.sshfs"),
        ([("/", "ext4"), ("/home", "xfs"), ("/home", "cifs")], "cifs"),
        ([("/", "fuse.ntfs-3g")], None),
        ([], None),
    ],
)
def test_the_innermost_mount_decides(
    monkeypatch: pytest.MonkeyPatch, mounts: list[tuple[str, str]], expected: str | None
) -> None:
    table = [(Path(point), kind) for point, kind in mounts]
    monkeypatch.setattr(embedded_home, "_mounts", lambda: iter(table))
    assert embedded_home.network_file_system(Path("/home/me/.prefect")) == expected


def test_the_mount_table_of_this_machine_is_read() -> None:
    assert embedded_home._file_system(Path("/proc/self")) == "proc"


async def test_a_service_that_holds_its_home_and_does_not_answer_is_reported(
    settings: Settings, home: EmbeddedHome
) -> None:
    hasty = settings.model_copy(update={"start_timeout_seconds": 0.3})
    with home.try_lock(home.service_lock_path) as locked:
        assert locked
        for ask in (embedded_status, stop_embedded, start_embedded):
            with pytest.raises(EmbeddedServiceError, match="runs but does not answer here"):
                await ask(hasty)


async def test_windows_is_refused_with_what_to_use(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_module.sys, "platform", "win32")
    with pytest.raises(EmbeddedServiceError, match="team service"):
        await start_embedded(settings)
    monkeypatch.undo()


def fake_interpreter(tmp_path: Path, script: str) -> str:
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return str(path)


async def test_a_failed_start_shows_the_end_of_the_log_and_no_token(
    settings: Settings, home: EmbeddedHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.log_path.write_text("an older line\n")
    script = f"echo no such module; cat {home.token_path}; exit 3"
    monkeypatch.setattr(sys, "executable", fake_interpreter(tmp_path, script))
    with pytest.raises(EmbeddedServiceError) as caught:
        await start_embedded(settings)
    message = str(caught.value)
    assert "ended with exit code 3 while starting" in message
    assert message.endswith(f"The end of {home.log_path}:\nno such module\n***")


async def test_a_start_that_takes_too_long_is_ended(
    settings: Settings, home: EmbeddedHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid_file = tmp_path / "pid"
    script = f"echo $$ > {pid_file}; exec sleep 600"
    monkeypatch.setattr(sys, "executable", fake_interpreter(tmp_path, script))
    hasty = settings.model_copy(update={"start_timeout_seconds": 1.0})
    with pytest.raises(EmbeddedServiceError, match="was not ready after 1 s"):
        await start_embedded(hasty)
    assert not embedded_home.process_exists(int(pid_file.read_text()))


async def test_a_start_that_another_process_never_finishes_is_not_waited_for_long(
    settings: Settings, home: EmbeddedHome
) -> None:
    hasty = settings.model_copy(update={"start_timeout_seconds": 0.3})
    with home.try_lock(home.start_lock_path) as locked:
        assert locked
        with pytest.raises(EmbeddedServiceError, match="Another process has been starting"):
            await start_embedded(hasty)


def test_the_service_sees_no_secret_of_its_starter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    environment = service_environment(Settings(idle_seconds=7))
    assert "secret" not in environment.values()
    assert environment["LC_ALL"] == "C.UTF-8"
    assert environment["PREFECT_QISKIT_RUNTIME_IDLE_SECONDS"] == "7.0"
    assert "PATH" in environment


def test_the_image_of_a_virtual_environment_is_not_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "venv" / "bin" / "python"
    link.parent.mkdir(parents=True)
    link.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(link))
    assert own_image() == f"python:{link}"


# With the real service --------------------------------------------------------------------


async def test_the_service_starts_with_the_first_use_and_is_found_by_the_next(
    settings: Settings, home: EmbeddedHome
) -> None:
    async with embedded_api(settings) as api:
        first = await api.service_status()
        async with embedded_api(settings) as other:
            assert (await other.service_status()).pid == first.pid
    running = await embedded_status(settings)
    assert running is not None
    assert running.discovery.pid == first.pid
    assert running.token_file == home.token_path
    assert home.token_path.stat().st_mode & 0o777 == 0o600
    assert home.discovery_path.stat().st_mode & 0o777 == 0o600
    assert home.root.stat().st_mode & 0o777 == 0o700
    token = home.token_path.read_text()
    assert token not in home.discovery_path.read_text() + home.log_path.read_text()
    assert token not in Path(f"/proc/{first.pid}/cmdline").read_text()
    assert os.getsid(first.pid) == first.pid
    assert await stop_embedded(settings) is True
    assert not home.service_lives()
    assert await embedded_status(settings) is None


CONNECT = """
import asyncio
from prefect_qiskit_runtime.client import embedded_api

async def main():
    async with embedded_api() as api:
        print((await api.service_status()).pid)

asyncio.run(main())
"""


async def test_ten_processes_at_once_on_a_clean_home_get_one_service(settings: Settings) -> None:
    environment = {**os.environ, "PREFECT_QISKIT_RUNTIME_HOME": str(settings.home)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CONNECT], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(10)
    ]
    answers = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * 10
    running = await embedded_status(settings)
    assert running is not None
    assert set(answers) == {str(running.discovery.pid)}


async def test_a_killed_service_is_started_again_under_an_open_client(settings: Settings) -> None:
    async with embedded_api(settings) as api:
        first = await api.service_status()
        os.kill(first.pid, signal.SIGKILL)
        second = await api.service_status()
        assert second.pid != first.pid
        assert await api.list_jobs() == []


async def test_a_service_that_ended_idle_is_started_again_under_an_open_client(
    settings: Settings,
) -> None:
    brief = settings.model_copy(update={"idle_seconds": 0.2})
    async with embedded_api(brief) as api:
        first = await api.service_status()
        await wait_for_end(first.pid)
        assert (await api.service_status()).pid != first.pid


async def test_uses_that_meet_the_idle_end_all_get_an_answer(settings: Settings) -> None:
    brief = settings.model_copy(update={"idle_seconds": 0.1})
    pids = set()
    deadline = time.monotonic() + 60
    while len(pids) < 3:
        assert time.monotonic() < deadline
        async with embedded_api(brief) as api:
            assert await api.list_jobs() == []
            running = await api.service_status()
        pids.add(running.pid)
        # Come back around the moment at which it decides to end.
        await asyncio.sleep(0.1 + 0.01 * len(pids))


async def test_a_busy_service_is_not_stopped_unless_forced(settings: Settings) -> None:
    async with RuntimeClient(settings=settings) as client:
        program_id = await client.upload_program(SLEEPER, name="sleeper")
        job = await client.run(program_id)
        async for _ in job.stream():
            break
        with pytest.raises(ConflictError):
            await stop_embedded(settings)
        assert await stop_embedded(settings, only_if_idle=False)
        # The open client starts it again; the job is known and was not run twice.
        assert await job.status() is JobStatus.FAILED


async def test_an_idle_service_of_an_older_version_is_replaced_and_a_busy_one_kept(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await start_embedded(settings)
    monkeypatch.setattr(embedded_module, "package_version", lambda: "99.0")
    second = await start_embedded(settings)
    assert second.discovery.pid != first.discovery.pid
    monkeypatch.undo()
    async with RuntimeClient(settings=settings) as client:
        job = await client.run(await client.upload_program(SLEEPER, name="sleeper"))
        monkeypatch.setattr(embedded_module, "package_version", lambda: "99.0")
        third = await start_embedded(settings)
        assert third.discovery.pid == second.discovery.pid
        await job.cancel()


async def test_the_token_of_a_home_is_made_once(tmp_path: Path) -> None:
    home = EmbeddedHome(tmp_path)
    tokens = await asyncio.gather(
        *(asyncio.to_thread(home.read_or_create_token) for _ in range(10))
    )
    assert len(set(tokens)) == 1
    assert len(tokens[0]) == 43
    assert [path.name for path in tmp_path.iterdir()] == ["token"]
    assert json.dumps(tokens[0]).isascii()


async def test_an_emptied_token_is_made_again(tmp_path: Path) -> None:
    home = EmbeddedHome(tmp_path)
    home.token_path.touch()
    token = home.read_or_create_token()
    assert len(token) == 43
    assert home.read_or_create_token() == home.read_token() == token
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda home: home.token_path.write_bytes(b"\xff"), "token is damaged. Delete it"),
        (lambda home: home.token_path.mkdir(), "Cannot read .*token: Is a directory"),
        (lambda home: home.discovery_path.mkdir(), "Cannot read .*service.json: Is a directory"),
    ],
)
async def test_what_cannot_be_read_in_a_home_is_named(
    settings: Settings, home: EmbeddedHome, damage: Callable[[EmbeddedHome], object], message: str
) -> None:
    damage(home)
    with pytest.raises(EmbeddedServiceError, match=message):
        await embedded_status(settings)
    for path in (home.token_path, home.discovery_path):
        path.unlink() if path.is_file() else path.is_dir() and path.rmdir()


async def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "file")
    settings.home.touch()
    with pytest.raises(EmbeddedServiceError, match="Not a directory"):
        await start_embedded(settings)


def test_an_empty_variable_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_QISKIT_RUNTIME_HOME", raising=False)
    usual = Settings().home
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_HOME", "")
    assert Settings().home == usual


@pytest.mark.parametrize("name", ["max_execution_seconds", "job_memory_bytes", "job_file_bytes"])
def test_a_limit_that_the_system_cannot_take_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"PREFECT_QISKIT_RUNTIME_{name.upper()}", "9" * 30)
    with pytest.raises(ConfigurationError, match=f"{name.upper()} is wrong"):
        RuntimeClient()


def test_the_service_gets_each_setting_and_none_that_is_not_set() -> None:
    environment = service_environment(Settings(retention_days=7))
    assert environment["PREFECT_QISKIT_RUNTIME_RETENTION_DAYS"] == "7.0"
    assert "PREFECT_QISKIT_RUNTIME_RETENTION_BYTES_PER_USER" not in environment
