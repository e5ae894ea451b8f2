"""The largest cut of a weighted graph, by QAOA with a growing number of layers.

    python flows/qaoa_maxcut.py

Each depth starts from the best angles of the previous one, interpolated (Zhou et al. 2020), and is
one job of the program `vqe`: a QAOA is a VQE whose Hamiltonian is the negative cut.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, Field, model_validator

from prefect_qiskit_runtime import RuntimeBackend, run_program, run_sampler, upload_program
from prefect_qiskit_runtime.artifacts import markdown_table, render_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from qiskit import QuantumCircuit
    from qiskit.quantum_info import SparsePauliOp

MAX_NODES = 16
"""The best cut, with which results are compared, is found by enumerating all cuts."""


class Edge(BaseModel):
    """An edge of a weighted graph."""

    first: int = Field(ge=0, lt=MAX_NODES, description="One of its nodes, counted from 0.")
    second: int = Field(ge=0, lt=MAX_NODES, description="The other node.")
    weight: float = Field(
        default=1.0, allow_inf_nan=False, description="Weight of the edge, added if it is cut."
    )


class Graph(BaseModel):
    """A weighted graph."""

    edges: list[Edge] = Field(min_length=1, description="Each pair of nodes at most once.")

    @model_validator(mode="after")
    def _pairs_are_different(self) -> Graph:
        pairs = [frozenset((edge.first, edge.second)) for edge in self.edges]
        wrong = [sorted(pair) for pair in pairs if len(pair) == 1 or pairs.count(pair) > 1]
        if wrong:
            raise ValueError(f"edges: {wrong[0]} is a loop or a duplicate.")
        if not any(edge.weight for edge in self.edges):
            raise ValueError("edges: all weights are 0, so all cuts are equal: name other weights.")
        return self

    @property
    def num_nodes(self) -> int:
        """Number of nodes: the highest node number plus one."""
        return 1 + max(max(edge.first, edge.second) for edge in self.edges)

    def cuts(self) -> np.ndarray:
        """Return the weight of every cut, 1D array; bit k of the index is the side of node k."""
        sides = np.arange(2**self.num_nodes)[:, np.newaxis] >> np.arange(self.num_nodes) & 1
        return sum(
            (edge.weight * (sides[:, edge.first] ^ sides[:, edge.second]) for edge in self.edges),
            start=np.zeros(len(sides)),
        )


@flow
def qaoa_maxcut(
    graph: Graph | None = None,
    *,
    graph_file: str = "graphs/cubic_8.json",
    layers: Annotated[int, Field(ge=1, le=8)] = 3,
    maxiter: Annotated[int, Field(ge=1)] = 100,
    shots: Annotated[int, Field(ge=1)] | None = None,
    samples: Annotated[int, Field(ge=1, le=100_000)] = 1000,
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1,
    backend: RuntimeBackend | str = "aer_simulator",
) -> dict[str, Any]:
    """Find a large cut of a weighted graph, and compare it with the best cut.

    Args:
        graph: The graph; empty for the one in the file.
        graph_file: JSON file with a graph, relative to the flow's file; not read if a graph is
            given.
        layers: QAOA is optimized with one layer, then with one more, up to this number.
        maxiter: Maximum number of iterations for each number of layers.
        shots: Shots for each evaluation of the expected cut; if empty, exact on aer_simulator,
            and the backend's default on one with noise.
        samples: Number of cuts to sample from the final state.
        seed: Makes the run reproducible.
        backend: A saved backend, or the name of a backend of the embedded service.

    Returns:
        The expected cut of each number of layers with its standard error (0 if exact), the best
        sample, and the best possible cut. Ratios to the best cut are None if it is 0, as without
        positive weights.
    """
    graph = graph or read_graph(graph_file)
    best = float(graph.cuts().max())
    program_id = upload_program("programs/vqe.py", metadata="programs/vqe.json", backend=backend)
    expected: list[float] = []
    errors: list[float] = []
    angles = RAMP
    for depth in range(1, layers + 1):
        angles = interpolate(angles, depth)
        result = run_program(
            program_id,
            {
                "hamiltonian": cost(graph),
                "constant_energy": -sum(edge.weight for edge in graph.edges) / 2,
                "ansatz": ansatz(graph, depth),
                "initial_point": angles.ravel(),
                "maxiter": maxiter,
                "shots": shots,
                "seed": seed,
            },
            backend=backend,
        )
        angles = np.reshape(result["parameters"], (2, depth))
        expected.append(-result["energy"])
        errors.append(result["std"])
        get_run_logger().info(
            "%d layers: expected cut %s", depth, describe(expected[-1], errors[-1], best)
        )
    circuit = ansatz(graph, layers).assign_parameters(angles.ravel())
    circuit.measure_all()
    sampled: Any = run_sampler([circuit], backend=backend, shots=samples, seed=seed, transpile=True)
    counts = sampled[0].data.meas.get_int_counts()
    summary = summarise(graph, expected, errors, counts)
    publish(graph, summary)
    return {**summary, "angles": angles.tolist()}


RAMP = np.array([[0.4], [0.4]])
"""Angles of the mixer and of the cost, in units of the mean weight, for one layer."""


def read_graph(file: str) -> Graph:
    """Read a graph from a JSON file next to this one."""
    return Graph.model_validate_json((Path(__file__).parent / file).read_text())


def interpolate(angles: np.ndarray, depth: int) -> np.ndarray:
    """Stretch the angles, 2D array (kind, layer), over a number of layers."""
    before = np.linspace(0, 1, angles.shape[1])
    return np.array([np.interp(np.linspace(0, 1, depth), before, kind) for kind in angles])


def cost(graph: Graph) -> SparsePauliOp:
    """Return the negative cut, without its constant, as an operator; node k is qubit k."""
    from qiskit.quantum_info import SparsePauliOp

    terms = [("ZZ", [edge.first, edge.second], edge.weight / 2) for edge in graph.edges]
    return SparsePauliOp.from_sparse_list(terms, graph.num_nodes)


def ansatz(graph: Graph, depth: int) -> QuantumCircuit:
    """Return the circuit with parameters b (mixer) and g (cost), one of each for a layer."""
    from qiskit import QuantumCircuit
    from qiskit.circuit import ParameterVector

    mixer, phase = ParameterVector("b", depth), ParameterVector("g", depth)
    # Scaled angles are of order one, whatever the unit of the weights.
    scale = np.mean([abs(edge.weight) for edge in graph.edges])
    circuit = QuantumCircuit(graph.num_nodes)
    circuit.h(range(graph.num_nodes))
    for layer in range(depth):
        for edge in graph.edges:
            circuit.rzz(phase[layer] * (edge.weight / scale), edge.first, edge.second)
        # The start is the ground state of the negative mixer, so both angles turn the same way.
        circuit.rx(-2 * mixer[layer], range(graph.num_nodes))
    return circuit


def describe(cut: float, error: float | None, best: float) -> str:
    """Write a cut with its standard error, and its part of the best cut if that is not 0."""
    stated = f"{cut:.4f} ± {error:.4f}" if error else f"{cut:.4f}"
    return f"{stated} ({cut / best:.1%} of the best)" if best else stated


def summarise(
    graph: Graph, expected: list[float], errors: list[float], counts: dict[int, int]
) -> dict[str, Any]:
    """Compare expected cuts and samples with the best cut."""
    cuts = graph.cuts()
    chosen = max(counts, key=lambda sides: cuts[sides])
    best = float(cuts.max())
    sampled = np.repeat([cuts[sides] for sides in counts], list(counts.values()))
    error = sampled.std(ddof=1) / np.sqrt(len(sampled)) if len(sampled) > 1 else None
    return {
        "expected_cuts": expected,
        "expected_cut_errors": errors,
        "expected_ratios": [cut / best if best else None for cut in expected],
        "random_cut": float(cuts.mean()),
        "random_ratio": float(cuts.mean()) / best if best else None,
        "sampled_mean_cut": float(sampled.mean()),
        "sampled_mean_cut_error": None if error is None else float(error),
        "best_sample": [node for node in range(graph.num_nodes) if chosen >> node & 1],
        "best_sample_cut": float(cuts[chosen]),
        "best_cut": best,
    }


def publish(graph: Graph, summary: dict[str, Any]) -> None:
    """Create the picture of the cut and the summary as artifacts of the flow run."""
    create_markdown_artifact(
        render_figure(draw(graph, summary), "The best cut that was sampled"),
        key="qaoa-maxcut-cut",
        description="The best sampled cut, and the growth of the expected cut",
    )
    best = summary["best_cut"]
    rows = {
        f"Expected cut, {depth} layers": describe(cut, error, best)
        for depth, (cut, error) in enumerate(
            zip(summary["expected_cuts"], summary["expected_cut_errors"], strict=True), 1
        )
    }
    mean, error = summary["sampled_mean_cut"], summary["sampled_mean_cut_error"]
    rows |= {
        "Random cut": describe(summary["random_cut"], None, best),
        "Mean of the samples": describe(mean, error, best),
        "Best sample": f"{summary['best_sample_cut']:.4f}: nodes {summary['best_sample']}",
        "Best possible cut": f"{best:.4f}",
    }
    create_markdown_artifact(
        markdown_table(rows, header=("Quantity", "Value")),
        key="qaoa-maxcut-summary",
        description="Expected cut, best sample, best cut",
    )


def draw(graph: Graph, summary: dict[str, Any]) -> Figure:
    """Draw the graph with the best sampled cut, and the expected cut against the layers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    turns = 2 * np.pi * np.arange(graph.num_nodes) / graph.num_nodes
    x, y = np.cos(turns), np.sin(turns)
    colours = [
        "tab:orange" if node in summary["best_sample"] else "tab:blue" for node in range(len(x))
    ]
    for edge in graph.edges:
        ends = [edge.first, edge.second]
        parted = colours[edge.first] != colours[edge.second]
        style = {"color": "black", "linewidth": 2} if parted else {"color": "lightgrey"}
        left.plot(x[ends], y[ends], zorder=1, **style)
        left.annotate(f"{edge.weight:g}", (x[ends].mean(), y[ends].mean()))
    left.scatter(x, y, s=350, c=colours, zorder=2)
    for node in range(graph.num_nodes):
        left.annotate(str(node), (x[node], y[node]), ha="center", va="center", color="white")
    left.set(title=f"cut {summary['best_sample_cut']:.3f}")
    left.set_axis_off()
    draw_growth(right, summary)
    return figure


def draw_growth(axes: Axes, summary: dict[str, Any]) -> None:
    """Draw the expected cut against the layers, as a part of the best cut if that is not 0."""
    best = summary["best_cut"]
    unit = best or 1.0
    depths = np.arange(1, 1 + len(summary["expected_cuts"]))
    cuts = np.array(summary["expected_cuts"]) / unit
    errors = np.array(summary["expected_cut_errors"]) / unit
    axes.errorbar(depths, cuts, errors, marker="o", capsize=2, label="expected cut")
    axes.axhline(summary["random_cut"] / unit, linestyle="--", color="grey", label="random cut")
    axes.axhline(best / unit, linestyle="--", color="C1", label="best cut")
    axes.set(xlabel="layers", ylabel="part of the best cut" if best else "cut", xticks=depths)
    axes.legend()


if __name__ == "__main__":
    print(qaoa_maxcut())
