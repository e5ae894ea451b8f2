"""The example flows under task runners whose workers are other processes.

`make task-runners` installs Dask and Ray into a separate environment, and runs this there.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task
from prefect.flows import Flow

from tests.flows.examples import FLOWS, example_flow

pytest.importorskip("prefect_dask", reason="see make task-runners")
pytest.importorskip("prefect_ray", reason="see make task-runners")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore"),  # of the task runners' own libraries
]


def example(name: str, runner: Any) -> Flow[..., Any]:
    return example_flow(name).with_options(task_runner=runner)


def test_tasks_are_run_by_other_processes_in_another_folder(runner: Any, elsewhere: Path) -> None:
    @task
    def where(_: int) -> tuple[int, Path]:
        return os.getpid(), Path.cwd()

    @flow(task_runner=runner)
    def looking() -> list[tuple[int, Path]]:
        return where.map(range(4)).result()

    places = looking()
    assert os.getpid() not in {process for process, _ in places}
    assert {folder for _, folder in places} != {Path.cwd()}


def test_the_result_of_each_program_is_the_input_of_the_next(runner: Any) -> None:
    outcome = example("program_pipeline", runner)()
    exact = outcome["exact_energy"]
    assert outcome["refined"] is True
    assert outcome["energy"] == pytest.approx(exact, abs=1e-4)
    assert [row["device"] for row in outcome["devices"]] == ["fake_manila", "fake_lima"]
    for row in outcome["devices"]:
        assert exact + 3 * row["standard_error"] < row["energy"] < exact + 0.3


def test_the_points_of_a_dissociation_curve_are_exact(runner: Any) -> None:
    outcome = example("dissociation_curve", runner)("H2")
    assert len(outcome["points"]) == 14
    assert abs(outcome["largest_error_millihartree"]) < 0.1


# What each takes to be done in a few seconds. These run their tasks in the flow's own process.
OTHERS: dict[str, dict[str, Any]] = {
    "backend_health": {"only": ["fake_manila"], "shots": 200},
    "cancel_abandoned_jobs": {},
    "error_mitigation": {"repetitions": 2, "shots": 500},
    "qaoa_maxcut": {"layers": 1},
    "quantum_kernel": {"train_size": 15, "test_size": 15, "shots": 200},
    "vqe": {"maxiter": 3},
    "vqe_session": {"maxiter": 3},
}


def test_each_flow_is_tried() -> None:
    flows = {path.stem for path in FLOWS.glob("*.py")} - {
        "serve",
        "generate_molecules",
        "seeds",
        "shots",
    }
    assert flows == {"program_pipeline", "dissociation_curve", *OTHERS}


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_flows_do_not_mind(name: str, runner: Any) -> None:
    chosen = example(name, runner)
    returned = chosen(**OTHERS[name], return_state=True)
    state = asyncio.run(returned) if chosen.isasync else returned
    assert state.is_completed(), state.message
