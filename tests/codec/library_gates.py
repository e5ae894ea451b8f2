"""Every gate and instruction class of Qiskit's circuit library, found by introspection, built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from qiskit.circuit import ControlledGate, Operation, library
from qiskit.circuit.library import HGate, RXGate
from qiskit.quantum_info import Pauli, SparsePauliOp
from qiskit.synthesis import LieTrotter, MatrixExponential, SuzukiTrotter

# Values of constructor parameters, by name. Angles are not special ones.
_BY_PARAMETER: dict[str, Any] = {
    "num_qubits": 2,
    "num_state_qubits": 2,
    "num_variable_qubits": 2,
    "num_ctrl_qubits": 3,
    "theta": 0.3,
    "phi": 0.5,
    "lam": 0.7,
    "gamma": 0.9,
    "phase": 0.4,
    "v_x": 0.2,
    "v_y": 0.3,
    "v_z": 0.4,
    "value": 2,
    "scaling": 0.25,
    "expression": "(a & b) | ~c",
    "pattern": [2, 0, 1],
    "pauli": Pauli("XYZ"),
    "angle": 0.6,
}

_SWAPPED = np.eye(4)[[0, 2, 1, 3]]
_TURN = RXGate(0.3).to_matrix()
# Its terms commute: the matrix of an evolution by others is not that of its circuit.
_OPERATOR = SparsePauliOp(["XX", "YY", "ZZ"], [0.5, 0.3, -0.7])

# Arguments of the classes whose parameters need more than a value by name, in several variants.
_BY_CLASS: dict[str, list[dict[str, Any]]] = {
    "AndGate": [{"num_variable_qubits": 2}, {"num_variable_qubits": 3, "flags": [1, 0, -1]}],
    "BitwiseXorGate": [{"num_qubits": 3, "amount": 5}],
    "Barrier": [{"num_qubits": 2}, {"num_qubits": 1, "label": "here"}],
    "DiagonalGate": [{"diag": [1, -1, 1j, -1j]}],
    "ExactReciprocalGate": [
        {"num_state_qubits": 2, "scaling": 0.25},
        {"num_state_qubits": 2, "scaling": 0.25, "neg_vals": True},
    ],
    "GraphStateGate": [{"adjacency_matrix": [[0, 1, 1], [1, 0, 0], [1, 0, 0]]}],
    "HamiltonianGate": [{"data": _OPERATOR.to_matrix(), "time": 0.3}],
    "Initialize": [
        {"params": [0.6, 0.8j]},
        {"params": "01"},
        {"params": "r"},
        {"params": "+"},
        {"params": 2, "num_qubits": 2},
        {"params": [1, 1], "normalize": True},
    ],
    "Isometry": [
        {"isometry": _SWAPPED[:, :2], "num_ancillas_zero": 0, "num_ancillas_dirty": 0},
        {"isometry": _TURN, "num_ancillas_zero": 1, "num_ancillas_dirty": 0},
    ],
    "LinearAmplitudeFunctionGate": [
        {
            "num_state_qubits": 2,
            "slope": [0.5, 1.0],
            "offset": [0.1, 0.0],
            "domain": (0, 1),
            "image": (0, 2),
            "breakpoints": [0, 0.5],
        }
    ],
    "LinearFunction": [{"linear": [[1, 1], [0, 1]]}],
    "LinearPauliRotationsGate": [
        {"num_state_qubits": 2, "slope": 0.7, "offset": 0.2},
        {"num_state_qubits": 2, "slope": 0.7, "offset": 0.2, "basis": "X"},
    ],
    "MCGupDiag": [
        {"gate": _TURN, "num_controls": 2, "num_ancillas_zero": 0, "num_ancillas_dirty": 0}
    ],
    "MCMTGate": [
        {"gate": HGate(), "num_ctrl_qubits": 2, "num_target_qubits": 2},
        {"gate": RXGate(0.3), "num_ctrl_qubits": 2, "num_target_qubits": 1, "ctrl_state": 1},
    ],
    "MCPhaseGate": [{"lam": 0.7, "num_ctrl_qubits": 2}],
    "MCXVChain": [
        {"num_ctrl_qubits": 3},
        {"num_ctrl_qubits": 4, "dirty_ancillas": True},
        {"num_ctrl_qubits": 4, "dirty_ancillas": True, "relative_phase": True},
        {"num_ctrl_qubits": 4, "dirty_ancillas": True, "action_only": True},
    ],
    "MSGate": [{"num_qubits": 2, "theta": 0.3}, {"num_qubits": 2, "theta": [[0, 0.3], [0.3, 0]]}],
    "MultiplierGate": [{"num_state_qubits": 1}],
    "PauliEvolutionGate": [
        {"operator": _OPERATOR, "time": 0.3},
        {"operator": [_OPERATOR, SparsePauliOp("XX")], "time": 0.3},
        {"operator": _OPERATOR, "time": 0.3, "synthesis": SuzukiTrotter(order=2, reps=2)},
        {"operator": _OPERATOR, "time": 0.3, "synthesis": LieTrotter(insert_barriers=True)},
        {"operator": _OPERATOR, "time": 0.3, "synthesis": MatrixExponential()},
        {"operator": _OPERATOR, "time": 0.3, "label": "evolved"},
        {"operator": Pauli("XZ"), "time": 0.3},
    ],
    "PauliGate": [{"label": "XYZ"}],
    "PiecewiseChebyshevGate": [{"f_x": lambda x: x / 4, "num_state_qubits": 2}],
    "PiecewiseLinearPauliRotationsGate": [
        {"num_state_qubits": 2, "breakpoints": [0, 2], "slopes": [0.3, 0.5], "offsets": [0.1, 0.9]}
    ],
    "PiecewisePolynomialPauliRotationsGate": [
        {"num_state_qubits": 2, "breakpoints": [0, 2], "coeffs": [[0.3, 0.5], [0.1, 0.9]]}
    ],
    "PolynomialPauliRotationsGate": [
        {"num_state_qubits": 2},
        {"num_state_qubits": 2, "coeffs": [0.1, 0.2, 0.3], "basis": "Z"},
    ],
    "QuadraticFormGate": [
        {"num_result_qubits": 3, "quadratic": [[1, 0], [1, 1]], "linear": [1, 0], "offset": 1}
    ],
    "RVGate": [{"v_x": 0.2, "v_y": 0.3, "v_z": 0.4}],
    "StatePreparation": [
        {"params": [0.6, 0.8j]},
        {"params": [0.6, 0.8j], "inverse": True},
        {"params": "01"},
        {"params": "0", "inverse": True},
        {"params": 2, "num_qubits": 2},
    ],
    "UCGate": [
        {"gate_list": [_TURN, HGate().to_matrix()]},
        {"gate_list": [_TURN, HGate().to_matrix()], "up_to_diagonal": True},
        {"gate_list": [_TURN, _TURN], "mux_simp": False},
    ],
    "UCPauliRotGate": [{"angle_list": [0.1, 0.2], "rot_axis": axis} for axis in "XYZ"],
    "UCRXGate": [{"angle_list": [0.1, 0.2, 0.3, 0.4]}],
    "UCRYGate": [{"angle_list": [0.1, 0.2, 0.3, 0.4]}],
    "UCRZGate": [{"angle_list": [0.1, 0.2, 0.3, 0.4]}],
    "UniformSuperpositionGate": [
        {"num_superpos_states": 3, "num_qubits": 2},
        {"num_superpos_states": 6},
    ],
    "UnitaryGate": [{"data": _SWAPPED}, {"data": _TURN, "label": "turn"}],
    "WeightedSumGate": [{"num_state_qubits": 2}, {"num_state_qubits": 3, "weights": [1, 2, 1]}],
}

NOT_BUILT: dict[str, str] = {}
"""Classes of the library that no instance is built of, with the reason."""


def classes() -> list[type]:
    """Return the classes of operations in the library, by name."""
    found = [getattr(library, name) for name in sorted(dir(library))]
    return [
        each
        for each in found
        if inspect.isclass(each)
        and issubclass(each, Operation)
        and not inspect.isabstract(each)
        and each.__name__ not in NOT_BUILT
    ]


def instances() -> dict[str, Any]:
    """Return an operation for each class, in each variant, by a name for tests."""
    built = {}
    for kind in classes():
        for number, arguments in enumerate(_variants(kind)):
            name = f"{kind.__name__}-{number}" if number else kind.__name__
            built[name] = kind(**arguments)
    return built


def _variants(kind: type) -> Iterator[dict[str, Any]]:
    if kind.__name__ in _BY_CLASS:
        yield from _BY_CLASS[kind.__name__]
        return
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    required = [
        each.name
        for each in parameters
        if each.default is each.empty and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
    ]
    yield {name: _BY_PARAMETER[name] for name in required}
    if "ctrl_state" in inspect.signature(kind).parameters and issubclass(kind, ControlledGate):
        yield {**{name: _BY_PARAMETER[name] for name in required}, "ctrl_state": 0}


FORMS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda operation: operation,
    "inverse": lambda operation: operation.inverse(),
    "controlled": lambda operation: operation.control(1, annotated=False),
    "open controlled": lambda operation: operation.control(1, ctrl_state=0, annotated=False),
    "annotated": lambda operation: operation.control(1, annotated=True),
    "annotated inverse": lambda operation: operation.inverse(annotated=True),
    "annotated power": lambda operation: operation.power(2, annotated=True),
}
"""The forms that a gate can take, each made from the gate."""
