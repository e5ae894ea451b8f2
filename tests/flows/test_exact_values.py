"""The example flows choose their optimizer by whether values are exact, not by a name."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from prefect_qiskit_runtime import RuntimeBackend
from tests.flows.examples import example_flow

pytestmark = pytest.mark.usefixtures("prefect_server", "service_home")

IDEAL = "aer_simulator"


@pytest.fixture(scope="module")
def shots() -> ModuleType:
    path = Path(__file__).parents[2] / "flows" / "shots.py"
    spec = importlib.util.spec_from_file_location("shots_of_flows", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("backend", "given", "exact"),
    [
        (IDEAL, None, True),
        (IDEAL, 100, False),
        ("fake_manila", None, False),
        (RuntimeBackend(name=IDEAL), None, True),
        (RuntimeBackend(name=IDEAL, default_shots=100), None, False),
        (RuntimeBackend(name=IDEAL, default_precision=0.1), None, False),
        (RuntimeBackend(name=IDEAL, estimator_options={"default_shots": 100}), None, False),
        (RuntimeBackend(name="fake_manila"), None, False),
    ],
)
def test_values_are_exact_without_shots_on_the_ideal_backend(
    shots: ModuleType, backend: Any, given: int | None, exact: bool
) -> None:
    assert shots.are_exact(backend, given) is exact


def test_a_block_with_shots_gets_the_optimizer_for_sampled_energies() -> None:
    block = RuntimeBackend(name=IDEAL, default_shots=100)
    summary = example_flow("vqe_session")(maxiter=1, session=None, backend=block)
    assert summary["method"] == "SPSA"
    assert summary["standard_error_millihartree"] > 0


@pytest.mark.parametrize(
    ("settings", "expected"), [({"default_shots": 100}, 100), ({"default_precision": 0.03}, 1112)]
)
def test_the_program_uses_the_shots_of_the_block(settings: dict[str, Any], expected: int) -> None:
    block = RuntimeBackend(name=IDEAL, **settings)
    summary = example_flow("vqe")(maxiter=1, backend=block)
    assert (summary["estimation"], summary["shots"]) == ("sampled", expected)
    assert summary["optimizer"] == "SPSA"
