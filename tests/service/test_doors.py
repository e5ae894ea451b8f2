"""Requests that must not disturb other users: half-open, oversized, and expensive ones.

Each test starts a team service with two slots. Alice attacks, or a caller without a token; bob is
idle and asks small questions meanwhile. His slowest answer is the measure.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.team import TOKENS, TeamService, start_team
from tests.waiting import wait_until

from .conftest import COUNTING, program_body

SLOWEST_SECONDS = 0.25


class Bob:
    """A second user, who asks for his jobs again and again while the context is open."""

    def __init__(self, team: TeamService) -> None:
        self._client = team.client("bob")
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.slowest = 0.0
        self.answers = 0
        self.faults: list[str] = []

    def __enter__(self) -> Bob:
        assert self._client.get("/jobs").status_code == 200  # warm
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._client.close()

    def _ask(self) -> None:
        while not self._ending.wait(0.02):
            begin = time.perf_counter()
            try:
                status = self._client.get("/jobs?limit=1").status_code
            except httpx.HTTPError as exc:
                self.faults.append(repr(exc))
            else:
                self.slowest = max(self.slowest, time.perf_counter() - begin)
                self.answers += 1
                if status != 200:
                    self.faults.append(str(status))

    def assert_undisturbed(self) -> None:
        assert not self.faults
        assert self.answers > 0
        assert self.slowest < SLOWEST_SECONDS, f"{self.slowest:.3f} s"


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


def upload(client: httpx.Client, source: str = COUNTING, **fields: object) -> str:
    answer = client.post("/programs", content=program_body(source, **fields))
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def submit(client: httpx.Client, program_id: str, **fields: object) -> str:
    answer = client.post("/jobs", json={"program_id": program_id, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def finish(client: httpx.Client, job_id: str) -> dict[str, object]:
    client.get(f"/jobs/{job_id}/stream")
    return client.get(f"/jobs/{job_id}").json()["state"]


def connect(team: TeamService) -> socket.socket:
    url = urlsplit(team.url)
    assert url.hostname is not None
    return socket.create_connection((url.hostname, url.port), timeout=30)


def seconds_of_new_connection(team: TeamService) -> float:
    with team.client("bob") as client:
        begin = time.perf_counter()
        assert client.get("/jobs").status_code == 200
        return time.perf_counter() - begin


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
            for number in range(1060):
                half_open = stack.enter_context(connect(team))
                half_open.sendall(HALF_OPEN[kind])
                if number % 100 == 99:
                    assert seconds_of_new_connection(team) < SLOWEST_SECONDS
            ends = [finish(alice, submit(alice, upload(alice))) for _ in range(3)]
        bob.assert_undisturbed()
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
    bob.assert_undisturbed()
