"""A flow process is killed at any point: after the retry of its flow run, one job was billed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.crashes.conftest import NewFlowRun
from tests.proxy import Fault

ACKNOWLEDGEMENT = r"DELETE /jobs/\w+/results"
SUBMISSION, STREAM, RESULT = r"POST /jobs$", r"GET /jobs/\w+/stream", r"GET /jobs/\w+/results"

POINTS = {
    "before the submission": Fault(SUBMISSION, "before"),
    "after the submission": Fault(SUBMISSION, "after"),
    "before the stream": Fault(STREAM, "before"),
    "in the stream, at its first line": Fault(STREAM, "after", after_lines=1),
    "in the stream, after interim results": Fault(STREAM, "after", after_lines=4),
    "after the stream": Fault(STREAM, "after", after_lines=8),
    "before the result": Fault(RESULT, "before"),
    "after the result": Fault(RESULT, "after"),
}
# The cells of every test run; the others run with `make crashes`.
SAMPLED = ("after the submission", "in the stream, after interim results")


def cells(*extra: str) -> list[object]:
    return [
        pytest.param(point, id=point, marks=() if point in SAMPLED else pytest.mark.slow)
        for point in (*POINTS, *extra)
    ]


def copied(point: str) -> Fault:
    fault = POINTS[point]
    return Fault(fault.request, fault.moment, after_lines=fault.after_lines)


@pytest.mark.parametrize("point", cells())
def test_a_flow_run_that_is_retried_after_a_kill_pays_one_job(
    new_flow_run: NewFlowRun, point: str
) -> None:
    flow_run = new_flow_run("evaluating")
    flow_run.kill_at(copied(point))
    before = flow_run.interim
    result = flow_run.run_again()
    assert result == flow_run.job_result()  # of the only job
    after = flow_run.interim[len(before) :]
    assert before == list(range(len(before)))
    assert after == list(range(6))[len(range(6)) - len(after) :]
    assert sorted({*before, *after}) == list(range(6))


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_at_a_record_costs_at_most_repeats(new_flow_run: NewFlowRun, moment: str) -> None:
    flow_run = new_flow_run("evaluating", inputs={"upto": 6, "pause": 0.4})
    flow_run.die_at_record(moment)
    before = flow_run.interim
    result = flow_run.run_again()
    assert result == flow_run.job_result()
    after = flow_run.interim[len(before) :]
    assert sorted({*before, *after}) == list(range(6))
    assert (after[0] == 0) is (moment == "before")  # the record shows where to continue


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_the_same_on_a_service_without_keys(new_flow_run: NewFlowRun, point: str) -> None:
    flow_run = new_flow_run("evaluating", keyless=True)
    flow_run.kill_at(copied(point))
    result = flow_run.run_again()
    assert result == flow_run.job_result()
    assert sorted(set(flow_run.interim)) == list(range(6))


@pytest.mark.slow
@pytest.mark.parametrize("point", ["after the submission", "in the stream, after interim results"])
def test_a_subflow_of_a_rerun_parent_attaches(new_flow_run: NewFlowRun, point: str) -> None:
    flow_run = new_flow_run("parent")
    flow_run.kill_at(copied(point))
    assert flow_run.run_again() == flow_run.job_result()


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [1, 17, 50])
def test_fifty_mapped_submissions_stay_fifty_jobs(new_flow_run: NewFlowRun, killed_at: int) -> None:
    flow_run = new_flow_run("mapping", parameters={"count": 50}, inputs={})
    flow_run.kill_at(Fault(SUBMISSION, "after", skip=killed_at - 1))
    results = flow_run.run_again()
    assert (len(flow_run.jobs), len(set(results))) == (50, 50)


PRIVATE = {
    "before the result": Fault(RESULT, "before"),
    "after the result": Fault(RESULT, "after"),
    "before the acknowledgement": Fault(ACKNOWLEDGEMENT, "before"),
    "after the acknowledgement": Fault(ACKNOWLEDGEMENT, "after"),
}


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, marks=() if point.startswith("after the ack") else pytest.mark.slow)
        for point in PRIVATE
    ],
)
def test_a_result_that_is_read_once_survives_a_kill(new_flow_run: NewFlowRun, point: str) -> None:
    flow_run = new_flow_run("privately", inputs={})
    flow_run.kill_at(replace(PRIVATE[point]))
    assert 0 < flow_run.run_again() < 1
    assert len(flow_run.jobs) == 1


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_and_a_kill_at_its_record(new_flow_run: NewFlowRun, moment: str) -> None:
    flow_run = new_flow_run("privately", inputs={})
    flow_run.die_at_record(moment)
    assert 0 < flow_run.run_again() < 1
    assert len(flow_run.jobs) == 1


@pytest.mark.slow
def test_three_kills_in_a_row_pay_one_job(new_flow_run: NewFlowRun) -> None:
    flow_run = new_flow_run("evaluating")
    flow_run.kill_at(copied("after the submission"))
    for point in ("before the stream", "after the result"):
        flow_run.schedule_again()
        flow_run.kill_at(copied(point))
    assert flow_run.run_again() == flow_run.job_result()


@pytest.mark.parametrize("keyless", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_flow_run_that_was_suspended_pays_nothing_again(
    new_flow_run: NewFlowRun, keyless: bool
) -> None:
    """Prefect does not count that it was started again."""
    flow_run = new_flow_run("suspending", is_deployed=True, keyless=keyless)
    flow_run.start()
    flow_run.wait()
    assert not flow_run.notes("result ")
    assert flow_run.resume() == flow_run.job_result()
