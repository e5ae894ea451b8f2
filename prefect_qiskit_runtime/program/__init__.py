"""The API for uploaded programs: messenger, backend and decoder.

It gives `main(backend, user_messenger, **inputs)` a Qiskit backend that simulates in the job's
process, with exact and sampled primitives, and a messenger for interim results.

It never talks to the service (the runner gives the messenger a function that does), never uses
the network, and never imports the rest of the package: it also runs in environments that have
only Qiskit. Qiskit itself is imported when `ProgramBackend` is first used.

Entry points: `UserMessenger`, `ProgramBackend`, `ResultDecoder`, `require_success`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect_qiskit_runtime.program._decoder import ResultDecoder
from prefect_qiskit_runtime.program._messenger import UserMessenger
from prefect_qiskit_runtime.program._verdict import require_success

if TYPE_CHECKING:
    from prefect_qiskit_runtime.program._backend import ProgramBackend

__all__ = ["ProgramBackend", "ResultDecoder", "UserMessenger", "require_success"]


def __getattr__(name: str) -> Any:
    if name == "ProgramBackend":
        from prefect_qiskit_runtime.program._backend import ProgramBackend

        return ProgramBackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
