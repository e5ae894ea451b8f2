"""docs/reference/parity.md is complete for today's client, and what it names exists."""

from __future__ import annotations

import ast
from importlib.metadata import version
from pathlib import Path

import prefect_qiskit_runtime
from prefect_qiskit_runtime.client import (
    ParameterNamespace,
    RuntimeClient,
    RuntimeClientJob,
    RuntimeClientProgram,
    RuntimeClientSession,
    SyncRuntimeClient,
    SyncRuntimeClientJob,
    SyncRuntimeClientSession,
)

from .parity import LETTERS, Row, described, installed, names, rows

TESTS = Path(__file__).parents[1]

HOLDERS = {
    "client": (RuntimeClient, SyncRuntimeClient),
    "job": (RuntimeClientJob, SyncRuntimeClientJob),
    "program": (RuntimeClientProgram,),
    "params": (ParameterNamespace,),
    "session": (RuntimeClientSession, SyncRuntimeClientSession),
    "options": (prefect_qiskit_runtime.RuntimeOptions,),
}


def offered() -> list[Row]:
    return [row for row in rows() if not row.ours.startswith("not offered: ")]


def test_the_page_has_what_todays_client_has() -> None:
    assert LETTERS[".".join(version("qiskit_ibm_runtime").split(".")[:2])] == "C"
    assert described("C") == installed("C")


def test_no_method_has_two_rows() -> None:
    keys = [(row.section, row.method) for row in rows()]
    assert len(keys) == len(set(keys)) > 80


def test_clients_are_named_in_their_order() -> None:
    letters = ["Q", "L11", "L15", "C"]
    assert all(row.clients == tuple(sorted(row.clients, key=letters.index)) for row in rows())


def test_each_row_names_a_test_that_exists() -> None:
    assert [row.method for row in offered() if not row.test] == []
    named = {name for row in offered() for name in names(row.test)}
    assert {name for name in named if not exists(name)} == set()


def test_each_name_of_ours_exists() -> None:
    assert [row.method for row in offered() if not names(row.ours)] == []
    named = {name for row in offered() for name in names(row.ours)}
    assert {name for name in named if not is_ours(name)} == set()


def exists(test: str) -> bool:
    file, _, function = test.partition("::")
    tree = ast.parse((TESTS / file).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return any(isinstance(node, kinds) and node.name == function for node in tree.body)


def is_ours(name: str) -> bool:
    holder, dot, member = name.partition(".")
    if not dot:
        return holder in prefect_qiskit_runtime.__all__
    fields = [getattr(kind, "model_fields", {}) for kind in HOLDERS[holder]]
    return all(
        hasattr(kind, member) or member in known or member in kind.__init__.__code__.co_names
        for kind, known in zip(HOLDERS[holder], fields, strict=True)
    )
