"""A contract of the layout that import-linter has no kind for; pyproject.toml names it."""

from __future__ import annotations

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, output


class PrivateFiles(Contract):
    """A file whose name starts with `_` is imported only within its own room."""

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        found = sorted(
            (importer, imported)
            for imported in graph.modules
            if (room := _room_of_private(imported)) is not None
            for importer in graph.find_modules_that_directly_import(imported)
            if importer != room and not importer.startswith(f"{room}.")
        )
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for importer, imported in check.metadata["found"]:
            output.print_error(f"{importer} imports {imported}, a private file of another room.")


def _room_of_private(module: str) -> str | None:
    """Return the package around the first private part of a module's path; None without one."""
    parts = module.split(".")
    for place, part in enumerate(parts[1:], start=1):
        if part.startswith("_") and not part.startswith("__"):
            return ".".join(parts[:place])
    return None
