"""The description of a backend as programs written before Qiskit 1.0 request it.

Those programs call `backend.configuration()`, `properties()`, `defaults()`, `status()` and
`name()`. Not all versions of Qiskit have these methods on a simulator or a device snapshot.
"""

from __future__ import annotations

import copy
import importlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# IBM's simulators ran this many circuits in one job; programs divide their circuits by it.
_CIRCUITS_PER_JOB_OF_IBM = 300
_STATUS_MODELS = ("qiskit_ibm_runtime.models", "qiskit.providers.models")


class BackendName(str):
    """The name of a backend, which may also be called: before Qiskit 1.0, it was a method."""

    __slots__ = ()

    def __call__(self) -> str:
        """Return the name."""
        return str(self)


@dataclass
class _Status:
    """The status of a backend, for images whose packages do not have a class for it."""

    backend_name: str
    backend_version: str
    operational: bool
    pending_jobs: int
    status_msg: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def status_of(backend: Any) -> Any:
    """Return the status of the backend of a running program: in operation, with an empty queue."""
    fields = {
        "backend_name": str(backend.name),
        "backend_version": str(backend.backend_version or "unknown"),
        "operational": True,
        "pending_jobs": 0,
        "status_msg": "active",
    }
    for module in _STATUS_MODELS:
        try:
            return importlib.import_module(module).BackendStatus(**fields)
        except (ImportError, AttributeError):
            continue
    return _Status(**fields)


def simulator_configuration(simulator: Any, num_qubits: int) -> Any:
    """Return the configuration of the ideal simulator, with the fields that IBM's simulators had.

    Args:
        simulator: An `AerSimulator`.
        num_qubits: The number of qubits, which is more than memory has for a state vector.
    """
    configuration = copy.copy(simulator.configuration())
    configuration.n_qubits = num_qubits
    if getattr(configuration, "max_experiments", None) is None:
        configuration.max_experiments = _CIRCUITS_PER_JOB_OF_IBM
    if getattr(configuration, "supported_instructions", None) is None:
        configuration.supported_instructions = list(simulator.target.operation_names)
    return configuration


def device_configuration(device: Any) -> Any:
    """Return the configuration of a device, from the device or from the file of its snapshot."""
    if hasattr(device, "configuration"):
        return device.configuration()
    return _read(device, "conf_filename", "decode_backend_configuration", _configuration_class)


def device_properties(device: Any) -> Any | None:
    """Return the calibration of a device; None if it has none."""
    if hasattr(device, "properties"):
        return device.properties()
    return _read(device, "props_filename", "decode_backend_properties", _properties_class)


def device_defaults(device: Any) -> Any | None:
    """Return the pulse defaults of a device; None if it has none, as with Qiskit from 2.0 on."""
    if hasattr(device, "defaults"):
        return device.defaults()
    return _read(device, "defs_filename", "decode_pulse_defaults", _defaults_class)


def _read(device: Any, file: str, decoder: str, find_class: Any) -> Any | None:
    """Read a file of a snapshot in Qiskit before 1.0, whose snapshots lack the method."""
    name, folder = getattr(device, file, None), getattr(device, "dirname", None)
    if name is None or folder is None:
        return None
    fields = json.loads((Path(folder) / name).read_text("utf-8"))
    decoders = importlib.import_module("qiskit.providers.fake_provider.utils.json_decoder")
    getattr(decoders, decoder)(fields)  # changes its argument
    return find_class(fields).from_dict(fields)


def _configuration_class(fields: dict[str, Any]) -> Any:
    models = importlib.import_module("qiskit.providers.models")
    has_pulses = fields.get("open_pulse")
    return models.PulseBackendConfiguration if has_pulses else models.QasmBackendConfiguration


def _properties_class(_fields: dict[str, Any]) -> Any:
    return importlib.import_module("qiskit.providers.models").BackendProperties


def _defaults_class(_fields: dict[str, Any]) -> Any:
    return importlib.import_module("qiskit.providers.models").PulseDefaults
