"""A flow's process that uses all three services, well and badly, and prints the messages it gets.

Its secrets come through standard input; what is for `run` is the blocks saved before.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from prefect_qiskit_runtime import (
    IBMQuantumCredentials,
    RuntimeBackend,
    RuntimeServiceCredentials,
    list_jobs,
    run_program,
    run_sampler,
    runtime_session,
    submit_program,
    submit_sampler,
    upload_program,
)
from tests.circuits import bell

PROGRAM = """
import os

def main(backend, user_messenger, fail=False):
    def environment(pid):
        with open(f"/proc/{pid}/environ") as file:
            return file.read()

    seen = [environment(pid) for pid in ("self", os.getppid())]
    user_messenger.publish(seen)
    print(seen)
    if fail:
        raise ValueError(f"as asked, with {seen}")
    return seen
"""


ON_A_DEVICE = """
import os
from qiskit import QuantumCircuit, transpile

def main(backend, user_messenger):
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.measure_all()
    isa = transpile(circuit, backend=backend)
    counts = backend.sampler(shots=10).run([isa]).result()[0].data.meas.get_counts()
    user_messenger.publish([counts, dict(os.environ)])
    return counts
"""


def print_error_of(call: Any, *args: Any, **options: Any) -> None:
    """Call a function that fails, and print its error in full."""
    try:
        call(*args, **options)
    except Exception as error:
        print("".join(traceback.format_exception(error)), repr(error), vars(error))
    else:
        raise AssertionError(f"{call} has not failed")


@task(persist_result=True)
def submitted(backend: RuntimeBackend) -> Any:
    """A job as the result of a task, which Prefect keeps."""
    return submit_sampler([bell(measured=True)], backend=backend)


@flow(log_prints=True, persist_result=True)
def use_programs(backend: RuntimeBackend) -> Any:
    program = upload_program(PROGRAM, name="environment", backend=backend)
    result = run_program(program, backend=backend, callback=print)
    job = submit_program(program, backend=backend)
    create_markdown_artifact(f"{job!r} {job.backend!r} {job.provenance()} {vars(job)}", key="jobs")
    print(job.result(), job.logs(), job.backend, repr(backend.credentials))
    print_error_of(run_program, program, {"fail": True}, backend=backend)
    return result


@flow(log_prints=True, persist_result=True)
def use_primitives(backend: RuntimeBackend) -> list[str]:
    with runtime_session(backend) as session:
        print(run_sampler([bell(measured=True)], backend=backend, session=session))
    job = submitted(backend)
    print(job.result(), job.backend, vars(job), job.info())
    print_error_of(run_sampler, [bell(measured=True)], backend=backend, session="no-such-session")
    return [info.id for info in list_jobs(backend=backend)]


@flow(log_prints=True, persist_result=True)
def use_a_device(backend: RuntimeBackend) -> Any:
    """With credentials that go through the service to a broker beside the program."""
    program = upload_program(ON_A_DEVICE, name="on-a-device", backend=backend)
    print(backend, repr(backend.hardware_credentials))
    return run_program(program, backend=backend, callback=print)


@flow(log_prints=True)
def use_wrong_logins(url: str) -> None:
    """With blocks that are made here, whose secrets are as secret."""
    for login in wrong_logins(url):
        service = "ibm" if isinstance(login, IBMQuantumCredentials) else "team"
        backend = RuntimeBackend(name="aer_simulator", service=service, credentials=login)
        print_error_of(run_sampler, [bell(measured=True)], backend=backend)


@flow(log_prints=True)
def fail_with(backend: RuntimeBackend) -> None:
    """End as failed, with the error of a login."""
    run_sampler([bell(measured=True)], backend=backend)


def wrong_logins(url: str) -> list[Any]:
    wrong = SECRETS["wrong"]
    gone = "http://127.0.0.1:9"
    return [
        RuntimeServiceCredentials.model_validate({"url": url, "token": wrong}),
        RuntimeServiceCredentials.model_validate({"url": gone, "token": wrong}),
        IBMQuantumCredentials.model_validate({"url": f"{url}/api/v1", "api_key": wrong}),
        IBMQuantumCredentials.model_validate({"url": f"{gone}/api/v1", "api_key": wrong}),
        IBMQuantumCredentials.model_validate(
            {"api_key": wrong, "proxy_url": f"http://me:{wrong}@127.0.0.1:9"}
        ),
    ]


def load(name: str) -> RuntimeBackend:
    block = RuntimeBackend.load(name)
    assert isinstance(block, RuntimeBackend)
    return block


def main() -> None:
    embedded, team, ibm = map(load, ("embedded-one", "team-one", "ibm-one"))
    for backend in (embedded, team):
        use_programs(backend)
    for backend in (embedded, team, ibm):
        use_primitives(backend)
    use_a_device(load("device-one"))
    use_wrong_logins(SECRETS["team_url"])
    login = wrong_logins(SECRETS["team_url"])[0]
    print_error_of(fail_with, RuntimeBackend(service="team", credentials=login))
    Path(SECRETS["done"]).touch()
    sys.stdin.readline()  # until its processes were looked at


if __name__ == "__main__":
    SECRETS = json.loads(sys.stdin.readline())
    main()
