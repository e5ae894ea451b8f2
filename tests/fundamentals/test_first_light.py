"""The product in a few stories, each as its user would live it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import venv
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from prefect import flow
from prefect.settings import get_current_settings

from prefect_qiskit_runtime import (
    RuntimeBackend,
    attach_job,
    run_program,
    stream_results,
    upload_program,
)

PROGRAMS = Path(__file__).parents[2] / "flows" / "programs"

pytestmark = pytest.mark.usefixtures("service_home", "prefect_server")


@pytest.fixture
def start_flow(tmp_path: Path) -> Callable[[str], subprocess.Popen[str]]:
    """Start a flow in a process of its own, as a worker does; its output can be read."""

    def start(source: str, interpreter: str = sys.executable) -> subprocess.Popen[str]:
        file = tmp_path / "a_flow.py"
        file.write_text(textwrap.dedent(source))
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        return subprocess.Popen(
            [interpreter, "-u", str(file)],
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def read_until(stream: IO[str] | None, mark: str) -> list[str]:
    """Read lines until one begins with a mark."""
    assert stream is not None
    lines = []
    for line in stream:
        lines.append(line.rstrip())
        if line.startswith(mark):
            return lines
    raise AssertionError(f"no line begins with {mark!r} in:\n" + "\n".join(lines))


def command_line(*arguments: str) -> str:
    """What `prefect-qiskit-runtime` prints."""
    command = [sys.executable, "-m", "prefect_qiskit_runtime.cli", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_hello_world_streams_while_it_runs_and_replays_afterwards() -> None:
    seen: list[dict[str, object]] = []
    jobs: set[str] = set()

    def callback(job_id: str, interim: dict[str, object]) -> None:
        jobs.add(job_id)
        seen.append(interim)

    @flow
    def hello() -> object:
        program_id = upload_program(PROGRAMS / "hello_world.py", PROGRAMS / "hello_world.json")
        return run_program(
            program_id, {"iterations": 5}, backend="aer_simulator", callback=callback
        )

    assert hello() == "Hello, World!"
    assert [interim["iteration"] for interim in seen] == [0, 1, 2, 3, 4]
    assert all(sum(interim["counts"].values()) == 1024 for interim in seen)  # type: ignore[attr-defined]

    (job_id,) = jobs
    assert list(stream_results(job_id, backend="aer_simulator")) == seen


def test_a_flow_that_is_killed_leaves_its_job_running_and_its_results_to_be_read(
    start_flow: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = start_flow(f"""
        from prefect import flow
        from prefect_qiskit_runtime import run_program, upload_program

        SOURCE = '''
        import os, time

        def main(backend, user_messenger, *, gate):
            user_messenger.publish({{"part": "before"}})
            while not os.path.exists(gate):
                time.sleep(0.01)
            user_messenger.publish({{"part": "after"}})
            return "done"
        '''

        @flow
        def long_flow():
            program_id = upload_program(__import__("textwrap").dedent(SOURCE), name="long")
            run_program(
                program_id,
                {{"gate": {str(tmp_path / "gate")!r}}},
                backend="aer_simulator",
                callback=lambda job_id, interim: print("JOB", job_id),
            )

        long_flow()
    """)
    with process:
        job_id = read_until(process.stdout, "JOB")[-1].split()[1]
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)

    (job,) = [
        job for job in json.loads(command_line("jobs", "ls", "--json")) if job["job_id"] == job_id
    ]
    assert job["status"] == "Running"
    (tmp_path / "gate").touch()
    streamed = [json.loads(line) for line in command_line("jobs", "stream", job_id).splitlines()]
    assert streamed == [{"part": "before"}, {"part": "after"}]
    assert attach_job(job_id, backend="aer_simulator").result() == "done"


def test_a_flow_from_another_environment_sees_its_own_libraries(
    start_flow: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    venv.create(other, with_pip=False, symlinks=True)
    (packages,) = (other / "lib").glob("python*/site-packages")
    (packages / "ours.pth").write_text("\n".join(path for path in sys.path if path))
    (packages / "only_there.py").write_text("WHERE = __file__\n")
    process = start_flow(
        """
        from prefect import flow
        from prefect_qiskit_runtime import run_program, upload_program

        SOURCE = '''
        def main(backend, user_messenger):
            import only_there
            return only_there.WHERE
        '''

        @flow
        def elsewhere():
            program_id = upload_program(__import__("textwrap").dedent(SOURCE), name="elsewhere")
            print("WHERE", run_program(program_id, backend="aer_simulator"))

        elsewhere()
        """,
        str(other / "bin" / "python"),
    )
    with process:
        where = read_until(process.stdout, "WHERE")[-1].split()[1]
    assert where == str(packages / "only_there.py")
    status = json.loads(command_line("service", "status", "--json"))
    assert Path(status["token_file"]).is_relative_to(os.environ["PREFECT_QISKIT_RUNTIME_HOME"])


def test_a_noisy_backend_is_a_change_of_one_name() -> None:
    @flow
    def sampled(backend: RuntimeBackend) -> dict[str, object]:
        program_id = upload_program(
            "def main(backend, user_messenger):\n"
            "    from qiskit import QuantumCircuit, transpile\n"
            "    bell = QuantumCircuit(2)\n"
            "    bell.h(0)\n"
            "    bell.cx(0, 1)\n"
            "    bell.measure_all()\n"
            "    circuit = transpile(bell, backend, seed_transpiler=1)\n"
            "    job = backend.run(circuit, shots=4000, seed_simulator=1)\n"
            "    return {'backend': backend.name, 'counts': job.result().get_counts()}\n",
            name="bell",
        )
        return run_program(program_id, backend=backend)

    ideal = sampled(RuntimeBackend(name="aer_simulator"))
    noisy = sampled(RuntimeBackend(name="fake_manila"))
    assert set(ideal["counts"]) == {"00", "11"}  # type: ignore[call-overload]
    assert set(noisy["counts"]) == {"00", "01", "10", "11"}  # type: ignore[call-overload]
    assert noisy["backend"] == "fake_manila"
