"""The primitives: programs that are part of the service, with the same ids as IBM's.

They are stored as programs of the service itself, so that a job pins the version it ran, as with
any other program. Users can run them, but cannot change or delete them. Like IBM's, they are not
listed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from prefect_qiskit_runtime.models import ProgramSpec
from prefect_qiskit_runtime.service.programs import install_program, make_content
from prefect_qiskit_runtime.service.store.records import PRIMITIVES_OWNER, ProgramContent

__all__ = ["NAMES", "install"]

# The sources run in the job's process, so they are stored with the rest of the runner.
_SOURCES = Path(__file__).resolve().parent.parent / "runner" / "primitives"
_DESCRIPTIONS = {
    "sampler": "Bit strings measured in circuits.",
    "estimator": "Expectation values of observables.",
    "executor": "Quantum programs: circuits over arrays of arguments, randomized by samplexes.",
}
NAMES = tuple(_DESCRIPTIONS)

_OURS = {"unsupported_options": {"enum": ["refuse", "record"]}, "transpile": {"type": "boolean"}}
_PUBS = {
    "required": ["pubs"],
    "properties": {
        "pubs": {"type": "array"},
        "options": {"type": ["object", "null"]},
        "version": {"const": 2},
        **_OURS,
    },
}
_LISTS = ("circuits", "circuit_indices", "observables", "observable_indices", "parameter_values")
_SETTINGS = ("run_options", "transpilation_settings", "resilience_settings")


def _circuits(*required: str) -> dict[str, Any]:
    """Return the schema of the inputs sent by clients before 2024."""
    return {
        "required": list(required),
        "properties": {
            **{name: {"type": "array"} for name in _LISTS},
            **{name: {"type": ["object", "null"]} for name in _SETTINGS},
            "unsupported_options": _OURS["unsupported_options"],
        },
    }


def _either(circuits: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "if": {"required": ["circuits"]}, "then": circuits, "else": _PUBS}


_PARAMETERS: dict[str, dict[str, Any]] = {
    "sampler": _either(_circuits("circuits")),
    "estimator": _either(_circuits("circuits", "observables")),
    "executor": {
        "type": "object",
        "required": ["schema_version", "quantum_program", "options"],
        "properties": {
            "schema_version": {"type": "string"},
            "quantum_program": {"type": "object", "required": ["shots", "items"]},
            "options": {"type": "object"},
            "unsupported_options": _OURS["unsupported_options"],
        },
    },
}


def install(connection: Connection) -> None:
    """Install this package version's primitives; unchanged ones stay as they are."""
    for name in NAMES:
        install_program(connection, PRIMITIVES_OWNER, name, _content(name))


def _content(name: str) -> ProgramContent:
    return make_content(
        source=(_SOURCES / f"{name}.py").read_text("utf-8"),
        description=_DESCRIPTIONS[name],
        cost=None,
        spec=ProgramSpec(parameters=_PARAMETERS[name]),
    )
