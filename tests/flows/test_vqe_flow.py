"""The VQE flow as a deployment runs it: loaded by its entrypoint, on the embedded service."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from prefect.flows import Flow
from prefect.utilities.callables import parameter_schema

from tests.flows.examples import example_flow


@pytest.fixture(scope="module")
def vqe_flow() -> Flow[..., Any]:
    return example_flow("vqe")


@pytest.fixture(scope="module")
def summary(vqe_flow, prefect_server, service_home) -> dict[str, Any]:
    return vqe_flow(molecule="lih_1.595_4q")


def artifact(what: str) -> Any:
    with get_client(sync_client=True) as client:
        (found,) = client.read_latest_artifacts(
            artifact_filter=ArtifactCollectionFilter(
                key=ArtifactCollectionFilterKey(any_=[f"vqe-lih-1-595-4q-{what}"])
            )
        )
    return found


def test_the_flow_reaches_the_exact_energy(summary):
    assert abs(summary["error_millihartree"]) < 0.1
    assert summary["correlation_recovered"] >= 0.98
    assert summary["estimation"] == "exact"
    assert summary["backend"] == "aer_simulator"


def test_the_progress_artifact_ends_at_100_percent(summary):
    assert float(artifact("progress").data) == 100.0


def test_the_convergence_plot_is_a_picture_the_ui_shows(summary):
    assert "](data:image/png;base64,iVBOR" in artifact("convergence").data
    assert "](data:image/png;base64,iVBOR" in artifact("state").data


def test_its_iterations_are_a_table(summary):
    rows = json.loads(artifact("table").data)

    assert [row["value"] for row in rows] == summary["result"]["energies"]


def test_the_summary_artifact_says_what_came_out_and_where_from(summary):
    text = artifact("summary").data

    for expected in (
        "-7.881145",
        "millihartree",
        summary["job_id"],
        summary["program_id"],
        "aer_simulator",
        "| Seed | 1 |",
        "| Version of qiskit |",
    ):
        assert expected in text


def test_all_artifacts_state_the_same_number_of_measured_energies(summary):
    count = summary["evaluations"]
    assert f"| Cost so far: energies | {count} |" in artifact("convergence").data
    assert f"({count} energies measured)" in artifact("summary").data


def test_a_circuit_ansatz_goes_through_the_service(vqe_flow, prefect_server, service_home):
    summary = vqe_flow(molecule="h2_0.735", ansatz="efficient_su2")

    assert abs(summary["error_millihartree"]) < 0.1


def test_the_form_in_the_ui_has_descriptions_choices_and_limits(vqe_flow):
    properties = parameter_schema(vqe_flow).properties

    assert all(described.get("description") for described in properties.values())
    assert properties["optimizer"]["enum"] == ["auto", "L-BFGS-B", "SLSQP", "COBYLA", "SPSA"]
    assert properties["maxiter"]["minimum"] == 1


def test_the_form_offers_every_shipped_molecule(vqe_flow, molecules):
    hints = vqe_flow.fn.__globals__

    assert list(get_args(hints["MoleculeName"])) == molecules.molecule_names()


def test_the_summary_is_plain_json(summary):
    assert json.loads(json.dumps(summary)) == summary
