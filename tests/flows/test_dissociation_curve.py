"""The dissociation curve as a deployment runs it: exact at every point."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prefect.flows import Flow

from tests.flows.examples import example_flow
from tests.flows.shown import artifact


@pytest.fixture(scope="module")
def curve_flow() -> Flow[..., Any]:
    return example_flow("dissociation_curve")


@pytest.mark.parametrize(
    ("molecule", "distances"),
    [
        pytest.param(
            "H2",
            [0.4, 0.5, 0.6, 0.7, 0.735, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.25, 2.5],
            marks=pytest.mark.slow,
        ),
        ("LiH", [1.2, 1.595, 2.0, 2.6]),
    ],
)
@pytest.mark.usefixtures("prefect_server", "service_home")
def test_every_point_is_within_a_tenth_of_a_millihartree_of_exact(
    curve_flow: Flow[..., Any], molecule: str, distances: list[float]
) -> None:
    outcome = curve_flow(molecule=molecule)
    points = outcome["points"]
    assert [one["distance_angstrom"] for one in points] == distances
    for one in points:
        assert one["energy"] == pytest.approx(one["exact_energy"], abs=1e-4)
        # Hartree-Fock, where the coarse points start, is not that near.
        assert one["hartree_fock_energy"] > one["exact_energy"] + 1e-3
    key = f"dissociation-{molecule.lower()}"
    assert "](data:image/png;base64,iVBOR" in artifact(f"{key}-curve").data
    assert len(json.loads(artifact(f"{key}-points").data)) == len(distances)


def test_a_point_starts_between_the_parameters_of_its_neighbours(
    curve_flow: Flow[..., Any],
) -> None:
    from_neighbours = curve_flow.fn.__globals__["from_neighbours"]
    known = {1.0: {"parameters": [0.0, 4.0]}, 2.0: {"parameters": [1.0, 0.0]}}
    assert from_neighbours(1.25, known) == [0.25, 3.0]
    assert from_neighbours(0.5, known) == [0.0, 4.0]
    assert from_neighbours(9.0, known) == [1.0, 0.0]
    # A point's own parameters are not what it starts from again.
    assert from_neighbours(1.0, known) == [1.0, 0.0]
