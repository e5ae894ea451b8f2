"""Calls in other processes than that of their flow, as task runners start them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, runtime
from prefect.task_runners import ProcessPoolTaskRunner

from prefect_qiskit_runtime import list_jobs, run_program
from prefect_qiskit_runtime.flow_run.lineage import flow_tag

pytestmark = pytest.mark.usefixtures("service_home", "prefect_server")

BACKEND = "aer_simulator"


class Meeting:
    """A callback that opens a gate once it was called in two processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.gate = folder / "gate"

    def __call__(self, job_id: str, interim: object) -> None:
        (self._folder / f"process-{os.getpid()}").touch()
        if len(list(self._folder.glob("process-*"))) == 2:
            self.gate.touch()


def test_equal_calls_at_the_same_time_share_a_job_and_say_so(
    counting: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    meeting = Meeting(tmp_path)
    inputs = {"upto": 1, "wait_for": str(meeting.gate)}

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def mapping() -> tuple[list[Any], int]:
        results = run_program.map(
            [counting] * 2, [inputs] * 2, backend=BACKEND, callback=meeting
        ).result()
        tag = flow_tag(runtime.flow_run.root_flow_run_id)
        return results, len(list_jobs.fn(backend=BACKEND, limit=None, tags=[tag]))

    results, count = mapping()
    assert (len(results), count) == (2, 1)
    assert "an equal call in another process" in capfd.readouterr().err
