"""Programs in a chain, with a branch and a fan-out; tests/task_runners runs them elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prefect.flows import Flow

from prefect_qiskit_runtime import alist_jobs
from tests.flows.examples import example_flow

pytestmark = pytest.mark.usefixtures("prefect_server", "service_home")


@pytest.fixture(scope="module")
def pipeline() -> Flow[..., Any]:
    return example_flow("program_pipeline")


def programs_run() -> list[str]:
    jobs = asyncio.run(alist_jobs.fn(backend="aer_simulator", limit=None))
    return [job.program.id.partition("-")[0] for job in jobs]


def check(outcome: dict[str, Any]) -> None:
    exact = outcome["exact_energy"]
    assert outcome["refined"] is True
    assert outcome["energy"] == pytest.approx(exact, abs=1e-4)
    assert outcome["searched_energy"] > outcome["energy"] + 1e-4
    assert [row["device"] for row in outcome["devices"]] == ["fake_manila", "fake_lima"]
    for row in outcome["devices"]:
        # The noise of a device lifts the energy: by much more than shot noise, not out of sight.
        assert exact + 3 * row["standard_error"] < row["energy"] < exact + 0.3


def test_the_result_of_each_program_is_the_input_of_the_next(pipeline: Flow[..., Any]) -> None:
    before = len(programs_run())
    check(pipeline())
    assert len(programs_run()) - before == 4


def test_without_need_the_branch_runs_nothing(pipeline: Flow[..., Any]) -> None:
    before = len(programs_run())
    outcome = pipeline(tolerance_millihartree=1e6, devices=["fake_manila"])
    assert outcome["refined"] is False
    assert outcome["energy"] == outcome["searched_energy"]
    assert len(programs_run()) - before == 2
