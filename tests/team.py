"""A team service as its operator starts it: the command, in a separate process."""

from __future__ import annotations

import os
import select
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

DEADLINE_SECONDS = 60.0
TOKENS = {"alice": "token:of-alice", "bob": "token-of-bob"}


@dataclass
class TeamService:
    """A running one."""

    url: str
    home: Path
    process: subprocess.Popen[str]

    @property
    def certificate(self) -> Path:
        return self.home / "tls" / "cert.pem"

    @property
    def log(self) -> str:
        return (self.home.parent / "team.log").read_text()

    def client(self, user: str = "alice", **headers: str) -> httpx.Client:
        verify = ssl.create_default_context(cafile=self.certificate) if self.is_tls else True
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {TOKENS[user]}", **headers},
            timeout=DEADLINE_SECONDS,
            trust_env=False,
            verify=verify,
        )

    @property
    def is_tls(self) -> bool:
        return self.url.startswith("https")

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_SECONDS)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


def start_team(
    home: Path, *arguments: str, starter: Sequence[str] = (), **variables: str
) -> TeamService:
    """Start the service for alice and bob, by a command that executes its arguments if given.

    Returns once the service has said that it is ready.
    """
    users = [f"--user={name}:{token}" for name, token in TOKENS.items()]
    home.parent.mkdir(exist_ok=True)
    with (home.parent / "team.log").open("a") as log:
        process = subprocess.Popen(
            [
                *starter,
                *(sys.executable, "-m", "prefect_qiskit_runtime.cli", "serve", "--port", "0"),
                *("--home", str(home), *users, *arguments),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **variables},
            start_new_session=True,
        )
    service = TeamService("", home, process)
    try:
        line = _first_line(process)
        assert line.startswith("ready "), line + service.log
        service.url = line.removeprefix("ready ").strip()
    except BaseException:
        service.close()
        raise
    return service


@contextmanager
def running_team(home: Path, *arguments: str) -> Iterator[TeamService]:
    """Run the service while the context is open; it must end cleanly, with no traceback logged."""
    service = start_team(home, *arguments)
    try:
        yield service
        assert service.terminate() == 0
        assert "Traceback" not in service.log
    finally:
        service.close()


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    deadline = time.monotonic() + DEADLINE_SECONDS
    readable, _, _ = select.select([process.stdout], [], [], deadline - time.monotonic())
    assert readable, "the service was not ready in time"
    return process.stdout.readline()
