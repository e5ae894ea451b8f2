"""The life of an embedded service: start, kill, restart, idle end; and what survives."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from prefect_qiskit_runtime.models.embedded_home import boot_id, host_name


def test_it_says_where_it_is_and_keeps_its_files_to_its_user(start_service) -> None:
    service = start_service()
    discovery = service.discovery
    assert discovery.pid == service.process.pid
    assert (discovery.host, discovery.boot_id) == (host_name(), boot_id())
    assert len(service.token) == 43
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in (service.root, service.home.token_path, service.home.discovery_path)
    }
    assert modes == {"v1": 0o700, "token": 0o600, "service.json": 0o600}
    assert stat.S_IMODE(service.home.database_path.stat().st_mode) == 0o600


def test_the_service_process_never_imports_qiskit(start_service) -> None:
    code = (
        "import sys; sys.argv = ['', '--help'];"
        "import prefect_qiskit_runtime.service.embedded, prefect_qiskit_runtime.service.__main__;"
        "bad = {'qiskit', 'qiskit_ibm_runtime', 'prefect', 'alembic', 'jsonschema', 'numpy'};"
        "print(sorted(bad & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_everything_stored_survives_a_kill(start_service, tmp_path: Path) -> None:
    service = start_service(max_concurrent_jobs=1)
    api = service.api()
    program_id = api.upload()
    finished = api.submit(program_id, params={"n": 3, "wait_for": "/"}, tags=["t"], key="k")
    assert api.finish(finished) == {"status": "Completed"}
    gate = tmp_path / "gate"
    running = api.submit(program_id, params={"n": 3, "wait_at": 2, "wait_for": str(gate)})
    seen = (event for event in api.events(running) if event["type"] == "interim")
    assert [next(seen)["seq"] for _ in range(2)] == [0, 1]
    queued = api.submit(program_id, params={"n": 1})
    token, pid = service.token, service.process.pid

    service.kill()
    service = start_service(max_concurrent_jobs=1)
    api = service.api()

    assert service.token == token and service.discovery.pid != pid
    assert "data" in api.http.get(f"/programs/{program_id}").json()
    assert api.http.get(f"/jobs/{finished}/results").text == '"done"'
    assert len(api.http.get(f"/jobs/{finished}/interim_results").json()) == 3
    assert "waiting" in api.http.get(f"/jobs/{finished}/logs").text
    assert api.http.get(f"/jobs/{finished}").json()["tags"] == ["t"]
    body = {"n": 3, "wait_for": "/"}
    assert api.submit(program_id, params=body, tags=["t"], key="k") == finished
    interrupted = api.state(running)
    assert (interrupted["status"], interrupted["reasonCode"]) == ("Failed", 1500)
    assert api.http.get(f"/jobs/{running}/interim_results").json() == ['{"i": 0}', '{"i": 1}']
    assert api.finish(queued) == {"status": "Completed"}
    assert not any((service.root / "scratch").iterdir())


def test_every_answered_submission_survives_a_kill_at_any_moment(start_service) -> None:
    service = start_service(max_concurrent_jobs=1)
    api = service.api()
    program_id = api.upload()
    answered: list[str] = []
    enough = threading.Event()

    def submit() -> None:
        with suppress(httpx.HTTPError):
            while True:
                key = f"key-{len(answered)}"
                answered.append(api.submit(program_id, key=key, params={"wait_for": "/no"}))
                if len(answered) == 100:
                    enough.set()

    submitter = threading.Thread(target=submit)
    submitter.start()
    assert enough.wait(60)
    service.kill()
    submitter.join()
    api = start_service(max_concurrent_jobs=1).api()
    stored = [job["id"] for job in api.http.get("/jobs?limit=1000&sort=ASC").json()["jobs"]]
    assert stored[: len(answered)] == answered
    assert len(stored) - len(answered) in (0, 1)  # the one whose answer was cut off


def test_a_terminated_service_tells_its_streams_and_leaves_nothing_running(
    start_service, tmp_path: Path
) -> None:
    service = start_service(terminate_grace_seconds=1)
    api = service.api()
    source = """
import os, time
def main(backend, user_messenger):
    user_messenger.publish(os.getpid())
    time.sleep(1000)
"""
    job_id = api.submit(api.upload(source, name="sleeps"))
    events = api.events(job_id)
    pid = next(int(event["data"]) for event in events if event["type"] == "interim")
    exit_codes: list[int] = []
    ender = threading.Thread(target=lambda: exit_codes.append(service.terminate()))
    ender.start()
    *_, end = events
    ender.join()
    assert exit_codes == [0]
    assert (end["type"], end["state"]["reasonCode"]) == ("end", 1500)
    assert not Path(f"/proc/{pid}").exists()
    assert service.home.read_discovery() is None
    assert not service.home.service_lives()
    assert "Traceback" not in service.log()


def test_no_token_and_no_input_in_the_log(start_service) -> None:
    service = start_service()
    api = service.api()
    api.finish(api.submit(api.upload(), params={"n": 1, "result": "a secret input"}))
    service.terminate()
    assert service.token not in service.log()
    assert "a secret input" not in service.log()
    assert "completed" in service.log()


def test_it_ends_when_nothing_needs_it(start_service) -> None:
    service = start_service("--idle-seconds", "0.3")
    assert service.process.wait(60) == 0
    assert service.home.read_discovery() is None
    assert not service.home.database_path.with_name("runtime.db-wal").exists()


def test_a_job_and_its_stream_keep_it_alive(start_service, tmp_path: Path) -> None:
    service = start_service("--idle-seconds", "0.5")
    api = service.api()
    gate = tmp_path / "gate"
    job_id = api.submit(api.upload(), params={"n": 1, "wait_for": str(gate)})
    with pytest.raises(subprocess.TimeoutExpired):
        service.process.wait(2)
    gate.touch()
    assert api.finish(job_id) == {"status": "Completed"}
    assert service.process.wait(60) == 0


def test_an_open_session_keeps_it_alive(start_service) -> None:
    service = start_service("--idle-seconds", "1.5")
    http = service.api().http
    session_id = http.post("/sessions", json={"backend": "aer_simulator"}).json()["id"]
    assert http.get("/service/status").json()["sessions_open"] == 1
    with pytest.raises(subprocess.TimeoutExpired):
        service.process.wait(3)
    http.delete(f"/sessions/{session_id}/close")
    assert service.process.wait(60) == 0


def test_it_does_not_end_while_a_client_holds_the_start_lock(start_service) -> None:
    service = start_service("--idle-seconds", "0.2")
    with service.home.try_lock(service.home.start_lock_path) as locked:
        assert locked
        with pytest.raises(subprocess.TimeoutExpired):
            service.process.wait(1.5)
        assert service.api().http.get("/jobs").status_code == 200
    assert service.process.wait(60) == 0


def test_asking_for_its_status_does_not_keep_it_alive(start_service) -> None:
    service = start_service("--idle-seconds", "1")
    api = service.api()
    while service.process.poll() is None:
        try:
            api.http.get("/service/status")
        except httpx.HTTPError:
            service.process.wait(60)
    assert service.process.returncode == 0


def test_a_second_one_waits_for_the_first_to_end(start_service, tmp_path: Path) -> None:
    first = start_service()
    root = first.root
    second = subprocess.Popen(
        [sys.executable, "-m", "prefect_qiskit_runtime.service", "--embedded", "--home", str(root)],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(2)
        assert first.discovery.pid == first.process.pid
        assert first.terminate() == 0
        while (discovery := first.home.read_discovery()) is None or discovery.pid != second.pid:
            assert second.poll() is None
    finally:
        second.kill()
        second.wait()


@pytest.mark.parametrize(("only_if_idle", "status"), [(True, 409), (False, 202)])
def test_it_ends_on_request(start_service, tmp_path: Path, only_if_idle, status) -> None:
    service = start_service(terminate_grace_seconds=1)
    api = service.api()
    job_id = api.submit(api.upload(), params={"wait_for": str(tmp_path / "gate")})
    api.wait_for_state(job_id, "Running")
    answer = api.http.post("/service/shutdown", params={"only_if_idle": only_if_idle})
    assert answer.status_code == status
    if status == 202:
        assert service.process.wait(60) == 0
    else:
        api.http.post(f"/jobs/{job_id}/cancel")
        assert api.http.post("/service/shutdown").status_code == 202
        assert service.process.wait(60) == 0


def test_a_home_that_cannot_be_used_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "prefect_qiskit_runtime.service", "--embedded"]
    ended = subprocess.run(
        [*command, "--home", str(tmp_path / "file" / "v1")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "Cannot create the embedded service's folder" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_home_on_a_network_file_system_is_refused(tmp_path: Path, monkeypatch) -> None:
    from prefect_qiskit_runtime.errors import EmbeddedServiceError
    from prefect_qiskit_runtime.models import embedded_home
    from prefect_qiskit_runtime.service.embedded import EmbeddedOptions, run
    from prefect_qiskit_runtime.settings import Settings

    monkeypatch.setattr(embedded_home, "_mounts", lambda: iter([(tmp_path, "nfs4")]))
    options = EmbeddedOptions(tmp_path / "v1", f"python:{sys.executable}", 1.0)
    with pytest.raises(EmbeddedServiceError, match="network file system"):
        run(options, Settings())
    assert not (tmp_path / "v1").exists()


def test_what_a_killed_service_left_in_the_scratch_folder_is_removed(start_service) -> None:
    service = start_service()
    service.kill()
    left = service.home.scratch_dir / "job"
    left.mkdir()
    (left / "inputs.json").write_text(json.dumps({}))
    start_service()
    assert not left.exists()


def test_an_image_that_cannot_run_jobs_does_not_stop_the_service(start_service) -> None:
    service = start_service("--warm-image", "python:/bin/false")
    api = service.api()
    program_id = api.upload()
    job_id = api.submit(program_id)
    assert api.finish(job_id)["reasonCode"] == 90005
    job_id = api.submit(program_id, runtime=f"python:{sys.executable}")
    assert api.finish(job_id) == {"status": "Completed"}
