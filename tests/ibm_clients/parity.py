"""The tables of docs/reference/parity.md, and what the clients that are installed here have.

Standard library only: it is read in the environments of IBM's older clients as well.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "parity.md"

# The section of the page that a class belongs to.
SECTIONS = {
    "IBMRuntimeService": "Service",
    "QiskitRuntimeService": "Service",
    "RuntimeProgram": "Program",
    "ParameterNamespace": "Parameters",
    "RuntimeOptions": "Options",
    "RuntimeJob": "Job",
    "RuntimeJobV2": "Job",
    "Session": "Session",
    "Batch": "Session",
}
MODULES = {
    "Q": ("qiskit.providers.ibmq.runtime",),
    "L11": ("qiskit_ibm_runtime", "qiskit_ibm_runtime.runtime_program"),
    "L15": ("qiskit_ibm_runtime", "qiskit_ibm_runtime.runtime_program"),
    "C": ("qiskit_ibm_runtime", "qiskit_ibm_runtime.runtime_options"),
}
LETTERS = {"0.11": "L11", "0.15": "L15", "0.51": "C"}


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    section: str
    method: str
    clients: tuple[str, ...]
    ours: str
    test: str


def rows() -> list[Row]:
    """Read all tables but the first, which explains the letters."""
    found = []
    section = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line[3:]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if section and len(cells) == 4 and cells[0].startswith("`"):
            method, clients, ours, test = cells
            found.append(Row(section, method.strip("`"), tuple(clients.split()), ours, test))
    return found


def described(letter: str) -> dict[str, set[str]]:
    """The names that the page lists for a client, by section."""
    said: dict[str, set[str]] = {}
    for row in rows():
        if letter in row.clients:
            said.setdefault(row.section, set()).add(row.method)
    return said


def installed(letter: str) -> dict[str, set[str]]:
    """The names that the client of a letter really has, by section."""
    has: dict[str, set[str]] = {}
    for module_name in MODULES[letter]:
        module = importlib.import_module(module_name)
        for name, section in SECTIONS.items():
            kind = getattr(module, name, None)
            if kind is not None:
                members = {*dir(kind), *getattr(kind, "__annotations__", ())}
                has.setdefault(section, set()).update(
                    member for member in members if not member.startswith("_")
                )
    return has


def names(cell: str) -> list[str]:
    """The names in backticks of a cell."""
    return re.findall(r"`([^`]+)`", cell)
