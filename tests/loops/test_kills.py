"""kill -9 at random moments of a loop: the same trajectory, and no evaluation twice."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from tests.loops.conftest import LoopRun, NewLoopRun

LIH = {"molecule": "lih_1.595_4q", "method": "SPSA", "maxiter": 60, "shots": 1000}
H2 = {"molecule": "h2_0.735", "method": "SPSA", "maxiter": 5, "shots": 200}


def is_same(result: dict[str, Any], calm: dict[str, Any]) -> bool:
    return all(
        result[what] == calm[what] for what in ("value", "std", "parameters", "points", "values")
    )


def check_paid_once(run: LoopRun, result: dict[str, Any]) -> None:
    """Each step has exactly one job, and the only other job measures the final point."""
    made = [job["id"] for job in run.jobs]
    assert len(made) == len(set(made)) == result["jobs"] == len(result["points"]) + 1
    assert len(result["job_ids"]) == len(set(result["job_ids"])) == len(result["points"])
    assert set(result["job_ids"]) < set(made)


def test_a_kill_changes_nothing(new_loop_run: NewLoopRun) -> None:
    calm = new_loop_run(**H2).finish_here()
    run = new_loop_run(**H2)
    run.kill_after(3, random.Random(5))
    result = run.finish_here()
    assert is_same(result, calm)
    check_paid_once(run, result)
    assert result["replayed"] > 0
    assert result["jobs"] == calm["jobs"]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_ten_kills_of_a_vqe_of_lithium_hydride_change_nothing(new_loop_run: NewLoopRun) -> None:
    calm = new_loop_run(**LIH).finish()
    run, rng = new_loop_run(**LIH), random.Random(11)
    for _ in range(10):
        run.kill_after(rng.randint(1, 6), rng)
    result = run.finish()
    assert is_same(result, calm)
    check_paid_once(run, result)
    assert result["jobs"] == calm["jobs"] == LIH["maxiter"] + 2  # the calibration, and the end


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("method", ["SPSA", "L-BFGS-B"])
def test_so_does_another_number_of_blas_threads(new_loop_run: NewLoopRun, method: str) -> None:
    options = {**LIH, "method": method, "maxiter": 12}
    calm = new_loop_run(**options).finish(threads=1)
    run, rng = new_loop_run(**options), random.Random(3)
    for threads in (4, 1, 2):
        run.kill_after(2, rng, threads=threads)
    result = run.finish(threads=4)
    check_paid_once(run, result)
    assert result["jobs"] == calm["jobs"]
    for mine, theirs in zip(result["points"], calm["points"], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-9)
    assert result["value"] == pytest.approx(calm["value"], abs=1e-9)
