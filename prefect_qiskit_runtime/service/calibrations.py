"""Calibrations of a backend beside that of its snapshot: none, unless a test puts them there."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

_WORST_ERROR = 0.5
_ERRORS_OF_QUBITS = ("readout_error", "prob_meas0_prep1", "prob_meas1_prep0")
_ERRORS_OF_GATES = ("gate_error",)


@dataclass(frozen=True)
class Calibration:
    """A calibration, as what it changes in that of the snapshot.

    Attributes:
        id: By which IBM's clients ask for it.
        error_factor: By how much errors are multiplied; none is larger than a half.
        qubits: Of which qubits, and gates on them; None for all.
        is_newest: Whether it is the one that is meant where none is named.
    """

    id: str
    error_factor: float = 1.0
    qubits: frozenset[int] | None = None
    is_newest: bool = False

    def laid_over(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        """Return the calibration of the snapshot as changed by this one: a day older, or newer."""
        changed = copy.deepcopy(dict(properties))
        updated_at = datetime.fromisoformat(changed["last_update_date"])
        days = 1 if self.is_newest else -1
        changed["last_update_date"] = (updated_at + timedelta(days=days)).isoformat()
        for index, of_qubit in enumerate(changed["qubits"]):
            self._change([index], of_qubit, _ERRORS_OF_QUBITS)
        for gate in changed["gates"]:
            self._change(gate["qubits"], gate["parameters"], _ERRORS_OF_GATES)
        return changed

    def _change(
        self, qubits: list[int], told: list[dict[str, Any]], names: tuple[str, ...]
    ) -> None:
        if self.qubits is not None and self.qubits.isdisjoint(qubits):
            return
        for one in told:
            if one["name"] in names:
                one["value"] = min(_WORST_ERROR, one["value"] * self.error_factor)


Calibrations = Callable[[str], Iterable[Calibration]]
"""Gives those of a backend."""


def no_calibrations(name: str) -> Iterable[Calibration]:  # noqa: ARG001 - the same for all
    """Give none: snapshots have the one that they were taken with."""
    return ()
