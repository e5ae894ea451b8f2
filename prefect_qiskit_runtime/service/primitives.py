"""The primitives: programs that are part of the service, under the ids that IBM's have.

They are kept as programs of the service itself, so that a job pins the version it ran, as with
any other program. Users can run them, and cannot change or delete them; they are not listed,
as IBM's are not.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection

from prefect_qiskit_runtime.models import ProgramSpec
from prefect_qiskit_runtime.service.programs import make_content
from prefect_qiskit_runtime.service.store import programs as statements
from prefect_qiskit_runtime.service.store.records import PRIMITIVES_OWNER, Program, ProgramContent

__all__ = ["NAMES", "install"]

# The sources run in the job's process, so they lie beside what else runs there.
_SOURCES = Path(__file__).resolve().parent.parent / "runner" / "primitives"
_DESCRIPTIONS = {
    "sampler": "Bit strings measured in circuits.",
    "estimator": "Expectation values of observables.",
}
NAMES = tuple(_DESCRIPTIONS)

_PARAMETERS = {
    "type": "object",
    "required": ["pubs"],
    "properties": {
        "pubs": {"type": "array"},
        "options": {"type": ["object", "null"]},
        "version": {"const": 2},
        "unsupported_options": {"enum": ["refuse", "record"]},
        "transpile": {"type": "boolean"},
    },
}


def install(connection: Connection) -> None:
    """Put the primitives of this version of the package in place; what is there stays."""
    for name in NAMES:
        content = _content(name)
        now = datetime.now(UTC)
        installed = statements.find_program(connection, name, PRIMITIVES_OWNER)
        if installed is None:
            statements.insert_program(connection, _first_version(name, content, now))
        elif installed.content.content_hash != content.content_hash:
            statements.add_version(connection, installed, content, now)


def _content(name: str) -> ProgramContent:
    return make_content(
        source=(_SOURCES / f"{name}.py").read_text("utf-8"),
        description=_DESCRIPTIONS[name],
        cost=None,
        spec=ProgramSpec(parameters=_PARAMETERS),
    )


def _first_version(name: str, content: ProgramContent, now: datetime) -> Program:
    return Program(
        id=name,
        owner=PRIMITIVES_OWNER,
        name=name,
        is_public=True,
        version=1,
        created_at=now,
        updated_at=now,
        content=content,
    )
