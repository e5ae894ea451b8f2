"""Type checkers know what each call takes and returns, and find planted mistakes."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from prefect_qiskit_runtime import run_sampler

CALLS = Path(__file__).parent / "calls.py"


def test_pyright_infers_the_calls_and_finds_the_planted_mistakes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", str(CALLS)],
        capture_output=True,
        text=True,
        check=False,
        cwd=CALLS.parent.parent.parent,
        timeout=170,
    )
    found = json.loads(done.stdout)
    assert found["summary"]["filesAnalyzed"] == 1
    lines = [
        f"{one['range']['start']['line'] + 1}: {one['message']}"
        for one in found["generalDiagnostics"]
    ]
    assert lines == []


def test_the_signature_of_a_primitive_names_each_argument() -> None:
    signature = inspect.signature(run_sampler)
    assert list(signature.parameters) == [
        "pubs", "backend", "split", "cache", "dry_run",
        "seed", "options", "session", "durable_key", "shots", "transpile",
    ]  # fmt: skip
    assert signature.parameters["shots"].default is None
    with pytest.raises(TypeError, match="precision"):
        signature.bind([], backend="aer_simulator", precision=0.1)
