"""The public programs that published Qiskit Runtime samples call, with their ids.

They are stored as programs of the service itself: every user can list and run them, but no user
can change or delete them. Their sources are files of this package. As with any other user's public
program, the protocol does not return the source.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection

from prefect_qiskit_runtime.models import ProgramMetadata
from prefect_qiskit_runtime.service.programs import install_program, make_content
from prefect_qiskit_runtime.service.store.records import PROGRAMS_OWNER, ProgramContent

__all__ = ["NAMES", "install"]

# The sources run in the job's process, so they are stored with the rest of the runner.
_SOURCES = Path(__file__).resolve().parent.parent / "runner" / "programs"
NAMES = ("hello-world", "sample-program", "circuit-runner", "qasm3-runner", "vqe")


def install(connection: Connection) -> None:
    """Install this package version's public programs; unchanged ones stay as they are."""
    # Reversed, because a listing shows the newest first.
    for name in reversed(NAMES):
        install_program(connection, PROGRAMS_OWNER, name, _content(name))


def _content(name: str) -> ProgramContent:
    source = _SOURCES / f"{name.replace('-', '_')}.py"
    metadata = ProgramMetadata.model_validate_json(source.with_suffix(".json").read_bytes())
    return make_content(
        source=source.read_text("utf-8"),
        description=metadata.description,
        cost=metadata.max_execution_time,
        spec=metadata.spec,
    )
