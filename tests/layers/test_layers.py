"""The layers of the architecture are checked: a planted violation of each kind fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "prefect_qiskit_runtime"

VIOLATIONS = {
    "an import that goes up": ("backend.py", f"from {PACKAGE} import loops", "go down only"),
    "an import that goes up, in a function": (
        "models/_options.py",
        f"def later():\n    from {PACKAGE}.client import RuntimeApi",
        "go down only",
    ),
    "a module without a layer": ("stray.py", '"""Stray."""', "go down only"),
    "client and service": ("client/_stream.py", f"import {PACKAGE}.service.clock", "go down only"),
    "a private file of another room": (
        "pubs/splitting.py",
        f"from {PACKAGE}.client._transport import Transport",
        "private file of another room",
    ),
    "a circle": (
        "service/clock.py",
        f"from {PACKAGE}.service import context",
        "No import circles",
    ),
    "Prefect in a room without it": ("broker/_pipe.py", "import prefect", "know no Prefect"),
    "Prefect through another module": (
        "errors.py",
        f"from {PACKAGE}.flow_run import logger",
        "know no Prefect",
    ),
    "pydantic in another environment": ("codec/_qpy.py", "import pydantic", "need qiskit only"),
    "a service that decodes": (
        "service/inputs.py",
        f"from {PACKAGE}.codec import decode",
        "The service carries bytes",
    ),
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with its contracts."""
    copy = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / PACKAGE, copy / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests" / "layers", copy / "tests" / "layers")
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def broken_contracts(checkout: Path) -> list[str]:
    """Return the contracts that import-linter reports as broken."""
    command = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    outcome = subprocess.run(
        [sys.executable, "-c", command],
        check=False,
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Contracts:" in outcome.stdout, outcome.stdout + outcome.stderr
    return [line for line in outcome.stdout.splitlines() if " BROKEN" in line]


def test_the_package_keeps_its_contracts(checkout: Path) -> None:
    assert broken_contracts(checkout) == []


@pytest.mark.parametrize("kind", VIOLATIONS)
def test_a_planted_violation_fails(checkout: Path, kind: str) -> None:
    name, planted, contract = VIOLATIONS[kind]
    file = checkout / PACKAGE / name
    before = file.read_text() if file.exists() else None
    try:
        file.write_text(f"{before or ''}\n{planted}\n")
        assert [line for line in broken_contracts(checkout) if contract in line]
    finally:
        if before is None:
            file.unlink()
        else:
            file.write_text(before)
