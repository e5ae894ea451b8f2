"""A service works the same however it was started: with signals ignored, or without stdin."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.team import start_team
from tests.waiting import wait_until

from .conftest import finish, submit, upload

SIGNALS_OF_JOB = """
import signal, subprocess, sys
REPORT = (
    "for line in open('/proc/self/status'):\\n"
    "    if line[:6] in ('SigBlk', 'SigIgn'): print(line.split()[1])"
)

def main(backend, user_messenger):
    ignored = [n for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN]
    child = subprocess.run([sys.executable, "-c", REPORT], capture_output=True, text=True)
    return {
        "ignored": sorted(map(int, ignored)),
        "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ()))),
        "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "child": child.stdout,
    }
"""
WAITING = """
import signal

def main(backend, user_messenger):
    user_messenger.publish("waiting")
    signal.pause()
"""
PIPE_AND_FILE_SIZE = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
# Signals 32 and 33 belong to the C library, so no process can change what it inherited of them.
OF_THE_C_LIBRARY = 1 << 31 | 1 << 32
IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def ignoring_signals() -> Iterator[None]:
    """Let processes inherit what `nohup` and background commands of shells set, and more."""
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in IGNORED}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGALRM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_jobs_of_a_service_that_ignores_signals_do_not_ignore_them(tmp_path: Path) -> None:
    with ignoring_signals():
        team = start_team(tmp_path / "home", PREFECT_QISKIT_RUNTIME_TERMINATE_GRACE_SECONDS="30")
    try:
        with team.client("alice") as alice:
            job_id = submit(alice, upload(alice, SIGNALS_OF_JOB))
            assert finish(alice, job_id)["status"] == "Completed"
            seen = alice.get(f"/jobs/{job_id}/results").json()
            assert seen["ignored"] == sorted([signal.SIGPIPE, signal.SIGXFSZ])  # by Python itself
            assert (seen["blocked"], seen["interrupt"]) == ([], True)
            # A child of the program ignores nothing, except for what its Python ignores.
            blocked, ignored = (int(mask, 16) & ~OF_THE_C_LIBRARY for mask in seen["child"].split())
            assert (blocked, ignored) == (0, PIPE_AND_FILE_SIZE)
            waiting = submit(alice, upload(alice, WAITING))
            wait_until(
                lambda: alice.get(f"/jobs/{waiting}/interim_results").json(), "the job waits"
            )
            begin = time.monotonic()
            assert alice.post(f"/jobs/{waiting}/cancel").status_code == 204
            assert time.monotonic() - begin < 25  # by SIGTERM: it was not killed
            os.kill(team.process.pid, signal.SIGHUP)  # as after `nohup`
            assert alice.get("/jobs").status_code == 200
        assert team.terminate() == 0
    finally:
        team.close()


def test_a_service_without_standard_streams_runs_jobs(tmp_path: Path) -> None:
    closing = ("/bin/sh", "-c", 'exec "$0" "$@" <&- 2>&-')
    team = start_team(tmp_path / "home", starter=closing)
    try:
        with team.client("alice") as alice:
            job_id = submit(alice, upload(alice))
            assert finish(alice, job_id)["status"] == "Completed"
        assert team.terminate() == 0
    finally:
        team.close()
