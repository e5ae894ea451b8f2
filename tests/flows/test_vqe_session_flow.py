"""The VQE whose optimizer runs in the flow, loaded by its entrypoint, on the embedded service."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema

from tests.flows.examples import example_flow
from tests.flows.shown import artifact as shown


@pytest.fixture(scope="module")
def summary(prefect_server: None, service_home: object) -> dict[str, Any]:
    return example_flow("vqe_session")(molecule="h2_0.735")


def artifact(what: str) -> Any:
    return shown(f"vqe-session-h2-0-735-{what}")


def test_the_flow_reaches_the_exact_energy(summary: dict[str, Any]) -> None:
    assert abs(summary["error_millihartree"]) < 0.1
    assert summary["reason"] == "converged"
    assert summary["jobs"] < 12


def test_its_artifacts_say_how_it_went(summary: dict[str, Any]) -> None:
    assert float(artifact("progress").data) == 100.0
    assert "](data:image/png;base64,iVBOR" in artifact("state").data
    for expected in ("-1.137306", "| Best parameters |", f"| Cost | {summary['jobs']} jobs"):
        assert expected in artifact("summary").data


def test_its_loop_is_shown_with_what_is_best_and_what_it_has_cost(
    summary: dict[str, Any],
) -> None:
    text = artifact("convergence").data
    for expected in (
        "](data:image/png;base64,iVBOR",
        "| Lowest so far | -1.1373",
        "| Parameters there |",
        f"| Cost so far: jobs | {summary['jobs']} |",
    ):
        assert expected in text


def test_its_steps_are_a_table_that_the_ui_can_hand_out(summary: dict[str, Any]) -> None:
    rows = json.loads(artifact("table").data)
    assert [row["iteration"] for row in rows] == list(range(summary["jobs"]))
    assert rows[-1]["energies"] == summary["evaluations"]
    assert json.loads(rows[0]["parameters"]) == [0.0, 0.0, 0.0]


def test_with_shots_the_final_measurement_is_counted_everywhere(
    prefect_server: None, service_home: object
) -> None:
    found = example_flow("vqe_session")(molecule="h2_0.800", shots=100, maxiter=2)
    jobs, energies = found["jobs"], found["evaluations"]
    text = shown("vqe-session-h2-0-800-convergence").data
    assert f"| Cost so far: jobs | {jobs} |" in text
    assert f"| Cost so far: energies | {energies} |" in text
    assert (
        f"| Cost | {jobs} jobs, {energies} energies |" in shown("vqe-session-h2-0-800-summary").data
    )
    assert json.loads(shown("vqe-session-h2-0-800-table").data)[-1]["energies"] == energies - 1


def test_its_form_has_descriptions() -> None:
    properties = parameter_schema(example_flow("vqe_session")).properties
    assert all(described.get("description") for described in properties.values())
