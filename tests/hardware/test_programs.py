"""Programs of our service on devices of IBM: real processes, a simulated IBM."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from prefect_qiskit_runtime import (
    ConfigurationError,
    IBMQuantumCredentials,
    JobProcessError,
    JobStatus,
    ProgramFailedError,
    RuntimeBackend,
    jobs,
    primitives,
    programs,
)
from prefect_qiskit_runtime.testing import offline_service
from tests.hardware.conftest import VQE, Cloud, Embedded
from tests.waiting import wait_until

OPEN_PLAN: dict[str, Any] = {
    "status": 400,
    "code": 1352,
    "message": "You are not authorized to run a session when using the open plan.",
}

run_program, submit_program = jobs.run_program.fn, jobs.submit_program.fn


def test_a_program_uses_the_device_in_one_session_and_never_sees_the_key(
    cloud: Cloud, vqe: str, embedded: Embedded, capfd: pytest.CaptureFixture[str]
) -> None:
    interim: list[float] = []
    job = submit_program(vqe, {"sample": True}, backend=cloud.backend())
    key = cloud.service.token
    for value in job.stream():
        interim.append(value)
        processes = [_program_process(job.job_id), *embedded.brokers(), embedded.pid]
        assert [pid for pid in processes if key.encode() in _shown(pid)] == []
    result = job.result(timeout_seconds=90)
    assert result["energies"] == interim
    assert result["energies"] == [pytest.approx(2, abs=0.4), pytest.approx(0, abs=0.4)]
    assert result["sampled"][-2:] == result["counted"][-2:] == "11"
    assert result["memory"] == 50

    # One session for all: estimator twice, sampler, backend.run.
    assert [cloud.sent("POST", path) for path in ("/sessions", "/jobs")] == [1, 4]
    assert cloud.sessions == {"closed": 1}
    assert {info["session_id"] for info in cloud.jobs} == {cloud.listed("sessions")[0]["id"]}
    used = cloud.listed("sessions")[0]["elapsed_time"]
    assert job.metrics().usage["quantum_seconds"] == pytest.approx(used)

    output = capfd.readouterr()
    everything = json.dumps([result, job.logs(), job.info().model_dump(mode="json"), *output])
    assert key not in everything
    assert [path for path, content in embedded.files().items() if key.encode() in content] == []
    wait_until(lambda: not embedded.brokers(), "the end of the broker")


def test_a_submission_whose_answer_is_lost_is_found_again(cloud: Cloud, vqe: str) -> None:
    when = {"method": "POST", "path": "/jobs"}
    cloud.service.add("cut", when=when, moment="after_effect")
    result = run_program(vqe, {"points": 1}, backend=cloud.backend())
    assert result["energies"] == [pytest.approx(2, abs=0.4)]
    (only,) = cloud.jobs
    assert only["state"]["status"] == "Completed"


@pytest.mark.slow
def test_a_team_runs_programs_on_hardware_too(cloud: Cloud) -> None:
    with offline_service() as team:
        backend = RuntimeBackend(
            name="fake_manila",
            service="team",
            credentials=team.credentials(),
            hardware_credentials=cloud.credentials,
        )
        program_id = programs.upload_program.fn(VQE, name="vqe", backend=backend)
        result = run_program(program_id, {"points": 1}, backend=backend)
    assert result["energies"] == [pytest.approx(2, abs=0.4)]
    assert cloud.sessions == {"closed": 1}


def test_a_program_that_fails_leaves_no_job_and_no_session(cloud: Cloud, vqe: str) -> None:
    cloud.service.add("hold_job", when={"skip": 1})
    with pytest.raises(ProgramFailedError, match="after a submission"):
        run_program(vqe, {"points": 1, "fail": True}, backend=cloud.backend())
    assert cloud.sessions == {"closed": 1}
    assert [info["state"]["status"] for info in cloud.jobs] == ["Cancelled", "Completed"]


@pytest.mark.parametrize(
    "how",
    [
        "killed",
        *(pytest.param(how, marks=pytest.mark.slow) for how in ("cancelled", "out of time")),
    ],
)
def test_a_program_that_is_ended_leaves_no_job_and_no_session(
    cloud: Cloud, vqe: str, how: str
) -> None:
    cloud.service.add("hold_job")
    options = {"max_execution_time": 8} if how == "out of time" else {}
    job = submit_program(vqe, {}, backend=cloud.backend(), options=options)
    wait_until(lambda: cloud.sent("POST", "/jobs"), "the program has submitted")
    if how == "cancelled":
        job.cancel()
    elif how == "killed":
        os.kill(_program_process(job.job_id), signal.SIGKILL)
    status = job.wait_for_final_state(timeout_seconds=60)
    assert status is (JobStatus.FAILED if how == "killed" else JobStatus.CANCELLED)
    assert cloud.sessions == {"closed": 1}
    assert [info["state"]["status"] for info in cloud.jobs] == ["Cancelled"]


@pytest.mark.parametrize("mode", [pytest.param("batch", marks=pytest.mark.slow), "job"])
def test_a_program_needs_no_session(cloud: Cloud, vqe: str, mode: Any) -> None:
    cloud.service.add("refuse", when={"path": "/sessions", "times": None}, **OPEN_PLAN)
    with pytest.raises(ProgramFailedError, match=r"hardware_mode .* 'batch' or 'job'"):
        run_program(vqe, {}, backend=cloud.backend())
    for scenario in cloud.service.scenarios():
        cloud.service.remove(scenario["id"])
    cloud.service.add("job_usage", seconds=7)
    job = submit_program(vqe, {}, backend=cloud.backend(hardware_mode=mode))
    assert len(job.result(timeout_seconds=90)["energies"]) == 2
    assert [session["mode"] for session in cloud.listed("sessions")] == ["batch"][: mode == "batch"]
    assert len(cloud.jobs) == 2
    if mode == "job":
        assert job.metrics().usage["quantum_seconds"] == 14


@pytest.mark.parametrize(
    ("field", "who", "jobs"),
    [
        ("max_qpu_seconds_per_flow_run", "Its flow run", 2),
        *(
            pytest.param(*rest, marks=pytest.mark.slow)
            for rest in [
                ("max_qpu_seconds_per_call", "The program", 2),
                ("max_qpu_seconds_per_day", "Today, the account", 0),
                ("max_qpu_seconds_of_instance", "The instance", 0),
            ]
        ),
    ],
)
def test_a_program_keeps_the_budget_of_the_block(
    cloud: Cloud, vqe: str, field: str, who: str, jobs: int
) -> None:
    cloud.service.add("job_usage", seconds=700)
    run_program(vqe, {"points": 1}, backend=cloud.backend(hardware_mode="job"))
    if field == "max_qpu_seconds_of_instance":
        cloud.service.add("usage_limit", seconds=600)
    limit = 1000 if jobs else 500  # of its own jobs the second is within it; else not the first
    backend = cloud.backend(hardware_mode="job", **{field: limit})
    with pytest.raises(ProgramFailedError, match=rf"HardwareBudgetError: {who} .*{field}"):
        run_program(vqe, {"points": 3}, backend=backend)
    assert cloud.sent("POST", "/jobs") == 1 + jobs


def test_programs_wait_in_line_for_the_limits_of_the_account(cloud: Cloud, vqe: str) -> None:
    """Each of three has two jobs, and one may be pending: refused is the first of all."""
    cloud.service.add("pending_limit", jobs=1)
    held = cloud.service.add("hold_job")
    backend = cloud.backend(hardware_mode="job")
    jobs = [submit_program(vqe, {"points": 1 + n % 2}, backend=backend) for n in range(3)]
    wait_until(lambda: len(cloud.service.requests("POST", "/jobs")) == 2, "one was refused")
    cloud.service.remove(held)
    assert [len(job.result(timeout_seconds=90)["energies"]) for job in jobs] == [1, 2, 1]
    answers = [request["status"] for request in cloud.service.requests("POST", "/jobs")]
    assert answers == [200, 400, 200, 200, 200]


def test_a_wrong_key_is_refused_before_the_program_starts(cloud: Cloud, vqe: str) -> None:
    wrong = IBMQuantumCredentials.model_validate(
        {"api_key": "a-wrong-key", "url": f"{cloud.service.url}/api/v1"}
    )
    backend = RuntimeBackend(name="fake_manila", hardware_credentials=wrong)
    with pytest.raises(JobProcessError, match="AuthenticationError") as caught:
        run_program(vqe, {}, backend=backend)
    assert "a-wrong-key" not in str(caught.value)


def test_the_time_on_the_device_is_a_limit_for_all_attempts(
    cloud: Cloud, vqe: str, tmp_path: Path
) -> None:
    gate = tmp_path / "go"
    backend = cloud.backend(hardware_max_seconds=40, attempts=1)
    inputs = {"wait_for": str(gate)}
    job = submit_program(vqe, inputs, backend=backend, durable_key=str(tmp_path))
    assert next(job.stream()) == pytest.approx(2, abs=0.4)
    (first,) = cloud.jobs
    assert first["cost"] == 40
    assert cloud.listed("sessions")[0]["max_ttl"] == 40
    cloud.service.advance(45)
    gate.touch()
    with pytest.raises(ProgramFailedError, match=r"HardwareBudgetError: .* its limit .* is 40 s"):
        job.result(timeout_seconds=60)

    # Nothing is left for another attempt either: it reuses the jobs that exist, and stops there.
    with pytest.raises(ProgramFailedError, match="HardwareBudgetError"):
        run_program(vqe, inputs, backend=backend, durable_key=str(tmp_path))
    assert cloud.sent("POST", "/jobs") == cloud.sent("POST", "/sessions") == 1


@pytest.mark.slow
def test_another_attempt_takes_up_what_was_submitted(
    cloud: Cloud, vqe: str, embedded: Embedded, tmp_path: Path
) -> None:
    cloud.service.add("hold_job", when={"skip": 1})
    result: list[Any] = []
    waiting = threading.Thread(
        target=lambda: result.append(
            run_program(vqe, {"points": 3}, backend=cloud.backend(), durable_key=str(tmp_path))
        )
    )
    waiting.start()
    wait_until(lambda: cloud.sent("POST", "/jobs") == 2, "the second job waits at IBM")
    embedded.kill()
    # The broker leaves the jobs, closes the session, and ends; the client goes on by itself.
    for scenario in cloud.service.scenarios():
        cloud.service.remove(scenario["id"])
    waiting.join(90)
    assert len(result[0]["energies"]) == 3
    assert cloud.sent("POST", "/jobs") == 3
    assert {info["state"]["status"] for info in cloud.jobs} == {"Completed"}
    assert cloud.sessions == {"closed": 2}
    wait_until(lambda: embedded.brokers() == [], "no broker is left")


@pytest.mark.slow
def test_a_job_that_waits_gets_its_credentials_again_after_a_restart(
    cloud: Cloud, vqe: str, embedded: Embedded, tmp_path: Path
) -> None:
    gate, others = tmp_path / "go", []
    busy = RuntimeBackend(name="aer_simulator", attempts=1)
    for _ in range(max(2, os.cpu_count() or 1)):  # all that the service runs at once
        inputs = {"wait_for": str(gate), "wait_at": 0, "points": 1}
        others.append(submit_program(vqe, inputs, backend=busy))
    job = submit_program(vqe, {"points": 1}, backend=cloud.backend())
    assert job.info().state.reason_code is None
    embedded.kill()
    assert job.info().state.reason_code == 90008  # the service has started again, without them
    assert job.status() is JobStatus.QUEUED
    assert len(job.result(timeout_seconds=90)["energies"]) == 1
    gate.touch()


@pytest.mark.slow
def test_a_job_whose_credentials_do_not_come_back_fails_after_the_wait(
    cloud: Cloud, tmp_path: Path
) -> None:
    with offline_service(home=tmp_path / "home") as team:
        team.add("hold_job")
        login = {"credentials": team.credentials(), "hardware_credentials": cloud.credentials}
        backend = RuntimeBackend(name="fake_manila", service="team", **login)
        program_id = programs.upload_program.fn(VQE, name="vqe", backend=backend)
        job_id = submit_program(program_id, {}, backend=backend).job_id
        team.process.kill()
    with offline_service(home=tmp_path / "home") as team:
        job = jobs.attach_job.fn(job_id, backend=team.backend("fake_manila"))
        assert job.info().state.reason_code == 90008
        team.advance(3600)
        with pytest.raises(
            JobProcessError, match="did not receive its hardware credentials in time"
        ):
            job.result(timeout_seconds=60)
    assert cloud.jobs == []


def test_primitives_are_sent_to_where_they_run(cloud: Cloud, service_home: Path) -> None:
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    with pytest.raises(ConfigurationError, match="service='ibm'"):
        primitives.run_sampler.fn([circuit], backend=cloud.backend())


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"service": "ibm"}, "runs primitives with its credentials"),
        ({"private": True}, "can be read only once"),
        ({"hardware_credentials": None, "hardware_max_seconds": 5}, "needs hardware_credentials"),
        ({"hardware_credentials": None, "hardware_mode": "job"}, "needs hardware_credentials"),
    ],
)
def test_a_block_says_what_does_not_go_together(fields: dict[str, Any], says: str) -> None:
    login = IBMQuantumCredentials.model_validate({"api_key": "key"})
    given = {"credentials": login if "service" in fields else None, "hardware_credentials": login}
    with pytest.raises(ValueError, match=says):
        RuntimeBackend(name="ibm_x", **{**given, **fields})


def _shown(pid: int) -> bytes:
    """The arguments and the environment of a process, as the system shows them."""
    process = Path(f"/proc/{pid}")
    return (process / "cmdline").read_bytes() + (process / "environ").read_bytes()


def _program_process(job_id: str) -> int:
    """The process of a job: the one whose working folder is the job's."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            folder = (process / "cwd").readlink()
        except OSError:
            continue
        if folder.name == job_id:
            return int(process.name)
    raise AssertionError(f"job {job_id} has no process")
