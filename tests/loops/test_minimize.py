"""Loops over functions: recorded values are not requested again."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from prefect import flow
from prefect.variables import Variable

from prefect_qiskit_runtime import (
    ConfigurationError,
    DurableLoop,
    LoopDivergedError,
    LoopStep,
    minimize,
)

pytestmark = pytest.mark.usefixtures("prefect_server")

MINIMUM = np.array([0.3, -0.7])


class Bowl:
    """A function with its minimum at `MINIMUM`, which keeps its calls and may fail once."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.calls: list[np.ndarray] = []
        self.fails_at = fails_at

    def __call__(self, point: np.ndarray) -> tuple[float, float]:
        if len(self.calls) == self.fails_at:
            self.fails_at = None
            raise RuntimeError("the machine is on fire")
        self.calls.append(np.array(point))
        return float(np.sum((point - MINIMUM) ** 2)), 0.0


def noisy(calls: list[int]) -> Callable[..., Any]:
    def function(points: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        calls.append(len(points))
        noise = np.random.default_rng(seed).normal(0, 0.01, len(points))
        return np.sum((points - MINIMUM) ** 2, axis=1) + noise, np.full(len(points), 0.01)

    return function


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return f"loop-of-{request.node.name}"


@pytest.mark.parametrize("method", ["COBYLA", "Nelder-Mead", "Powell", "L-BFGS-B", "cobyqa"])
def test_methods_of_scipy_find_the_minimum(method: str) -> None:
    result = minimize.fn(Bowl(), [0.0, 0.0], method=method, maxiter=200)
    np.testing.assert_allclose(result.parameters, MINIMUM, atol=1e-3)
    assert result.converged
    assert (result.value, result.std) == (pytest.approx(0, abs=1e-5), 0.0)


def test_a_finished_loop_is_answered_from_its_records(key: str) -> None:
    first = minimize.fn(Bowl(), [0.0, 0.0], durable_key=key)
    again = Bowl()
    second = minimize.fn(again, [0.0, 0.0], durable_key=key)
    assert again.calls == []
    assert second.value == first.value
    assert all(step.replayed for step in second.history)


@pytest.mark.parametrize("fails_at", [0, 1, 7])
def test_a_loop_that_broke_off_goes_on_where_it_was(key: str, fails_at: int) -> None:
    calm = Bowl()
    expected = minimize.fn(calm, [0.0, 0.0])
    broken = Bowl(fails_at)
    with pytest.raises(RuntimeError, match="on fire"):
        minimize.fn(broken, [0.0, 0.0], durable_key=key)
    again = Bowl()
    result = minimize.fn(again, [0.0, 0.0], durable_key=key)
    assert result.value == expected.value
    np.testing.assert_array_equal([*broken.calls, *again.calls], calm.calls)


def test_rounding_of_the_start_is_not_another_loop(key: str) -> None:
    first = minimize.fn(Bowl(), [0.1, 0.1], durable_key=key, maxiter=5)
    again = Bowl()
    second = minimize.fn(again, [0.1 + 1e-12, 0.1], durable_key=key, maxiter=5)
    assert again.calls == []
    np.testing.assert_array_equal(
        [step.point for step in second.history], [step.point for step in first.history]
    )


def test_another_start_stops_with_an_error_and_asks_for_nothing(key: str) -> None:
    minimize.fn(Bowl(), [0.0, 0.0], durable_key=key)
    again = Bowl()
    with pytest.raises(LoopDivergedError, match=r"Step 0 .* up to 0\.5 away") as caught:
        minimize.fn(again, [0.5, 0.0], durable_key=key)
    assert (again.calls, caught.value.index) == ([], 0)


@pytest.mark.parametrize("changed", [{"method": "Powell"}, {"seed": 9}])
def test_another_method_or_seed_stops_with_an_error(key: str, changed: dict[str, Any]) -> None:
    minimize.fn(Bowl(), [0.0, 0.0], durable_key=key)
    again = Bowl()
    with pytest.raises(LoopDivergedError, match=f"with {next(iter(changed))} "):
        minimize.fn(again, [0.0, 0.0], durable_key=key, **changed)
    assert again.calls == []


@pytest.mark.parametrize("method", ["SPSA", "Nelder-Mead", "COBYLA"])
def test_a_higher_maxiter_goes_on_from_the_records(key: str, method: str) -> None:
    options = {"method": method, "seed": 4}
    whole = minimize.fn(noisy([]), [0.0, 0.0], maxiter=12, **options)
    short = minimize.fn(noisy([]), [0.0, 0.0], maxiter=6, durable_key=key, **options)
    calls: list[int] = []
    longer = minimize.fn(noisy(calls), [0.0, 0.0], maxiter=12, durable_key=key, **options)
    assert (longer.value, longer.std) == (whole.value, whole.std)
    np.testing.assert_array_equal(longer.parameters, whole.parameters)
    assert sum(step.replayed for step in longer.history) == len(short.history)
    assert len(calls) == len(whole.history) - len(short.history) + 1  # and the end


def test_spsa_measures_two_points_at_once_after_its_calibration() -> None:
    calls: list[int] = []
    result = minimize.fn(noisy(calls), [0.0, 0.0], method="SPSA", maxiter=30, seed=2)
    assert calls == [21, *[2] * 30, 1]
    assert result.evaluations == sum(calls)
    assert result.reason == "maxiter"
    np.testing.assert_allclose(result.parameters, MINIMUM, atol=0.1)


def test_spsa_of_one_seed_is_one_trajectory() -> None:
    first, second, other = (
        minimize.fn(noisy([]), [0.0, 0.0], method="SPSA", maxiter=5, seed=seed)
        for seed in (2, 2, 3)
    )
    np.testing.assert_array_equal(first.parameters, second.parameters)
    assert (first.parameters != other.parameters).any()


def test_a_noisy_end_is_measured_again_and_has_its_standard_error() -> None:
    result = minimize.fn(noisy([]), [0.0, 0.0], method="COBYLA", maxiter=20)
    assert result.std == 0.01
    assert result.value not in [step.value for step in result.history]


@pytest.mark.parametrize(("method", "budget"), [("SPSA", 30), ("COBYLA", 10)])
def test_the_budget_counts_calibration_and_end(method: str, budget: int) -> None:
    calls: list[int] = []
    result = minimize.fn(noisy(calls), [0.0, 0.0], method=method, max_evaluations=budget)
    assert result.reason == "max_evaluations"
    assert sum(calls) == result.evaluations == budget


def test_a_tolerance_ends_spsa() -> None:
    result = minimize.fn(noisy([]), MINIMUM, method="SPSA", maxiter=500, tol=0.02)
    assert result.reason == "tolerance"
    assert result.converged
    assert result.iterations < 100


class Halving:
    """A user's optimizer, which shrinks a cross around the best point."""

    def __init__(self) -> None:
        self.best, self.width = np.zeros(2), 1.0

    def ask(self) -> list[np.ndarray]:
        steps = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
        return list(self.best + self.width * steps)

    def tell(self, points: list[np.ndarray], values: list[float]) -> None:
        number = int(np.argmin(values))
        self.best = points[number]
        self.width /= 2 if number == 0 else 1

    def stop(self) -> bool:
        return self.width < 1e-3

    def recommend(self) -> np.ndarray:
        return self.best


def test_a_users_optimizer_is_asked_for_points_and_gets_their_values(key: str) -> None:
    result = minimize.fn(Bowl(), [0.0, 0.0], method=Halving(), durable_key=key)
    np.testing.assert_allclose(result.parameters, MINIMUM, atol=2e-3)
    assert result.converged
    again = Bowl()
    assert minimize.fn(again, [0.0, 0.0], method=Halving(), durable_key=key).value == result.value
    assert again.calls == []


def test_a_result_is_a_warm_start() -> None:
    first = minimize.fn(Bowl(), [0.0, 0.0], maxiter=5)
    second = minimize.fn(warm := Bowl(), first)
    np.testing.assert_array_equal(warm.calls[0], first.parameters)
    assert second.value < first.value


def test_the_callback_has_each_step_in_the_thread_of_the_caller(key: str) -> None:
    seen: list[tuple[LoopStep, threading.Thread]] = []

    def callback(step: LoopStep) -> None:
        seen.append((step, threading.current_thread()))
        raise ValueError("of the user's")

    result = minimize.fn(Bowl(), [0.0, 0.0], maxiter=5, durable_key=key, callback=callback)
    assert [step for step, _ in seen] == list(result.history)
    assert {thread for _, thread in seen} == {threading.current_thread()}


def test_bounds_and_constraints_are_for_the_methods_that_have_them() -> None:
    options = {"bounds": [(0.0, 0.1), (-1.0, 1.0)]}
    bounded = minimize.fn(Bowl(), [0.0, 0.0], method="L-BFGS-B", method_options=options)
    np.testing.assert_allclose(bounded.parameters, [0.1, -0.7], atol=1e-3)
    options = {"constraints": {"type": "eq", "fun": lambda point: point[0] - point[1]}}
    bounded = minimize.fn(Bowl(), [0.0, 0.0], method="SLSQP", method_options=options)
    np.testing.assert_allclose(bounded.parameters, [-0.2, -0.2], atol=1e-3)


@pytest.mark.parametrize("method", ["SPSA", "Powell", "COBYLA"])
def test_a_value_that_is_no_number_ends_the_loop_and_is_not_on_record(
    key: str, method: str
) -> None:
    bowl = Bowl()

    def broken(point: np.ndarray) -> float:
        return float("nan") if len(bowl.calls) == 3 else bowl(point)[0]

    with pytest.raises(ConfigurationError, match=r"not a number \(NaN\) in step \d+, at \["):
        minimize.fn(broken, [0.0, 0.0], method=method, durable_key=key)
    before = len(bowl.calls)
    assert minimize.fn(bowl, [0.0, 0.0], method=method, durable_key=key).value < 0.1
    assert len(bowl.calls) > before


def test_an_infinite_value_says_where_not_to_go() -> None:
    def walled(point: np.ndarray) -> float:
        return float("inf") if point[0] > 0.1 else float(np.sum((point - MINIMUM) ** 2))

    result = minimize.fn(walled, [0.0, 0.0], method="Nelder-Mead", maxiter=200)
    np.testing.assert_allclose(result.parameters, [0.1, -0.7], atol=1e-2)


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_a_point_that_is_nowhere_is_not_measured() -> None:
    def walled(points: np.ndarray) -> np.ndarray:
        return np.where(points[:, 0] > 0.0, np.inf, 1.0)

    options = {"method": "SPSA", "method_options": {"calibration_pairs": 0}}
    with pytest.raises(ConfigurationError, match=r"in step 1 for a point whose .* not finite"):
        minimize.fn(walled, [0.0, 0.0], **options)


def test_a_gradient_comes_with_its_value() -> None:
    def with_gradient(point: np.ndarray) -> tuple[float, np.ndarray]:
        return float(np.sum((point - MINIMUM) ** 2)), 2 * (point - MINIMUM)

    result = minimize.fn(with_gradient, [0.0, 0.0], method="BFGS", jac=True)
    assert len(result.history) < 8
    np.testing.assert_allclose(result.parameters, MINIMUM, atol=1e-6)


def test_a_flow_run_that_is_retried_finds_its_loops() -> None:
    bowl = Bowl(fails_at=7)

    @flow(retries=1)
    def looping() -> list[float]:
        first = minimize(bowl, [0.0, 0.0], maxiter=5)
        return [first.value, minimize(bowl, first, maxiter=5).value]  # loops without names

    first, second = looping()
    assert first > second
    assert len(bowl.calls) == 10


def test_the_variable_of_the_flow_run_ends_its_loop_and_is_on_record() -> None:
    calls: list[int] = []

    @flow(flow_run_name="brave-newt")
    def looping() -> str:
        return minimize(noisy(calls), [0.0, 0.0], method="SPSA", durable_key="newt").reason

    Variable.set("stop_brave_newt", "true")
    assert looping() == "stopped"
    Variable.unset("stop_brave_newt")
    assert looping() == "stopped"
    assert calls == [1]  # where it ends


def test_a_users_loop_reuses_its_recorded_values(key: str) -> None:
    def scan(function: Any) -> list[float]:
        with DurableLoop(function, durable_key=key) as loop:
            return [loop.evaluate([angle, 0.0]).value for angle in (0.0, 0.5, 1.0)]

    again = Bowl()
    assert scan(Bowl()) == scan(again)
    assert again.calls == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "Newton"}, r"method must be one of Nelder-Mead, .*'Newton'"),
        ({"method": "SPSA", "jac": True}, "jac=True is for methods of SciPy"),
        ({"method": "SPSA", "method_options": {"gain": 1}}, "They are perturbation, first_step"),
        ({"session": "batch"}, "backend is missing"),
        ({"start": [[0.0]]}, r"start has the shape \(1, 1\)"),
        ({"start": []}, r"start has the shape \(0,\)"),
        ({"start": [math.nan]}, r"start must be finite numbers, not \[nan\]"),
        ({"start": ["wide"]}, r"start must be numbers, not \[.wide.\]"),
        ({"objective": 3}, "The objective of a loop is"),
        ({"objective": lambda point: "low"}, "must return a number"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, Any], message: str) -> None:
    options = {"objective": Bowl(), "start": [0.0, 0.0], **arguments}
    with pytest.raises(ConfigurationError, match=message):
        minimize.fn(options.pop("objective"), options.pop("start"), **options)
