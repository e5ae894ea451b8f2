"""QAOA on a weighted graph, as a deployment runs it: the cut is large, and grows with layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect.flows import Flow
from pydantic import ValidationError

from tests.flows.examples import example_flow
from tests.flows.shown import artifact


@pytest.fixture(scope="module")
def qaoa() -> Flow[..., Any]:
    return example_flow("qaoa_maxcut")


@pytest.fixture(scope="module")
def summary(qaoa: Flow[..., Any], prefect_server: None, service_home: Path) -> dict[str, Any]:
    return qaoa()


def names(qaoa: Flow[..., Any]) -> dict[str, Any]:
    return qaoa.fn.__globals__


def test_the_shipped_graph_has_eight_nodes_of_three_edges_with_different_weights(
    qaoa: Flow[..., Any],
) -> None:
    graph = names(qaoa)["read_graph"]("graphs/cubic_8.json")
    degrees = np.bincount([end for edge in graph.edges for end in (edge.first, edge.second)])
    assert degrees.tolist() == [3] * 8
    assert len({edge.weight for edge in graph.edges}) > 1


def test_the_cuts_are_those_of_a_triangle_counted_by_hand(qaoa: Flow[..., Any]) -> None:
    triangle = names(qaoa)["Graph"].model_validate(
        {"edges": [{"first": 0, "second": 1, "weight": w} | ends for w, ends in WEIGHTED]}
    )
    assert triangle.cuts().tolist() == [0, 5, 3, 6, 6, 3, 5, 0]


WEIGHTED = [(1, {}), (2, {"first": 1, "second": 2}), (4, {"first": 2, "second": 0})]


def test_the_expected_cut_is_large_and_rises_with_the_layers(summary: dict[str, Any]) -> None:
    one, two, three = summary["expected_ratios"]
    assert summary["random_ratio"] < 0.6 < one < two < three <= 1
    assert three >= 0.85


def test_the_samples_come_from_the_state_whose_cut_is_expected(summary: dict[str, Any]) -> None:
    # 1000 samples of a cut that varies by about a tenth of its size.
    assert summary["sampled_mean_cut"] == pytest.approx(summary["expected_cuts"][-1], rel=0.02)


def test_the_best_sample_is_a_cut_of_the_graph_and_is_reported_apart(
    qaoa: Flow[..., Any], summary: dict[str, Any]
) -> None:
    graph = names(qaoa)["read_graph"]("graphs/cubic_8.json")
    side = set(summary["best_sample"])
    parted = [edge for edge in graph.edges if (edge.first in side) != (edge.second in side)]
    assert sum(edge.weight for edge in parted) == pytest.approx(summary["best_sample_cut"])
    assert summary["expected_cuts"][-1] < summary["best_sample_cut"] <= summary["best_cut"]


def test_the_cut_is_shown_as_a_picture_and_a_table(summary: dict[str, Any]) -> None:
    assert "](data:image/png;base64,iVBOR" in artifact("qaoa-maxcut-cut").data
    assert f"{summary['best_cut']:.4f}" in artifact("qaoa-maxcut-summary").data


def test_exact_expected_cuts_have_no_error(summary: dict[str, Any]) -> None:
    assert summary["expected_cut_errors"] == [0.0] * 3


def test_sampled_expected_cuts_are_stated_with_their_standard_errors(
    qaoa: Flow[..., Any], prefect_server: None, service_home: Path
) -> None:
    pair = names(qaoa)["Graph"].model_validate(
        {"edges": [{"first": 0, "second": 1, "weight": 2.0}]}
    )
    sampled = qaoa(pair, layers=1, maxiter=3, shots=400, samples=100)
    ((cut,), (error,)) = sampled["expected_cuts"], sampled["expected_cut_errors"]
    # A shot gives 0 or 2, so the mean alone determines the sample variance.
    assert error == pytest.approx(np.sqrt(cut * (2 - cut) / 399))
    assert f"{cut:.4f} ± {error:.4f} (" in artifact("qaoa-maxcut-summary").data
    mean = sampled["sampled_mean_cut"]
    assert sampled["sampled_mean_cut_error"] == pytest.approx(np.sqrt(mean * (2 - mean) / 99))


def test_a_graph_with_only_negative_weights_is_not_cut_and_has_no_ratios(
    qaoa: Flow[..., Any], prefect_server: None, service_home: Path
) -> None:
    edges = [{"first": 0, "second": 1, "weight": -1.0}, {"first": 1, "second": 2, "weight": -2.0}]
    found = qaoa(names(qaoa)["Graph"].model_validate({"edges": edges}), layers=2)
    assert (found["best_cut"], found["best_sample_cut"]) == (0.0, 0.0)
    assert -1.5 < found["expected_cuts"][0] < found["expected_cuts"][1] <= 0
    assert (found["expected_ratios"], found["random_ratio"]) == ([None, None], None)
    assert found["random_cut"] == -1.5
    table = artifact("qaoa-maxcut-summary").data
    assert "| Random cut | -1.5000 |" in table
    assert "of the best" not in table


def test_a_graph_whose_weights_are_all_zero_is_refused_in_words(qaoa: Flow[..., Any]) -> None:
    edges = [{"first": 0, "second": 1, "weight": 0.0}]
    with pytest.raises(ValidationError, match="all weights are 0, so all cuts are equal"):
        names(qaoa)["Graph"].model_validate({"edges": edges})


@pytest.mark.parametrize("weight", [float("inf"), float("nan")])
def test_a_weight_that_is_not_finite_is_refused(qaoa: Flow[..., Any], weight: float) -> None:
    edges = [{"first": 0, "second": 1, "weight": weight}]
    with pytest.raises(ValidationError, match="finite number"):
        names(qaoa)["Graph"].model_validate({"edges": edges})


def test_the_summary_is_plain_json(summary: dict[str, Any]) -> None:
    assert json.loads(json.dumps(summary)) == summary


@pytest.mark.parametrize(
    "edges",
    [[{"first": 0, "second": 0}], [{"first": 0, "second": 1}, {"first": 1, "second": 0}]],
)
def test_a_graph_with_a_loop_or_a_double_edge_is_refused(
    qaoa: Flow[..., Any], edges: list[dict[str, int]]
) -> None:
    with pytest.raises(ValidationError, match="is a loop or a duplicate"):
        names(qaoa)["Graph"].model_validate({"edges": edges})
