"""Every way in which a program can end, as the flow that runs it sees it. The service goes on."""

from __future__ import annotations

import asyncio
import os
import textwrap
import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit

from prefect_qiskit_runtime import (
    JobProcessError,
    JobTimedOutError,
    ProgramFailedError,
    RuntimeOptions,
    jobs as tasks,
    programs,
)
from prefect_qiskit_runtime.client import embedded_api
from prefect_qiskit_runtime.models import ReasonCode

BACKEND = "aer_simulator"


@pytest.fixture(autouse=True, scope="module")
def the_service_goes_on(service_home: object) -> Iterator[None]:
    """The process that served the first program of this file serves the last one too."""

    async def pid() -> int:
        async with embedded_api() as api:
            return (await api.service_status()).pid

    first = asyncio.run(pid())
    yield
    assert asyncio.run(pid()) == first


def run(source: str, **options: Any) -> Any:
    """Upload a program and run it."""
    program_id = programs.upload_program.fn(textwrap.dedent(source), name="ending")
    return tasks.run_program.fn(program_id, backend=BACKEND, **options)


def test_a_program_that_raises_shows_its_own_traceback_only() -> None:
    with pytest.raises(ProgramFailedError) as caught:
        run("""
            def deeper(value):
                raise ValueError(f"no good: {value}")

            def main(backend, user_messenger):
                print("log line")
                deeper(3)
        """)
    error = caught.value
    assert error.reason_code == ReasonCode.PROGRAM_RAISED
    assert "ValueError: no good: 3" in str(error)
    assert "deeper(3)" in (error.traceback or "")
    assert "runner" not in (error.traceback or "")
    assert "log line" in (error.log_tail or "")
    assert "deeper(3)" in "".join(traceback.format_exception(error))  # what a flow logs


@pytest.mark.parametrize("statement", ["sys.exit(3)", "exit(3)", "raise SystemExit(3)"])
def test_a_program_that_exits_has_failed_with_its_code(statement: str) -> None:
    with pytest.raises(ProgramFailedError, match="3") as caught:
        run(f"""
            import sys

            def main(backend, user_messenger):
                {statement}
        """)
    assert caught.value.reason_code == ReasonCode.PROGRAM_EXITED


def test_a_program_that_leaves_without_a_word_has_failed() -> None:
    with pytest.raises(ProgramFailedError, match="exited with code 7") as caught:
        run("""
            import os

            def main(backend, user_messenger):
                os._exit(7)
        """)
    assert caught.value.reason_code == ReasonCode.PROGRAM_EXITED


def test_a_program_that_segfaults_is_reported_by_its_signal_and_the_log_shows_where() -> None:
    with pytest.raises(JobProcessError, match="SIGSEGV") as caught:
        run("""
            import ctypes

            def main(backend, user_messenger):
                ctypes.string_at(0)
        """)
    assert caught.value.reason_code == ReasonCode.KILLED_BY_SIGNAL
    assert "Segmentation fault" in (caught.value.log_tail or "")


def test_a_program_that_runs_too_long_is_ended() -> None:
    with pytest.raises(JobTimedOutError, match="ran too long") as caught:
        run(
            """
            import threading

            def main(backend, user_messenger):
                threading.Event().wait()
            """,
            options=RuntimeOptions(max_execution_time=1),
        )
    assert caught.value.reason_code == ReasonCode.RAN_TOO_LONG


def test_a_program_that_prints_megabytes_completes_and_its_log_is_capped() -> None:
    jobs: list[str] = []
    source = """
        def main(backend, user_messenger):
            user_messenger.publish(0)
            for number in range(200_000):
                print(f"line {number:06d} " + "x" * 90)
            return "done"
    """
    assert run(source, callback=lambda job_id, interim: jobs.append(job_id)) == "done"
    log = tasks.fetch_job_logs.fn(jobs[0], backend=BACKEND)
    assert log.startswith("line 000000")
    assert log.rstrip().splitlines()[-1].startswith("line 199999")
    assert len(log) < 9 * 1024**2


def test_ten_thousand_messages_arrive_once_each_and_in_order() -> None:
    numbers: list[int] = []
    source = """
        def main(backend, user_messenger):
            for number in range(10_000):
                user_messenger.publish(number)
    """
    assert run(source, callback=lambda job_id, interim: numbers.append(interim)) is None
    assert numbers == list(range(10_000))


def test_what_is_returned_counts_over_what_was_published_as_final() -> None:
    jobs: list[str] = []
    source = """
        def main(backend, user_messenger):
            user_messenger.publish("interim")
            user_messenger.publish("published", final=True)
            return "returned"
    """
    assert run(source, callback=lambda job_id, interim: jobs.append(job_id)) == "returned"
    assert len(jobs) == 1  # the final result is not an interim result
    assert "final" in tasks.fetch_job_logs.fn(jobs[0], backend=BACKEND)


def test_a_result_may_be_published_as_final_instead_of_returned() -> None:
    source = """
        def main(backend, user_messenger):
            user_messenger.publish("published", final=True)
    """
    assert run(source) == "published"


def test_children_of_a_program_end_with_it() -> None:
    children = run("""
        import subprocess, sys

        def main(backend, user_messenger):
            sleep = [sys.executable, "-c", "import threading; threading.Event().wait()"]
            near = subprocess.Popen(sleep)
            far = subprocess.Popen(sleep, start_new_session=True)
            return [near.pid, far.pid]
    """)
    for pid in children:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_values_come_back_as_what_they_were() -> None:
    result = run("""
        import numpy as np
        from qiskit import QuantumCircuit

        class Report:
            def to_json(self):
                return '{"kind": "report"}'

        def main(backend, user_messenger):
            bell = QuantumCircuit(2)
            bell.h(0)
            bell.cx(0, 1)
            return {
                "array": np.eye(2) * 1j,
                "scalar": np.float64(0.5),
                "complex": 1 + 2j,
                "circuit": bell,
                "report": Report(),
            }
    """)
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    np.testing.assert_array_equal(result["array"], np.eye(2) * 1j)
    assert (result["scalar"], result["complex"]) == (0.5, 1 + 2j)
    assert result["circuit"] == bell
    assert result["report"] == '{"kind": "report"}'


def test_a_result_that_cannot_be_encoded_is_named_by_its_path() -> None:
    with pytest.raises(ProgramFailedError, match=r"\$\.deep\[1\]") as caught:
        run("""
            def main(backend, user_messenger):
                return {"deep": [1, object()]}
        """)
    assert caught.value.reason_code == ReasonCode.RESULT_NOT_ENCODABLE


def test_an_input_that_main_does_not_take_is_named() -> None:
    program_id = programs.upload_program.fn(
        "def main(backend, user_messenger, *, shots):\n    return shots\n", name="strict"
    )
    with pytest.raises(ProgramFailedError, match="shotts"):
        tasks.run_program.fn(program_id, {"shotts": 3}, backend=BACKEND)


def test_a_program_that_needs_too_much_memory_learns_where() -> None:
    with pytest.raises(JobProcessError, match="MemoryError") as caught:
        run("""
            import numpy as np

            def main(backend, user_messenger):
                hoard = []
                while True:
                    hoard.append(np.empty(256 * 1024**2, np.uint8))
        """)
    assert caught.value.reason_code == ReasonCode.MEMORY_LIMIT
    assert "hoard.append" in (caught.value.traceback or "")
