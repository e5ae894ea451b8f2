"""The limits of a loop: no method measures more than it was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from prefect_qiskit_runtime import ConfigurationError, minimize
from tests.loops.test_minimize import Bowl

pytestmark = pytest.mark.usefixtures("prefect_server")

SIZE = 32


class WideBowl:
    """A function of many parameters, which keeps its calls; with `jac`, it returns a gradient."""

    def __init__(self, *, jac: bool = False) -> None:
        self.calls: list[np.ndarray] = []
        self.jac = jac

    def __call__(self, point: np.ndarray) -> tuple[float, ...] | tuple[float, np.ndarray, float]:
        self.calls.append(np.array(point))
        value = float(np.sum((point - 0.3) ** 4 + point**2))
        return (value, 4 * (point - 0.3) ** 3 + 2 * point, 0.0) if self.jac else (value, 0.0)


@pytest.mark.parametrize("method", ["COBYLA", "COBYQA", "TNC"])
@pytest.mark.parametrize("maxiter", [1, 3, 33, 34, 35, 66, 70])
def test_methods_that_count_points_measure_at_most_maxiter_of_them(
    method: str, maxiter: int
) -> None:
    bowl = WideBowl(jac=method == "TNC")
    result = minimize.fn(bowl, np.zeros(SIZE), method=method, jac=bowl.jac, maxiter=maxiter)
    assert len(bowl.calls) == len(result.history) == result.evaluations <= maxiter
    assert result.iterations == len(bowl.calls)
    if method != "TNC":  # it converges
        assert (len(bowl.calls), result.reason) == (maxiter, "maxiter")
        assert result.value == min(step.value for step in result.history)


def test_a_loop_that_its_method_would_continue_says_why_it_ended() -> None:
    result = minimize.fn(WideBowl(), np.zeros(SIZE), method="COBYLA", maxiter=3)
    assert result.message == "COBYLA: ended by the loop after 3 measured points"


METHODS = ["COBYLA", "COBYQA", "Nelder-Mead", "Powell", "SPSA"]
GRADIENT_METHODS = ["CG", "BFGS", "L-BFGS-B", "TNC", "SLSQP", "trust-constr"]


@pytest.mark.parametrize("method", [*METHODS, *GRADIENT_METHODS])
def test_without_iterations_only_the_start_is_measured(method: str) -> None:
    bowl = WideBowl(jac=method in GRADIENT_METHODS)
    result = minimize.fn(bowl, np.full(3, 0.1), method=method, jac=bowl.jac, maxiter=0)
    np.testing.assert_array_equal(bowl.calls, [np.full(3, 0.1)])
    assert (result.reason, result.iterations, result.history) == ("maxiter", 0, ())
    assert result.message == f"{method}: ended by the loop after 0 {_counted(method)}"


def _counted(method: str) -> str:
    return "measured points" if method in ("COBYLA", "COBYQA", "TNC") else "iterations"


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_methods_with_gradients_take_at_most_maxiter_iterations(method: str) -> None:
    bowl = WideBowl(jac=True)
    result = minimize.fn(bowl, np.zeros(SIZE), method=method, jac=True, maxiter=2)
    assert result.iterations <= 2
    assert len(bowl.calls) == len(result.history)


@pytest.mark.parametrize("method", ["COBYLA", "COBYQA"])
def test_a_loop_cut_before_its_first_model_goes_on_from_its_records(method: str) -> None:
    whole = minimize.fn(Bowl(), [0.0, 0.0], method=method, maxiter=40)
    options = {"method": method, "durable_key": f"cut-early-{method}"}
    assert len(minimize.fn(Bowl(), [0.0, 0.0], maxiter=3, **options).history) == 3
    longer = minimize.fn(rest := Bowl(), [0.0, 0.0], maxiter=40, **options)
    assert len(rest.calls) == len(whole.history) - 3
    np.testing.assert_array_equal(longer.parameters, whole.parameters)


def test_a_loop_with_constraints_that_is_cut_ends_at_its_start() -> None:
    constraint = {"type": "ineq", "fun": lambda point: 0.1 - point[0]}
    result = minimize.fn(Bowl(), [0.0, 0.0], maxiter=2, method_options={"constraints": constraint})
    np.testing.assert_array_equal(result.parameters, [0.0, 0.0])


@pytest.mark.parametrize("budget", [1, 21, 22, 27, 28])
def test_exact_values_of_spsa_stay_within_the_evaluations(budget: int) -> None:
    bowl = Bowl()
    result = minimize.fn(bowl, [0.0, 0.0], method="SPSA", max_evaluations=budget)
    assert len(bowl.calls) == result.evaluations <= budget
    assert result.reason == "max_evaluations"


@pytest.mark.parametrize("limits", [{"maxiter": None}, {"maxiter": -1}, {"maxiter": 2.5}])
def test_a_maxiter_that_is_not_a_count_is_refused_before_the_first_step(limits: dict) -> None:
    bowl = Bowl()
    with pytest.raises(ConfigurationError, match="maxiter must be a whole number from 0 up"):
        minimize.fn(bowl, [0.0, 0.0], **limits)
    assert bowl.calls == []


@pytest.mark.parametrize("wrong", [0, -3, 1.5, True])
def test_max_evaluations_leaves_one_for_the_final_point(wrong: object) -> None:
    bowl = Bowl()
    with pytest.raises(ConfigurationError, match="max_evaluations must be None or a whole number"):
        minimize.fn(bowl, [0.0, 0.0], max_evaluations=wrong)
    assert bowl.calls == []
