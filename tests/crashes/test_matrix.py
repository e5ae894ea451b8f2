"""A sample of the crash matrix: the rest with `make crashes`, which writes its page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crashes.matrix.cells import (
    DEPLOYED_WAYS,
    PROGRAM,
    SAMPLER,
    WORKS,
    Cell,
    deployed,
    pairs,
    whole,
)
from tests.crashes.matrix.running import Stage

SAMPLE = {
    "a program on a team's service: amid the interim results, reset after its effect, new worker",
    "a sampler on the simulated IBM: after the submission, found by its tag late, flow-run retry",
    (
        "a sampler on the simulated IBM: before the first question for the job,"
        " found by its tag late, new worker"
    ),
}


@pytest.fixture(scope="module")
def stage(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("matrix")) as stage:
        yield stage


@pytest.mark.parametrize(
    "cell", [cell for work in WORKS for cell in whole(work) if str(cell) in SAMPLE], ids=str
)
def test_one_job_is_paid_and_its_result_returned(stage: Stage, cell: Cell) -> None:
    outcome = stage.run(cell)
    assert outcome.is_good, outcome


@pytest.mark.parametrize("work", [PROGRAM, SAMPLER], ids=lambda work: work.name)
def test_the_pairs_hold_each_point_with_each_fault_and_each_way_with_both(work) -> None:
    cells = list(pairs(work))
    points = {cell.point.name for cell in cells}
    faults = {cell.fault.name for cell in cells}
    ways = {cell.way.name for cell in cells}
    assert len(points) >= 12
    assert {(cell.point.name, cell.fault.name) for cell in cells} == {
        (point, fault) for point in points for fault in faults
    }
    assert {(cell.point.name, cell.way.name) for cell in cells} == {
        (point, way) for point in points for way in ways
    }
    assert {(cell.fault.name, cell.way.name) for cell in cells} == {
        (fault, way) for fault in faults for way in ways
    }


@pytest.mark.parametrize("work", [PROGRAM, SAMPLER], ids=lambda work: work.name)
def test_deployments_meet_each_point_with_another_fault_each_and_all_ways(work) -> None:
    cells = list(deployed(work))
    assert [cell.point for cell in cells] == list(work.points)
    assert len({cell.fault.name for cell in cells}) == len(cells)
    assert {cell.way for cell in cells} == set(DEPLOYED_WAYS)
