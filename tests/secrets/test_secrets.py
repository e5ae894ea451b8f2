"""Keys and tokens stay in their blocks: a whole run is searched for them afterwards."""

from __future__ import annotations

import base64
import json
import os
import pickle
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import jwt
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_DATABASE_CONNECTION_URL

from prefect_qiskit_runtime import IBMQuantumCredentials, RuntimeBackend, RuntimeServiceCredentials
from tests.embedded import stop_embedded
from tests.team import running_team

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WHOLE_RUN = Path(__file__).with_name("whole_run.py")
DEADLINE_SECONDS = 600.0
SECRETS = {
    "team": "the-secret-of-a-team-5f1e",
    "ibm": "the-secret-key-of-ibm-77ab",
    "wrong": "a-secret-that-is-wrong-09cd",
    "variable": "a-secret-in-a-variable-31fa",
}
# The token of a login: a JSON web token of any issuer.
ACCESS_TOKEN = re.compile(rb"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}")


@dataclass
class WholeRun:
    """The traces that a run has left behind.

    Attributes:
        said: What its process has written.
        folders: Where Prefect and the services keep what they keep.
        processes: What the processes were started with, while it ran: environment and command.
    """

    said: str
    folders: list[Path]
    processes: dict[str, bytes]

    def files(self) -> Iterator[Path]:
        for folder in self.folders:
            yield from (path for path in folder.rglob("*") if path.is_file())


def saved_blocks(team_url: str, ibm_url: str) -> None:
    team = RuntimeServiceCredentials.model_validate({"url": team_url, "token": SECRETS["team"]})
    key = IBMQuantumCredentials.model_validate(
        {"url": f"{ibm_url}/api/v1", "api_key": SECRETS["ibm"]}
    )
    device = RuntimeBackend(name="fake_manila", hardware_credentials=key)
    key.save("device-one-login", overwrite=True)
    device.save("device-one", overwrite=True)
    for name, backend in (
        ("embedded-one", RuntimeBackend()),
        ("team-one", RuntimeBackend(service="team", credentials=team)),
        ("ibm-one", RuntimeBackend(service="ibm", credentials=key)),
    ):
        if backend.credentials is not None:
            backend.credentials.save(f"{name}-login", overwrite=True)
        backend.save(name, overwrite=True)


@contextmanager
def flow_process(home: Path, order: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    variables = {
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_QISKIT_RUNTIME_HOME": str(home / "embedded"),
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "QISKIT_IBM_TOKEN": SECRETS["variable"],
    }
    with (home / "said.txt").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, str(WHOLE_RUN)],
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            text=True,
        )
    with process:
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            yield process
        finally:
            process.kill()


def started_with(excepted: int) -> Iterator[tuple[str, bytes]]:
    """Environments and commands of all processes but one; of those that serve, whose operator
    gives the tokens in the command, the environments.
    """
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            environment = (process / "environ").read_bytes()
        except OSError:  # of another user, or it has ended
            continue
        if int(process.name) != excepted:
            yield f"{process.name} {command[:200]!r}", environment
            if b"\0serve\0" not in command:
                yield f"command of {process.name}", command


@pytest.fixture(scope="module")
def whole_run(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeRun]:
    home = tmp_path_factory.mktemp("whole-run")
    done = home / "done"
    with (
        running_team(home / "team" / "home", f"--user=carol:{SECRETS['team']}") as team,
        running_team(
            *(home / "ibm" / "home", "--fault-mode", "--as=ibm"), f"--user=dave:{SECRETS['ibm']}"
        ) as ibm,
    ):
        with ibm.client() as client:
            client.delete("/fault-mode/scenarios").raise_for_status()
        saved_blocks(team.url, ibm.url)
        order = {"done": str(done), "team_url": team.url, "wrong": SECRETS["wrong"]}
        with flow_process(home, order) as process:
            deadline = time.monotonic() + DEADLINE_SECONDS
            while not done.exists():
                assert process.poll() is None, (home / "said.txt").read_text()
                assert time.monotonic() < deadline, (home / "said.txt").read_text()
                time.sleep(0.1)
            processes = dict(started_with(process.pid))
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.wait(DEADLINE_SECONDS) == 0, (home / "said.txt").read_text()
    try:
        yield WholeRun((home / "said.txt").read_text(), [home, database().parent], processes)
    finally:
        stop_embedded(home / "embedded")


def database() -> Path:
    url = PREFECT_SERVER_DATABASE_CONNECTION_URL.value()
    return Path(str(url).partition("///")[2])


def kinds(found: bytes) -> list[str]:
    """The kinds of the secrets that bytes have, plainly or as pickles that are kept in JSON."""
    inner = b"".join(
        base64.b64decode(one) for one in re.findall(rb"(?:[A-Za-z0-9+/]{4}){20,}", found)
    )
    plain = [kind for kind, secret in SECRETS.items() if secret.encode() in found + inner]
    return [*plain, *(["access token"] if ACCESS_TOKEN.search(found + inner) else [])]


def test_what_is_searched_for_would_be_found() -> None:
    token = jwt.encode({"sub": "dave"}, "k" * 32, algorithm="HS256")
    secrets = {**SECRETS, "access token": token}
    kept = json.dumps({"result": base64.b64encode(pickle.dumps(secrets) * 3).decode()})
    assert kinds(kept.encode()) == list(secrets)
    assert kinds(f"Bearer {token}".encode()) == ["access token"]


def test_what_the_flows_say_has_no_secret(whole_run: WholeRun) -> None:
    assert "as asked, with" in whole_run.said  # the errors are in it
    assert "Finished in state Failed" in whole_run.said
    assert kinds(whole_run.said.encode()) == []


def test_nothing_that_is_kept_has_a_secret(whole_run: WholeRun) -> None:
    """Logs, artifacts, events, parameters and results; of Prefect and of the three services."""
    own_token = {path for path in whole_run.files() if path.name == "token"}
    found = {path: kinds(path.read_bytes()) for path in whole_run.files() if path not in own_token}
    assert database() in found
    assert {path: kinds for path, kinds in found.items() if kinds} == {}
    (token,) = {path.read_text().strip() for path in own_token if path.stat().st_size}
    assert [path for path in found if token.encode() in path.read_bytes()] == []


def test_the_run_was_kept(whole_run: WholeRun) -> None:
    """Without what is searched, nothing would be found in it either."""
    with closing(sqlite3.connect(database())) as connection:
        for table in ("log", "artifact", "events", "flow_run", "block_document"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] > 0
    assert list((whole_run.folders[0] / "prefect" / "storage").iterdir())


def test_no_process_is_started_with_a_secret(whole_run: WholeRun) -> None:
    of_services = [name for name in whole_run.processes if "prefect_qiskit_runtime" in name]
    assert len(of_services) >= 3
    found = {name: kinds(text) for name, text in whole_run.processes.items()}
    assert {name: kinds for name, kinds in found.items() if kinds} == {}
