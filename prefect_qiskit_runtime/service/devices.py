"""The backends of the service, as JSON: the ideal simulator and the noisy fake devices.

The snapshots are read from the files that qiskit-ibm-runtime installs. Importing that package
takes seconds, so only jobs do it.
"""

from __future__ import annotations

import copy
import difflib
import importlib.util
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from prefect_qiskit_runtime.errors import InvalidInputError, NotFoundError
from prefect_qiskit_runtime.service.inputs import unmet_requirement

_WORST_ERROR = 0.5
_ERRORS_OF_QUBITS = ("readout_error", "prob_meas0_prep1", "prob_meas1_prep0")
_ERRORS_OF_GATES = ("gate_error",)
# Values without which IBM's clients before 0.16 cannot use a device, with their units.
_REQUIRED_OF_QUBITS = {"frequency": "GHz", "readout_length": "ns"}


@dataclass(frozen=True)
class Calibration:
    """A calibration, as its changes to the snapshot's calibration.

    Attributes:
        id: The id by which IBM's clients request it.
        error_factor: Factor by which errors are multiplied; no error exceeds one half.
        qubits: The qubits affected, including gates on them; None for all.
        is_newest: Whether it is the default when no calibration is named.
    """

    id: str
    error_factor: float = 1.0
    qubits: frozenset[int] | None = None
    is_newest: bool = False

    def apply_to(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        """Return the snapshot's calibration with these changes, dated a day older or newer."""
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
        self, qubits: list[int], values: list[dict[str, Any]], names: tuple[str, ...]
    ) -> None:
        if self.qubits is not None and self.qubits.isdisjoint(qubits):
            return
        for one in values:
            if one["name"] in names:
                one["value"] = min(_WORST_ERROR, one["value"] * self.error_factor)


Calibrations = Callable[[str], Iterable[Calibration]]
"""Returns a backend's calibrations."""


def no_calibrations(name: str) -> Iterable[Calibration]:  # noqa: ARG001 - the same for all
    """Return no calibrations: each snapshot has just the one it was taken with."""
    return ()


IDEAL_SIMULATOR = "aer_simulator"
_PREFIX = "fake_"

# IBM's retired simulators, still named in samples; none had noise.
ALIASES: dict[str, str] = dict.fromkeys(
    (
        "ibmq_qasm_simulator",
        "simulator_statevector",
        "simulator_mps",
        "simulator_stabilizer",
        "simulator_extended_stabilizer",
        "simulator_qasm3",
    ),
    IDEAL_SIMULATOR,
)
_DEVICE_PREFIXES = ("ibmq_", "ibm_")
_AER_CONFIGURATION = Path(__file__).parent / "data" / "aer_simulator.json"
# The widest circuit that jobs compile for the ideal simulator. Memory holds a state vector of about
# 30 qubits; wider circuits run by other methods, or are refused with the memory that they need.
_IDEAL_QUBITS = 2000


@dataclass(frozen=True)
class Chosen:
    """The backend of a job.

    Attributes:
        name: The backend.
        warning: A note about the choice for the submitter.
    """

    name: str
    warning: str | None = None


class Devices:
    """The backends by name, each read on first use.

    Attributes:
        calibrations: Returns the calibrations beyond those of the snapshots.
    """

    def __init__(self) -> None:
        self.calibrations: Calibrations = no_calibrations
        self._configurations: dict[str, dict[str, Any]] = {}

    @cached_property
    def _folders(self) -> dict[str, Path]:
        # find_spec locates a top-level package without importing it.
        package = importlib.util.find_spec("qiskit_ibm_runtime")
        if package is None or not package.submodule_search_locations:
            return {}
        root = Path(next(iter(package.submodule_search_locations)))
        configurations = (root / "fake_provider" / "backends").glob("*/conf_*.json")
        return {_PREFIX + path.parent.name: path.parent for path in sorted(configurations)}

    @property
    def names(self) -> list[str]:
        """All names, the ideal simulator first."""
        return [IDEAL_SIMULATOR, *self._folders]

    @property
    def legacy_names(self) -> list[str]:
        """All names and aliases: IBM's older clients use only backends that are listed."""
        return [*self.names, *ALIASES]

    def configuration(self, name: str) -> dict[str, Any]:
        """Return the configuration of a backend, in IBM's format.

        Raises:
            NotFoundError: There is no such backend; the message lists close names.
        """
        known = self._configurations.get(name)
        if known is None:
            self._require(name)
            ideal = actual_name(name) == IDEAL_SIMULATOR
            known = _ideal() if ideal else _snapshot(self._folders[name], "conf")
            known["backend_name"] = name
            self._configurations[name] = known
        return known

    def legacy_configuration(self, name: str) -> dict[str, Any]:
        """Return the configuration of a backend for IBM's clients before 0.16.

        They build the target of a simulator from its `gates` only, so every basis gate is there.
        People filter by `input_allowed` and by `quantum_volume`, which is 0 where the snapshot of a
        device has none.

        Raises:
            NotFoundError: There is no such backend.
        """
        configuration = {**self.configuration(name), "input_allowed": ["runtime"]}
        if actual_name(name) == IDEAL_SIMULATOR:
            configuration["gates"] = _gates_of_target(configuration)
        else:
            configuration["quantum_volume"] = configuration.get("quantum_volume") or 0
        return configuration

    def legacy_properties(
        self, name: str, calibration_id: str | None = None, *, before: datetime | None = None
    ) -> dict[str, Any]:
        """Return a calibration for IBM's clients before 0.16, in which they can build a target.

        They fail on qubits without a frequency or a readout length, which are 0 where the snapshot
        has none, on gates named `measure`, and on devices without pulses and without `delay`.

        Raises:
            NotFoundError: There is no such backend, or it has no such calibration.
        """
        properties = self.properties(name, calibration_id, before=before)
        if not properties:
            return properties
        date = properties["last_update_date"]
        for qubit in properties["qubits"]:
            known = {value["name"] for value in qubit}
            qubit += [
                {"name": name, "value": 0.0, "unit": unit, "date": date}
                for name, unit in _REQUIRED_OF_QUBITS.items()
                if name not in known
            ]
        gates = [gate for gate in properties["gates"] if gate["gate"] not in ("delay", "measure")]
        delays = [
            {"name": f"delay{qubit}", "gate": "delay", "qubits": [qubit], "parameters": []}
            for qubit in range(len(properties["qubits"]))
        ]
        return {**properties, "gates": [*gates, *delays]}

    def properties(
        self, name: str, calibration_id: str | None = None, *, before: datetime | None = None
    ) -> dict[str, Any]:
        """Return a calibration of a backend, in IBM's format; empty for an ideal one.

        Args:
            name: The backend.
            calibration_id: The calibration's id; None for the newest.
            before: Return the last calibration before this time, or nothing if there is none.

        Raises:
            NotFoundError: There is no such backend, or it has no such calibration.
        """
        self._require(name)
        candidates = [self.calibration(name, calibration_id)]
        if actual_name(name) == IDEAL_SIMULATOR:
            return {}
        if before is not None and calibration_id is None:
            older = (one for one in self.calibrations(name) if not one.is_newest)
            candidates += [None, *older]
        snapshot = {**_snapshot(self._folders[name], "props"), "backend_name": name}
        for calibration in candidates:
            found = snapshot if calibration is None else calibration.apply_to(snapshot)
            if before is None or datetime.fromisoformat(found["last_update_date"]) < before:
                return found
        return {}

    def calibration(self, name: str, calibration_id: str | None) -> Calibration | None:
        """Return a calibration by its id, or the newest one; None for the snapshot's.

        Raises:
            NotFoundError: The backend has no calibration with this id.
        """
        known = list(self.calibrations(name))
        if calibration_id is None:
            return next((one for one in reversed(known) if one.is_newest), None)
        for one in known:
            if one.id == calibration_id:
                return one
        raise NotFoundError(
            f"Backend {name} has no calibration {calibration_id!r}.",
            kind="calibration",
            identifier=calibration_id,
        )

    def choose(self, name: str | None, requirements: Mapping[str, Any]) -> Chosen:
        """Return the requested backend, or the simplest one that meets the requirements.

        Raises:
            NotFoundError: There is no such backend.
            InvalidInputError: The requested backend, or every backend, fails a requirement.
        """
        if name is not None:
            unmet = unmet_requirement(requirements, self.configuration(name))
            if unmet is None:
                return _resolve_alias(name)
            message = f"Backend {name} does not meet the program's requirement {unmet}."
            raise InvalidInputError(message, path="$.backend", rule=unmet)
        for candidate in self.names:
            if unmet_requirement(requirements, self.configuration(candidate)) is None:
                return Chosen(candidate)
        raise InvalidInputError("No backend of this service meets the program's requirements.")

    def _require(self, name: str) -> None:
        if actual_name(name) == IDEAL_SIMULATOR or name in self._folders:
            return
        for prefix in _DEVICE_PREFIXES:
            snapshot = _PREFIX + name.removeprefix(prefix)
            if name.startswith(prefix) and snapshot in self._folders:
                raise NotFoundError(
                    f"There is no backend {name!r}: this service has no quantum devices. "
                    f"{snapshot} simulates that device with its noise.",
                    kind="backend",
                    identifier=name,
                )
        close = difflib.get_close_matches(name, self.names, n=3, cutoff=0.5)
        hint = f" Close names: {', '.join(close)}." if close else ""
        raise NotFoundError(f"There is no backend {name!r}.{hint}", kind="backend", identifier=name)


def actual_name(name: str) -> str:
    """Return the backend that a name, possibly an alias, refers to."""
    return ALIASES.get(name, name)


def _resolve_alias(name: str) -> Chosen:
    actual = actual_name(name)
    if actual == name:
        return Chosen(name)
    return Chosen(actual, f"Backend {name} is retired; the job runs on {actual}, without noise.")


def _ideal() -> dict[str, Any]:
    configuration = json.loads(_AER_CONFIGURATION.read_bytes())
    configuration["n_qubits"] = _IDEAL_QUBITS
    try:
        configuration["backend_version"] = metadata.version("qiskit-aer")
    except metadata.PackageNotFoundError:
        configuration["backend_version"] = "unknown"
    return configuration


def _gates_of_target(configuration: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every basis gate, without limits on qubits, and `delay`.

    Those clients take the width of an instruction without a class, as `delay`, from its qubits.
    """
    delay = "delay"
    names = [name for name in configuration["basis_gates"] if name != delay]
    every_qubit = [[qubit] for qubit in range(configuration["n_qubits"])]
    return [
        *({"name": name, "parameters": [], "qasm_def": ""} for name in names),
        {"name": delay, "parameters": ["t"], "qasm_def": "", "coupling_map": every_qubit},
    ]


def _snapshot(folder: Path, kind: str) -> dict[str, Any]:
    path = folder / f"{kind}_{folder.name}.json"
    if not path.exists():
        path = min(folder.glob(f"{kind}_*.json"))
    return json.loads(path.read_bytes())
