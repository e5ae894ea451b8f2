"""The command line as a user meets it: real processes against the real service."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

COUNTER = """
import time

def main(backend, user_messenger, count=3, fail=False, wait=0.0):
    print("counting to", count)
    for number in range(count):
        user_messenger.publish({"number": number, "umlaut": "ü"})
    if fail:
        raise ValueError("asked to fail")
    time.sleep(wait)
    return count
"""

COMMAND = [sys.executable, "-W", "error", "-m", "prefect_qiskit_runtime.cli"]


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


def cli(*arguments: str, home: Path | None = None) -> Ran:
    environment = dict(os.environ)
    if home is not None:
        environment["PREFECT_QISKIT_RUNTIME_HOME"] = str(home)
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback (most recent call last)" not in done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def submit(program_id: str, **inputs: object) -> str:
    """Submit a job as a flow would, in a process that goes away at once."""
    script = (
        "import json, sys\n"
        "from prefect_qiskit_runtime.client import SyncRuntimeClient\n"
        "with SyncRuntimeClient() as client:\n"
        "    job = client.run(sys.argv[1], json.loads(sys.argv[2]),"
        " options={'tags': ['from-a-flow']})\n"
        "    print(job.job_id)\n"
    )
    command = [sys.executable, "-c", script, program_id, json.dumps(inputs)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def counter(service_home: Path, tmp_path: Path) -> str:
    source = tmp_path / "counter.py"
    source.write_text(COUNTER)
    uploaded = cli("programs", "upload", str(source))
    assert uploaded.code == 0, uploaded.err
    return uploaded.out.strip()


# The service ------------------------------------------------------------------------------


def test_looking_at_the_service_never_starts_it(tmp_path: Path) -> None:
    status = cli("service", "status", home=tmp_path / "home")
    assert (status.code, status.out[:39]) == (3, "The embedded service is not running. It")
    assert cli("service", "status", "--json", home=tmp_path / "home").json == {"running": False}
    stopped = cli("service", "stop", home=tmp_path / "home")
    assert (stopped.code, stopped.out) == (0, "The embedded service is not running.\n")
    logs = cli("service", "logs", home=tmp_path / "home")
    assert (logs.code, logs.out) == (1, "")
    assert logs.err.startswith("Error: No log at")
    assert not (tmp_path / "home").exists()


def test_the_service_starts_says_where_it_is_and_stops(tmp_path: Path) -> None:
    home = tmp_path / "home"
    started = cli("service", "start", "--json", home=home)
    try:
        status = cli("service", "status", "--json", home=home)
        assert (started.code, status.code) == (0, 0)
        assert status.json == started.json
        expected = {"running", "url", "token_file", "pid", "version", "jobs_running"}
        assert expected <= set(status.json)
        assert status.json["url"].startswith("http://127.0.0.1:")
        token = Path(status.json["token_file"]).read_text()
        shown = cli("service", "status", home=home)
        logs = cli("service", "logs", home=home)
        assert "Ready on port" in logs.out
        for ran in (started, status, shown, logs):
            assert token not in ran.out + ran.err
        os.kill(status.json["pid"], 0)
    finally:
        assert cli("service", "stop", home=home).out == "Stopped.\n"
    assert cli("service", "status", home=home).code == 3


def test_a_busy_service_needs_force_to_stop(tmp_path: Path) -> None:
    home = tmp_path / "home"
    source = tmp_path / "counter.py"
    source.write_text(COUNTER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_QISKIT_RUNTIME_HOME", str(home))
        program_id = cli("programs", "upload", str(source)).out.strip()
        submit(program_id, wait=600)
        refused = cli("service", "stop")
        assert refused.code == 1
        assert refused.err.endswith("To stop it anyway, add --force.\n")
        assert cli("service", "stop", "--force").code == 0


# Programs ---------------------------------------------------------------------------------


def test_a_program_is_uploaded_listed_shown_and_deleted(service_home: Path, tmp_path: Path) -> None:
    source, metadata = tmp_path / "any.py", tmp_path / "any.json"
    source.write_text(COUNTER)
    metadata.write_text(json.dumps({"name": "shown", "description": "Counts.", "cost": 60}))
    upload = ("programs", "upload", str(source), "--metadata", str(metadata))
    created = cli(*upload)
    program_id = created.out.strip()
    assert created.err == "Created, version 1.\n"
    again = cli(*upload, "--json")
    assert again.json == {"program_id": program_id, "version": 1, "outcome": "unchanged"}
    listed = cli("programs", "ls", "--json", "--name", "shown").json
    assert [(row["program_id"], row["description"]) for row in listed] == [(program_id, "Counts.")]
    assert f"{program_id}\tshown\t1\t" in cli("programs", "ls").out
    shown = cli("programs", "show", program_id, "--json").json
    assert (shown["max_execution_time"], shown["source"]) == (60, COUNTER)
    assert cli("programs", "show", program_id, "--source").out == COUNTER
    assert "  Max execution time: 60\n" in cli("programs", "show", program_id).out
    assert cli("programs", "delete", program_id).out == f"Deleted {program_id}.\n"
    gone = cli("programs", "show", program_id)
    assert (gone.code, gone.out) == (1, "")
    assert re.fullmatch(rf"Error: Cannot get program {program_id}: .*\n", gone.err)


def test_a_source_without_main_is_refused_in_one_line(service_home: Path, tmp_path: Path) -> None:
    source = tmp_path / "nothing.py"
    source.write_text("x = 1\n")
    refused = cli("programs", "upload", str(source))
    assert refused.code == 1
    assert refused.err.startswith("Error: Cannot upload program 'nothing'")
    assert refused.err.count("\n") == 1


# Jobs -------------------------------------------------------------------------------------


def test_a_stream_shows_a_job_whose_flow_is_gone(counter: str) -> None:
    job_id = submit(counter, count=4)
    streamed = cli("jobs", "stream", job_id, "--from", "1")
    assert streamed.code == 0
    lines = [json.loads(line) for line in streamed.out.splitlines()]
    assert lines == [{"number": number, "umlaut": "ü"} for number in (1, 2, 3)]
    assert streamed.err.endswith(f"Job {job_id} completed.\n")
    numbered = cli("jobs", "stream", job_id, "--numbered").out.splitlines()
    assert json.loads(numbered[3]) == {"seq": 3, "interim": {"number": 3, "umlaut": "ü"}}


def test_a_job_is_listed_and_shown(counter: str) -> None:
    job_id = submit(counter, count=2)
    cli("jobs", "stream", job_id)
    listed = cli("jobs", "ls", "--json", "--program", counter, "--tag", "from-a-flow").json
    row = next(row for row in listed if row["job_id"] == job_id)
    assert (row["status"], row["program_id"]) == ("Completed", counter)
    assert (row["tags"], row["interim_count"]) == (["from-a-flow"], 2)
    assert row["created_at"] <= row["ended_at"]
    assert row["backend"]
    assert f"{job_id}\tCompleted\t{counter}\t" in cli("jobs", "ls").out
    assert job_id not in cli("jobs", "ls", "--pending").out
    assert f"Job:                 {job_id}\n" in cli("jobs", "show", job_id).out
    assert cli("jobs", "logs", job_id).out == "counting to 2\n"


def test_the_result_of_a_job_is_written_once_it_has_ended(counter: str) -> None:
    job_id = submit(counter, count=2)
    result = cli("jobs", "result", job_id)
    assert result.code == 0, result.err
    assert result.json == json.loads(cli("jobs", "result", job_id).out)
    failed = cli("jobs", "result", submit(counter, fail=True))
    assert (failed.code, failed.out) == (1, "")
    assert failed.err.startswith("Error: Job ")


def test_the_backends_are_listed(service_home: Path) -> None:
    backends = {backend["name"]: backend for backend in cli("backends", "ls", "--json").json}
    assert backends["fake_manila"]["qubits"] == 5
    assert backends["aer_simulator"]["simulator"] is True
    assert "fake_manila\t5\tno\t" in cli("backends", "ls").out


def test_a_failed_job_shows_its_traceback(counter: str) -> None:
    job_id = submit(counter, fail=True)
    streamed = cli("jobs", "stream", job_id)
    assert streamed.code == 1
    assert "failed: " in streamed.err
    assert cli("jobs", "show", job_id).out.endswith("ValueError: asked to fail\n")
    shown = cli("jobs", "show", job_id, "--json").json
    assert shown["traceback"].endswith("ValueError: asked to fail")


@pytest.fixture
def endless(counter: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Give a job that goes on, and a process that follows it and has written its first line."""
    job_id = submit(counter, count=1, wait=600)
    command = [*COMMAND, "jobs", "stream", job_id]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        assert json.loads(following.stdout.readline())["number"] == 0
        yield job_id, following
        following.kill()


def test_a_cancelled_job_ends_its_stream(endless: tuple[str, subprocess.Popen[str]]) -> None:
    job_id, following = endless
    assert cli("jobs", "cancel", job_id).out == f"Cancelled {job_id}.\n"
    _, err = following.communicate(timeout=60)
    assert following.returncode == 1
    assert f"Job {job_id} cancelled" in err
    again = cli("jobs", "cancel", job_id)
    assert again.code == 1
    assert again.err.startswith(f"Error: Cannot cancel job {job_id}")


def test_ctrl_c_leaves_the_stream_and_not_the_job(
    endless: tuple[str, subprocess.Popen[str]],
) -> None:
    job_id, following = endless
    following.send_signal(signal.SIGINT)
    _, err = following.communicate(timeout=60)
    assert following.returncode == 130
    assert "Traceback" not in err
    assert job_id in cli("jobs", "ls", "--pending").out
    cli("jobs", "cancel", job_id)


def test_a_reader_that_goes_away_is_no_error(counter: str) -> None:
    job_id = submit(counter, count=20_000)
    with subprocess.Popen(
        [*COMMAND, "jobs", "stream", job_id],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        following.stdout.readline()
        following.stdout.close()
        err = following.stderr.read()
        following.wait(timeout=60)
    assert "Error" not in err
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def test_a_job_that_is_not_there_is_one_line(service_home: Path) -> None:
    for command in ("show", "stream", "logs", "cancel"):
        ran = cli("jobs", command, "nothing")
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
        assert "'nothing'" in ran.err


# Usage ------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["service", "programs", "jobs"])
def test_each_group_explains_itself(group: str) -> None:
    assert cli(group, "--help").code == 0


def test_wrong_usage_has_its_own_exit_code(tmp_path: Path) -> None:
    assert cli("jobs", "ls", "--limit", "0").code == 2
    assert cli("programs", "upload", str(tmp_path / "nothing.py")).code == 2


def test_a_wrong_setting_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_IDLE_SECONDS", "soon")
    ran = cli("service", "status")
    assert ran.code == 1
    assert ran.err.startswith("Error: PREFECT_QISKIT_RUNTIME_IDLE_SECONDS is wrong: Input should")
    assert ran.err.count("\n") == 1


def test_help_loads_neither_qiskit_nor_a_server() -> None:
    script = (
        "import sys\n"
        "import prefect_qiskit_runtime.cli\n"
        "heavy = {'qiskit', 'numpy', 'prefect', 'fastapi', 'sqlalchemy', 'httpx', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


# Sessions ---------------------------------------------------------------------------------


def test_sessions_are_listed_shown_closed_and_cancelled(service_home: Path) -> None:
    script = (
        "from prefect_qiskit_runtime.client import SyncRuntimeClient\n"
        "with SyncRuntimeClient() as client:\n"
        "    for mode in ('batch', 'dedicated'):\n"
        "        print(client.open_session('fake_manila', mode=mode, max_time=300).session_id)\n"
    )
    opened = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    batch, session = opened.stdout.split()

    listed = cli("sessions", "ls", "--open", "--json").json
    assert [(row["session_id"], row["mode"]) for row in listed[:2]] == [
        (session, "dedicated"),
        (batch, "batch"),
    ]
    assert f"{session}\tdedicated\topen\tfake_manila\t" in cli("sessions", "ls").out
    shown = cli("sessions", "show", session, "--json").json
    assert (shown["max_time"], shown["state"], shown["accepting_jobs"]) == (300, "open", True)
    assert "Max time:            300 s\n" in cli("sessions", "show", session).out

    assert cli("sessions", "close", session).out == f"Closed {session} to new jobs.\n"
    assert cli("sessions", "cancel", batch).out == f"Cancelled {batch}.\n"
    closed = cli("sessions", "ls", "--closed", "--json").json
    assert {session, batch} <= {row["session_id"] for row in closed}
    missing = cli("sessions", "show", "no-such")
    assert (missing.code, missing.err) == (
        1,
        "Error: Cannot get session no-such: There is no session 'no-such'.\n",
    )


# Usage -----------------------------------------------------------------------------------


def test_usage_sums_up_days_and_backends(counter: str) -> None:
    job_id = submit(counter, count=1)
    assert cli("jobs", "result", job_id).out == "1\n"
    shown, listed = cli("usage"), cli("usage", "--json", "--days", "1")
    assert (shown.code, listed.code) == (0, 0), shown.err + listed.err
    header, *rows, last = shown.out.splitlines()
    assert header == "DAY\tBACKEND\tJOBS\tQPU SECONDS\tSECONDS"
    (job,) = [job for job in listed.json["jobs"] if job["job_id"] == job_id]
    assert job["seconds"] > 0
    assert (job["quantum_seconds"], job["status"]) == (0, "Completed")
    assert [job["created"][:10], job["backend"]] in [row.split("\t")[:2] for row in rows]
    assert last == "The instance has used 0.0 s of QPU time."
    assert listed.json["instance"]["usage_limit_reached"] is False


def test_usage_tells_for_how_long_sessions_were_active(counter: str) -> None:
    script = (
        "import sys\n"
        "from prefect_qiskit_runtime.client import SyncRuntimeClient\n"
        "with SyncRuntimeClient() as client, client.open_session('aer_simulator') as session:\n"
        "    session.run(sys.argv[1], {'count': 1}).result()\n"
        "    print(session.session_id)\n"
    )
    command = [sys.executable, "-c", script, counter]
    session = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    shown, listed = cli("usage"), cli("usage", "--json", "--days", "1")
    assert listed.json["sessions"][session] > 0
    assert "sessions were active for" in shown.out.splitlines()[-2]


def test_usage_is_asked_of_one_service() -> None:
    ran = cli("usage", "--block", "one", "--account", "other")
    assert (ran.code, "not both" in ran.err) == (2, True)
