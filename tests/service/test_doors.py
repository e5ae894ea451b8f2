"""Requests that must not disturb other users: half-open, oversized, and expensive ones.

Each test starts a team service with two slots. Alice attacks, or a caller without a token; bob is
idle and asks small questions meanwhile, every tenth on a new connection. His slowest answer is the
measure (see `bob`).
"""

from __future__ import annotations

import asyncio
import base64
import ctypes
import fcntl
import gzip
import json
import logging
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from prefect_qiskit_runtime.errors import ServiceUnavailableError
from prefect_qiskit_runtime.service.checker import Checker, _connected_pair
from prefect_qiskit_runtime.service.checks import LIMITS
from prefect_qiskit_runtime.service.http.server import RepeatFilter
from prefect_qiskit_runtime.settings import Settings
from tests.team import TOKENS, TeamService, start_team
from tests.waiting import wait_until

from .bob import Bob, timed
from .conftest import COUNTING, finish, program_body, submit, upload

SLOWEST_SECONDS = 0.25
RESULT_OF = """
def main(backend, user_messenger, size):
    return "x" * size
"""
INTERIM_OF = """
def main(backend, user_messenger, size, count=1):
    for _ in range(count):
        user_messenger.publish("x" * size)
"""
WRITES_PAST_THE_RUNNER = """
import json, os, sys

def main(backend, user_messenger, kind, size):
    header = json.dumps({"v": 1, "type": kind, "bytes": size}).encode() + b"\\n"
    for number in range(3, 100):  # the job's own pipe is the one that takes a message
        try:
            if os.readlink(f"/proc/self/fd/{number}").startswith("pipe"):
                os.write(number, header)
        except OSError:
            pass
    block = b"x" * 2**20 if size else header * 1000
    while True:
        for number in range(3, 100):
            try:
                os.write(number, block)
            except OSError:
                pass
"""


@contextmanager
def team_with(home: Path, **settings: object) -> Iterator[TeamService]:
    """Run a warm service with two slots and the given settings."""
    names = {"max_concurrent_jobs": 2, **settings}
    team = start_team(
        home, **{f"PREFECT_QISKIT_RUNTIME_{name.upper()}": str(v) for name, v in names.items()}
    )
    try:
        with team.client("bob") as client:
            finish(client, submit(client, upload(client)))
        yield team
        assert team.terminate() == 0
        assert "Traceback" not in team.log
    finally:
        team.close()


def connect(team: TeamService) -> socket.socket:
    url = urlsplit(team.url)
    assert url.hostname is not None
    return socket.create_connection((url.hostname, url.port), timeout=30)


def read_answer(connection: socket.socket) -> bytes:
    """Return an answer that ends with the first closing brace of its JSON body."""
    answer = b""
    while not answer.endswith(b"}"):
        answer += connection.recv(4096)
    return answer


def peak_mebibytes(team: TeamService) -> float:
    """Return the largest memory that the service has had."""
    status = Path(f"/proc/{team.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


HALF_OPEN = {
    "nothing": b"",
    "half a head": b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Le",
    "a head without its body": (
        b"POST /identity/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
    ),
}


@pytest.mark.parametrize("kind", HALF_OPEN)
def test_half_open_requests_without_a_token_shut_no_user_out(tmp_path: Path, kind: str) -> None:
    with team_with(tmp_path / "home", max_connections=300) as team, ExitStack() as stack:
        log_before = len(team.log)
        with Bob(team) as bob, team.client("alice") as alice:
            for _ in range(1060):
                half_open = stack.enter_context(connect(team))
                half_open.sendall(HALF_OPEN[kind])
            ends = [finish(alice, submit(alice, upload(alice))) for _ in range(3)]
        bob.assert_undisturbed(SLOWEST_SECONDS)
        assert [end["status"] for end in ends] == ["Completed"] * 3
        assert len(team.log) - log_before < 20_000


def test_a_connection_whose_head_does_not_arrive_is_closed(tmp_path: Path) -> None:
    with (
        team_with(tmp_path / "home", request_head_seconds=0.3) as team,
        connect(team) as silent,
        connect(team) as slow,
    ):
        slow.sendall(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in read_answer(slow)
        slow.sendall(b"GET /version HT")  # the second request of the connection
        assert silent.recv(1) == b""
        assert slow.recv(1) == b""


def test_an_endless_head_is_refused(tmp_path: Path) -> None:
    with team_with(tmp_path / "home") as team, connect(team) as connection:
        before = peak_mebibytes(team)
        connection.sendall(b"GET /jobs HTTP/1.1\r\nHost: localhost\r\n")
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                connection.sendall(b"X: " + b"x" * 100_000 + b"\r\n")
        assert peak_mebibytes(team) - before < 50


def test_the_parser_that_limits_heads_is_used_even_if_httptools_is_installed() -> None:
    script = """
import sys, types
sys.modules["httptools"] = types.ModuleType("httptools")
from uvicorn.protocols.http.h11_impl import H11Protocol
from prefect_qiskit_runtime.service.faults.connections import Connections as Breakable
from prefect_qiskit_runtime.service.http.connections import ConnectionLimits
from prefect_qiskit_runtime.service.http.server import Server, listen

for http in (None, Breakable().protocol()):
    limits = ConnectionLimits(9, 9, 9.0)
    server = Server(None, listen("127.0.0.1", 0), limits=limits, http=http)
    print(issubclass(server.config.http, H11Protocol))
"""
    reported = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert reported.stdout == "True\nTrue\n"


def test_a_body_that_does_not_arrive_is_answered(tmp_path: Path) -> None:
    with team_with(tmp_path / "home", request_body_seconds=0.3) as team, connect(team) as slow:
        slow.sendall(HALF_OPEN["a head without its body"])
        assert slow.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_connections_of_one_address_are_limited_on_their_own(tmp_path: Path) -> None:
    with team_with(tmp_path / "home", max_connections_per_peer=20) as team, ExitStack() as stack:
        crowd = [stack.enter_context(connect(team)) for _ in range(60)]
        assert crowd[0].recv(1) == b""  # the oldest made room
        crowd[-1].sendall(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in crowd[-1].recv(4096)


def test_20_mb_to_the_login_are_refused_unread(tmp_path: Path) -> None:
    with team_with(tmp_path / "home") as team, Bob(team) as bob:
        before = peak_mebibytes(team)
        with httpx.Client(base_url=team.url, trust_env=False, timeout=30) as anyone:
            begin = time.perf_counter()
            declared = anyone.post("/identity/token", content=b"&a=" * 7_000_000)
            chunked = anyone.post("/identity/token", content=iter([b"&a=" * 10_000] * 700))
            seconds = time.perf_counter() - begin
        assert (declared.status_code, chunked.status_code) == (413, 413)
        assert declared.headers["connection"] == "close"
        assert "8192 bytes" in declared.json()["error"]["message"]
        assert seconds < 5
        assert peak_mebibytes(team) - before < 30
    bob.assert_undisturbed(SLOWEST_SECONDS)


async def test_every_route_limits_its_body(local) -> None:
    large = {
        ("POST", "/jobs"),
        ("POST", "/programs"),
        ("PUT", "/programs/{program_id}/data"),
        ("PATCH", "/programs/{program_id}"),
    }
    refused = set()
    async with local.client() as client:
        document = (await client.get("/openapi.json")).json()
        routes = {
            (method.upper(), path)
            for path, methods in document["paths"].items()
            for method in methods
        }
        for method, path in routes:
            answer = await client.request(
                method, path.replace("{", "").replace("}", ""), content=b"x" * (64 * 1024 + 1)
            )
            if answer.status_code == 413:
                refused.add((method, path))
    assert routes - refused == large
    assert len(refused) > 20


def begin_upload(team: TeamService, user: str | None, size: int, *, chunked: bool = False):
    """Open a connection and send the head of a submission, and the first bytes of its body."""
    upload = connect(team)
    token = "" if user is None else f"Authorization: Bearer {TOKENS[user]}\r\n"
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    head = f"POST /jobs HTTP/1.1\r\nHost: localhost\r\n{token}{length}\r\n\r\n"
    upload.sendall(head.encode() + (f"{size:x}\r\n".encode() if chunked else b"") + b"{")
    return upload


def test_the_bodies_of_one_user_are_limited_together(tmp_path: Path) -> None:
    with team_with(tmp_path / "home", request_bytes_per_user=1_000_000) as team:
        with begin_upload(team, "alice", 600_000), begin_upload(team, "alice", 600_000) as second:
            answer = read_answer(second)
            assert answer.startswith(b"HTTP/1.1 429 ")
            assert b"\r\nretry-after: 2\r\n" in answer
            assert b"have 600000 bytes, and with 600000 more they would exceed 1000000" in answer
            with begin_upload(team, "alice", 600_000, chunked=True) as third:
                with suppress(ConnectionError):  # it may be refused while it is sent
                    third.sendall(b" " * 599_999)
                assert read_answer(third).startswith(b"HTTP/1.1 429 ")
            with team.client("alice") as alice, team.client("bob") as bob:
                small = submit(alice, upload(alice))  # such bodies have a reserve
                assert bob.post("/jobs", content=b" " * 600_000).status_code == 400
                assert finish(alice, small)["status"] == "Completed"
        with team.client("alice") as alice:  # both have left
            wait_until(
                lambda: alice.post("/jobs", content=b" " * 900_000).status_code == 400,
                "the share is free again",
            )
            assert alice.post("/jobs", content=b" " * 1_000_001).status_code == 413


def test_a_body_without_a_valid_token_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    with team_with(tmp_path / "home", request_bytes_per_user=1_000_000) as team:
        with ExitStack() as stack:
            uploads = [stack.enter_context(begin_upload(team, None, 900_000)) for _ in range(3)]
            answers = [read_answer(upload) for upload in uploads]
        assert [answer[:13] for answer in answers] == [b"HTTP/1.1 401 "] * 3


def test_many_large_uploads_of_one_user_disturb_no_other_and_have_a_limit(tmp_path: Path) -> None:
    size = 50 * 1000**2
    with team_with(tmp_path / "home") as team, Bob(team) as bob, ExitStack() as stack:
        before = peak_mebibytes(team)
        uploads = [stack.enter_context(begin_upload(team, "alice", size)) for _ in range(20)]
        for refused in uploads[6:]:  # six of them have 300 MB
            assert read_answer(refused).startswith(b"HTTP/1.1 429 ")
        rest = b'"program_id": "none", "params": {"text": "' + b"x" * (size - 50)
        with ThreadPoolExecutor(6) as threads:
            list(threads.map(lambda upload: upload.sendall(rest), uploads[:6]))
            missing = size - 1 - len(rest)
            list(threads.map(lambda up: up.sendall(b'"}}'.rjust(missing, b"x")), uploads[:6]))
            answers = list(threads.map(read_answer, uploads[:6]))
        assert [answer[:13] for answer in answers] == [b"HTTP/1.1 404 "] * 6
        assert peak_mebibytes(team) - before < 900
    bob.assert_undisturbed(SLOWEST_SECONDS)


LARGE = 15 * 1000**2
LARGE_ANSWERS = {
    "results": "GET /jobs/{}/results",
    "inputs": "GET /jobs/{}",
    "interim results": "GET /jobs/{}/interim_results",
    "stream": "GET /jobs/{}/stream",
    "websocket": "GET /stream/jobs/{}",
}
LARGE_JOB = """
def main(backend, user_messenger, text):
    user_messenger.publish(text)
    return text
"""
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate\r\n"
)


def ask(team: TeamService, request: str, user: str = "alice") -> socket.socket:
    """Send a request on a new connection, whose answer is not read."""
    connection = connect(team)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    more = UPGRADE if "/stream/jobs" in request else ""
    head = f"{request} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKENS[user]}\r\n"
    connection.sendall(f"{head}{more}\r\n".encode())
    return connection


@pytest.fixture(scope="module")
def small_shares(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TeamService, str]]:
    """A service with little memory for answers, and a job of alice with large ones."""
    home = tmp_path_factory.mktemp("shares") / "home"
    with team_with(home, answer_bytes_per_user=2 * LARGE) as team, team.client("alice") as alice:
        job_id = submit(alice, upload(alice, LARGE_JOB), params={"text": "x" * LARGE})
        assert finish(alice, job_id)["status"] == "Completed"
        yield team, job_id


@pytest.mark.parametrize("kind", LARGE_ANSWERS)
def test_large_answers_that_are_not_read_disturb_no_other_user_and_have_a_limit(
    small_shares: tuple[TeamService, str], kind: str
) -> None:
    team, job_id = small_shares
    Path(f"/proc/{team.process.pid}/clear_refs").write_text("5")  # the peak begins here
    before = peak_mebibytes(team)
    with Bob(team) as bob, ExitStack() as stack:
        request = LARGE_ANSWERS[kind].format(job_id)
        unread = [stack.enter_context(ask(team, request)) for _ in range(40)]
        served, _, _ = select.select(unread, [], [], 60)
        assert served[0].recv(4096).startswith(b"HTTP/1.1 ")
        with team.client("bob") as bob_too:  # he has a share too
            his = submit(bob_too, upload(bob_too, LARGE_JOB), params={"text": "x" * 200_000})
            assert finish(bob_too, his)["status"] == "Completed"
            assert len(bob_too.get(f"/jobs/{his}/results").content) == 200_002
    bob.assert_undisturbed(SLOWEST_SECONDS)
    assert peak_mebibytes(team) - before < 150
    with team.client("alice") as alice:  # her connections are closed
        assert len(alice.get(f"/jobs/{job_id}/results").content) == LARGE + 2


def test_a_client_that_reads_nothing_is_disconnected_when_others_of_its_user_wait(
    tmp_path: Path,
) -> None:
    limits = {"answer_bytes_per_user": 1_000_000, "request_body_seconds": 0.5}
    with team_with(tmp_path / "home", **limits) as team, team.client("alice") as alice:
        job_id = submit(alice, upload(alice, LARGE_JOB), params={"text": "x" * LARGE})
        assert finish(alice, job_id)["status"] == "Completed"
        for closed, request in enumerate(LARGE_ANSWERS.values()):
            with ask(team, request.format(job_id)) as unread:
                while b"xxx" not in unread.recv(4096):  # it has the memory
                    pass
                assert len(alice.get(f"/jobs/{job_id}/results").content) == LARGE + 2
                why = "its client reads nothing, and other answers of its user wait"
                assert team.log.count(why) == closed + 1


@pytest.mark.parametrize("path", ["/jobs", "/programs", "/identity/token"])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "identity, gzip"])
def test_compressed_bodies_are_refused_without_unpacking_them(
    quick_checks: TeamService, path: str, coding: str
) -> None:
    bomb = gzip.compress(bytes(5_000_000))  # 5 kB
    before = peak_mebibytes(quick_checks)
    with quick_checks.client("alice") as alice:
        answer = alice.post(path, content=bomb, headers={"Content-Encoding": coding})
        assert answer.status_code == 415
        assert f"not {coding!r}" in answer.json()["error"]["message"]
        plain = alice.post(path, content=b"{}", headers={"Content-Encoding": "identity"})
        assert plain.status_code != 415
    assert peak_mebibytes(quick_checks) - before < 30


def test_messages_of_a_websocket_are_neither_packed_nor_large(
    small_shares: tuple[TeamService, str],
) -> None:
    team, job_id = small_shares
    with ask(team, LARGE_ANSWERS["websocket"].format(job_id)) as client:
        head = client.recv(4096)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"sec-websocket-extensions" not in head.lower()
        with pytest.raises(ConnectionError):
            client.sendall(b"\x81\xff" + struct.pack(">Q", 10**8) + bytes(4))
            while True:  # until it is reset
                client.sendall(bytes(65536))


MANY_VALUES = {
    "lists": b"[" + b"[]," * 2_000_000 + b"[]]",
    "numbers": b"[" + b"0.5," * 1_500_000 + b"1]",
    "objects": b"[" + b'{"a":1},' * 750_000 + b"{}]",
}


@pytest.mark.parametrize("kind", MANY_VALUES)
def test_inputs_of_a_million_values_delay_no_other_user(tmp_path: Path, kind: str) -> None:
    with team_with(tmp_path / "home") as team, team.client("alice") as alice:
        body = b'{"program_id": "%s", "params": {"result": %s}}'
        body %= upload(alice).encode(), MANY_VALUES[kind]
        with Bob(team) as bob:
            submitted = alice.post("/jobs", content=body)
            assert submitted.status_code == 200
        assert finish(alice, submitted.json()["id"])["status"] == "Completed"
        bob.assert_undisturbed(SLOWEST_SECONDS)


async def test_a_large_submission_is_read_as_a_small_one(local) -> None:
    async with local.client() as client:
        program_id = await local.program(
            client, spec={"parameters": {"properties": {"n": {"type": "integer"}}}}
        )
        filling = "é\\u00e9" * 100_000
        params = f'{{"n": 1,  "text": "{filling}"}}'
        body = f'{{"tags":["ü"], "params" : {params}, "program_id":"{program_id}"}}'
        submitted = await client.post("/jobs", content=body.encode())
        job = (await client.get(f"/jobs/{submitted.json()['id']}")).json()
        assert job["params"] == json.loads(params)
        assert job["tags"] == ["ü"]
        assert f'"params": {params}' in (await client.get(f"/jobs/{job['id']}")).text
        refused = {
            body.replace('"n": 1', '"n": "x"'): (400, "$.n"),
            body.replace(params, f'"{filling}"'): (400, "$.params"),
            body.replace('["ü"]', f'["{filling}"]'): (413, "$.tags"),
            body[:-1]: (400, None),
            "{" + "".join(f'"{n}":{{}},' for n in range(60_000)) + body[1:]: (400, None),
        }
        for wrong, expected in refused.items():
            answer = await client.post("/jobs", content=wrong.encode())
            assert (answer.status_code, answer.json()["error"].get("path")) == expected


@pytest.mark.parametrize(
    ("source", "inputs", "reason"),
    [
        (
            RESULT_OF,
            {"size": 200_000},
            "The result has 200002 bytes, and the service accepts at most",
        ),
        (
            INTERIM_OF,
            {"size": 60_000},
            "An interim result has 60002 bytes, and the service accepts",
        ),
        (INTERIM_OF, {"size": 10_000, "count": 30}, "of which"),
        (INTERIM_OF, {"size": 1, "count": 1001}, "a job may publish 1000, and this one has"),
        (WRITES_PAST_THE_RUNNER, {"kind": "interim", "size": 0}, "more than 1000 interim results"),
        (WRITES_PAST_THE_RUNNER, {"kind": "result", "size": 10**9}, "of 1000000000 bytes; at most"),
        (WRITES_PAST_THE_RUNNER, {"kind": "interim", "size": 10**9}, "1000000000 bytes; at most"),
    ],
)
def test_a_result_over_the_limit_fails_its_job(
    small_limits: TeamService, source: str, inputs: dict[str, object], reason: str
) -> None:
    before = peak_mebibytes(small_limits)
    with Bob(small_limits) as bob, small_limits.client("alice") as alice:
        job_id = submit(alice, upload(alice, source), params=inputs)
        state = finish(alice, job_id)
        assert state["reasonCode"] == 90010, state
        assert reason in str(state["reason"])
        assert alice.delete(f"/jobs/{job_id}").status_code == 204
    bob.assert_undisturbed(SLOWEST_SECONDS)
    assert peak_mebibytes(small_limits) - before < 60


@pytest.fixture(scope="module")
def small_limits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamService]:
    home = tmp_path_factory.mktemp("small") / "home"
    limits = {
        "result_bytes": 100_000,
        "interim_bytes": 50_000,
        "interim_total_bytes": 200_000,
        "interim_results": 1000,
    }
    with team_with(home, **limits) as team:
        yield team


@pytest.mark.slow
def test_results_of_gigabytes_fail_with_the_default_limits(tmp_path: Path) -> None:
    with team_with(tmp_path / "home") as team, Bob(team) as bob, team.client("alice") as alice:
        before = peak_mebibytes(team)
        result = submit(alice, upload(alice, RESULT_OF), params={"size": 10**9})
        interim = submit(alice, upload(alice, INTERIM_OF), params={"size": 1_500_000_000})
        for job_id in (result, interim):
            assert finish(alice, job_id)["reasonCode"] == 90010
            assert alice.delete(f"/jobs/{job_id}").status_code == 204
        assert not list((team.home / "scratch").iterdir())
        assert peak_mebibytes(team) - before < 100
    bob.assert_undisturbed(SLOWEST_SECONDS)


def test_jobs_wait_while_the_service_can_open_no_files(tmp_path: Path) -> None:
    with team_with(tmp_path / "home") as team, team.client("alice") as alice:
        program_id = upload(alice)
        pid = team.process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        open_files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_files + 1, limits[1]))
        jobs = [submit(alice, program_id) for _ in range(3)]
        wait_until(lambda: "goes back into the queue" in team.log, "a job was put back")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        assert [finish(alice, job_id)["status"] for job_id in jobs] == ["Completed"] * 3


READ_SERVICE = """
import os

def main(backend, user_messenger, service):
    def read(pid):
        try:
            return open(f"/proc/{pid}/environ", "rb").read().decode()
        except PermissionError:
            return "refused"
    return {"service": read(service), "fork server": read(os.getppid()), "own": dict(os.environ)}
"""


def without_capabilities(start: Callable[[], TeamService]) -> TeamService:
    """Start a service that may not read everything even if root runs the tests."""

    def drop_and_start() -> TeamService:
        libc = ctypes.CDLL(None)
        for number in range(64):  # of this thread, and so of the processes that it starts
            libc.prctl(24, number, 0, 0, 0)  # PR_CAPBSET_DROP
        return start()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(drop_and_start).result()


def test_a_program_cannot_read_the_environment_of_the_service(tmp_path: Path) -> None:
    variables = {"PREFECT_QISKIT_RUNTIME_TOKEN_CAROL": "carols-secret"}
    team = without_capabilities(lambda: start_team(tmp_path / "home", "--user=carol", **variables))
    try:
        with team.client("alice") as alice:
            job_id = submit(
                alice, upload(alice, READ_SERVICE), params={"service": team.process.pid}
            )
            assert finish(alice, job_id)["status"] == "Completed"
            seen = alice.get(f"/jobs/{job_id}/results").json()
        assert seen["service"] == "refused"
        assert "PATH=" in seen["fork server"]  # the control: such a file can be read
        assert "carols-secret" not in str(seen)
        # Even a process that may read everything finds no token.
        environment = Path(f"/proc/{team.process.pid}/environ").read_bytes()
        assert b"PREFECT_QISKIT_RUNTIME_TOKEN_CAROL=xxxxxxxxxxxxx\0" in environment
        with httpx.Client(base_url=team.url, trust_env=False) as carol:
            answer = carol.get("/jobs", headers={"Authorization": "Bearer carols-secret"})
            assert answer.status_code == 200
        assert team.terminate() == 0
    finally:
        team.close()


def test_a_job_is_interrupted_when_its_fork_server_dies(tmp_path: Path) -> None:
    source = """
import os, signal

def main(backend, user_messenger):
    os.kill(os.getppid(), signal.SIGKILL)
    signal.pause()
"""
    with team_with(tmp_path / "home") as team, team.client("alice") as alice:
        state = finish(alice, submit(alice, upload(alice, source)))
        assert (state["status"], state["reasonCode"]) == ("Failed", 1500)
        assert finish(alice, submit(alice, upload(alice)))["status"] == "Completed"


E_MAIL = r"^([a-zA-Z0-9])(([\-.]|[_]+)?([a-zA-Z0-9]+))*(@){1}[a-z0-9]+[.][a-z]{2,3}$"


def doubling(depth: int) -> dict[str, object]:
    """Return a schema that checks each value 2**depth times."""
    parts: dict[str, object] = {"d0": {"type": "string"}}
    for number in range(1, depth + 1):
        parts[f"d{number}"] = {"allOf": [{"$ref": f"#/$defs/d{number - 1}"}] * 2}
    return {"$defs": parts, "properties": {"text": {"$ref": f"#/$defs/d{depth}"}}}


@pytest.fixture(scope="module")
def quick_checks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamService]:
    home = tmp_path_factory.mktemp("checks") / "home"
    with team_with(home, check_seconds=1, check_memory_bytes=256 * 1024**2) as team:
        yield team


def with_schema(parameters: object) -> dict[str, object]:
    return {"spec": {"parameters": parameters}}


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"properties": {"text": {"pattern": "^(a|a)*$"}}}, "a" * 26 + "!"),
        ({"properties": {"text": {"pattern": E_MAIL}}}, "a" * 32),
        (doubling(24), "a"),
    ],
    ids=["(a|a)*", "e-mail", "allOf"],
)
def test_a_schema_that_takes_too_long_is_refused(
    quick_checks: TeamService, schema: dict[str, object], text: str
) -> None:
    with quick_checks.client("alice") as alice, quick_checks.client("bob") as bob_too:
        program_id = upload(alice, **with_schema(schema))
        his = upload(bob_too, **with_schema({"properties": {"n": {"type": "integer"}}}))
        body = {"program_id": program_id, "params": {"text": text}}
        with Bob(quick_checks) as bob, ThreadPoolExecutor(4) as threads:
            attacks = [threads.submit(alice.post, "/jobs", json=body) for _ in range(4)]
            with timed(quick_checks.process.pid) as timing:
                job_id = submit(bob_too, his, params={"n": 1})
            assert timing.of_service < SLOWEST_SECONDS, timing
            answers = [attack.result() for attack in attacks]
        assert finish(bob_too, job_id)["status"] == "Completed"
    bob.assert_undisturbed(SLOWEST_SECONDS)
    for answer in answers:
        error = answer.json()["error"]
        if answer.status_code == 503 and bob.machine_is_busy:
            assert "because the machine is busy" in error["message"]
            continue
        assert answer.status_code == 400
        assert error["rule"] == "checked within 1 s"
        assert "could not be checked within 1.0 s" in error["message"]


def test_a_source_that_takes_too_much_to_parse_is_refused(quick_checks: TeamService) -> None:
    source = COUNTING + "x = [" + "[]," * 1_600_000 + "]"  # 4.8 MB
    before = peak_mebibytes(quick_checks)
    with Bob(quick_checks) as bob, quick_checks.client("alice") as alice:
        uploaded = alice.post("/programs", content=program_body(source))
        assert uploaded.status_code == 400
        assert uploaded.json()["error"]["rule"] == "checked with 268 MB"
        program_id = upload(alice)
        data = base64.b64encode(source.encode())
        assert alice.put(f"/programs/{program_id}/data", content=data).status_code == 400
        assert finish(alice, submit(alice, program_id))["status"] == "Completed"
    bob.assert_undisturbed(SLOWEST_SECONDS)
    assert peak_mebibytes(quick_checks) - before < 100


def test_a_source_over_5_mb_is_refused(quick_checks: TeamService) -> None:
    with quick_checks.client("alice") as alice:
        largest = COUNTING + "#" * (5_000_000 - len(COUNTING))
        assert alice.post("/programs", content=program_body(largest)).status_code == 201
        answer = alice.post("/programs", content=program_body(largest + "#"))
        assert answer.status_code == 413
        assert "has 5000001 bytes" in answer.json()["error"]["message"]
        assert alice.post("/programs", content=program_body(largest * 2)).status_code == 413


def test_a_service_is_ready_when_its_checks_are(tmp_path: Path) -> None:
    team = start_team(tmp_path / "home")
    try:
        checkers = [
            pid
            for pid in children_of(team.process.pid)
            if b"prefect_qiskit_runtime.service.checks" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        assert len(checkers) == 1
        assert children_of(checkers[0])  # one waits for a check
        assert team.terminate() == 0
    finally:
        team.close()


async def test_a_checker_that_was_killed_is_replaced(local) -> None:
    async with local.client() as client:
        schema = with_schema({"properties": {"n": {"type": "integer"}}})
        program_id = await local.program(client, **schema)
        checker = local.context.checker
        checker._process.kill()
        await checker._process.wait()
        answer = await client.post("/jobs", json={"program_id": program_id, "params": {"n": "x"}})
        assert answer.json()["error"]["path"] == "$.n"


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def signal_all(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # a child whose check has just ended
            os.kill(pid, number)


async def is_refused(client: httpx.AsyncClient, program_id: str) -> bool:
    """Return whether inputs that break the rule for `n` are refused for that reason."""
    answer = await client.post("/jobs", json={"program_id": program_id, "params": {"n": "x"}})
    return (answer.status_code, answer.json()["error"].get("path")) == (400, "$.n")


async def test_the_check_after_the_death_of_the_waiting_child_is_made_at_once(local) -> None:
    async with local.client() as client:
        schema = with_schema({"properties": {"n": {"type": "integer"}}})
        program_id = await local.program(client, **schema)
        signal_all(children_of(local.context.checker._process.pid), signal.SIGKILL)
        begin = time.monotonic()
        assert await is_refused(client, program_id)
        assert time.monotonic() - begin < local.context.settings.check_seconds


async def test_checks_that_waited_for_a_process_that_was_killed_are_made_by_the_next(local) -> None:
    async with local.client() as client:
        schema = with_schema({"properties": {"n": {"type": "integer"}}})
        program_id = await local.program(client, **schema)
        checker = local.context.checker
        process, waiting = checker._process, children_of(checker._process.pid)
        signal_all((process.pid, *waiting), signal.SIGSTOP)
        asked = [asyncio.create_task(is_refused(client, program_id)) for _ in range(2)]
        while not unread_bytes(checker._control):
            await asyncio.sleep(0)
        signal_all((process.pid, *waiting), signal.SIGKILL)
        assert await asyncio.gather(*asked) == [True, True]


async def test_the_limit_of_a_check_is_computing_time_so_that_a_busy_machine_refuses_none() -> None:
    checker = Checker(Settings())
    loop = asyncio.get_running_loop()
    with _connected_pair() as (ours, theirs):
        await checker._hand_over(LIMITS.pack(0.5, 10**9), theirs)
        theirs.close()
        with pytest.raises(TimeoutError):  # the check waits for its text, which takes no computing
            async with asyncio.timeout(1.0):
                await loop.sock_recv(ours, 1)
        text = b'{"kind": "program", "schemas": {}, "has_source": false}\n'
        await loop.sock_sendall(ours, text)
        ours.shutdown(socket.SHUT_WR)
        assert await loop.sock_recv(ours, 100) == b"{}"
    await checker.close()


async def test_a_checker_that_is_stuck_is_replaced_once_for_all_that_wait() -> None:
    checker = Checker(Settings(check_seconds=0.1))
    await checker.warm()
    stuck, waiting = checker._process, children_of(checker._process.pid)
    signal_all((stuck.pid, *waiting), signal.SIGSTOP)
    schema = {"properties": {"n": {"type": "integer"}}}
    checks = (checker.check_inputs(user, "p", schema, b'{"n": 1}') for user in ("alice", "bob"))
    try:
        answers = await asyncio.gather(*checks, return_exceptions=True)
        assert [type(answer) for answer in answers] == [ServiceUnavailableError] * 2
        assert await checker.check_inputs("alice", "p", schema, b'{"n": 1}') is None
        assert stuck.returncode == -signal.SIGKILL
    finally:
        signal_all(waiting, signal.SIGKILL)
        await checker.close()


async def test_a_check_that_raises_is_not_reported_as_a_lack_of_memory(local) -> None:
    async with local.client() as client:
        schema = with_schema({"properties": {"n": {"multipleOf": 0.1}}})
        program_id = await local.program(client, **schema)
        content = f'{{"program_id": "{program_id}", "params": {{"n": NaN}}}}'
        inputs = await client.post("/jobs", content=content)
        program = await client.post(
            "/programs", content=program_body(COUNTING, **with_schema({"$schema": {}}))
        )
    for answer, kind in ((inputs, "ValueError"), (program, "TypeError")):
        assert answer.status_code == 400
        assert f"the check ended with {kind}. Nothing" in answer.json()["error"]["message"]


def unread_bytes(control: socket.socket) -> int:
    """Return the number of bytes that were sent and not received yet."""
    count = fcntl.ioctl(control, termios.TIOCOUTQ, struct.pack("i", 0))
    return struct.unpack("i", count)[0]


def test_equal_lines_of_the_log_are_limited_and_counted() -> None:
    now = 0.0
    limit = RepeatFilter(lambda: now)

    def is_logged(text: str) -> str | None:
        record = logging.makeLogRecord({"name": "a", "levelno": 30, "msg": text})
        return record.getMessage() if limit.filter(record) else None

    assert [is_logged("refused") for _ in range(7)] == ["refused"] * 5 + [None] * 2
    assert is_logged("something else") == "something else"
    now = 61.0
    assert is_logged("refused") == "refused [left out before: 2 equal lines]"
    assert is_logged("refused") == "refused"


def test_a_listener_without_its_spare_file_closes_no_file_of_others() -> None:
    script = """
import asyncio, os, resource
from prefect_qiskit_runtime.service.http.connections import ConnectionLimits, Connections
from prefect_qiskit_runtime.service.http.server import listen

async def main():
    listener = Connections(ConnectionLimits(9, 9, 9.0)).listener(listen("127.0.0.1", 0))
    listener.setblocking(False)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (listener._spare, hard))
    try:
        listener.accept()
    except OSError as exc:
        print(exc.strerror)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    other = os.open(os.devnull, os.O_RDONLY)
    listener.close()
    os.fstat(other)
    print("open")

asyncio.run(main())
"""
    reported = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60
    )
    assert reported.stdout == "Too many open files\nopen\n"


def test_the_limit_of_open_files_is_raised_for_the_service_and_not_for_programs() -> None:
    script = """
import resource, subprocess, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1024))
from prefect_qiskit_runtime.service import own_process
print(own_process.file_budget(2), *resource.getrlimit(resource.RLIMIT_NOFILE))
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
own_process.restore_file_limit(child.pid)
print(*resource.prlimit(child.pid, resource.RLIMIT_NOFILE))
child.communicate(b"\\n")
"""
    reported = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60
    )
    # 192 files and 16 for each of two jobs are reserved.
    assert reported.stdout == "800 1024 1024\n256 1024\n"
