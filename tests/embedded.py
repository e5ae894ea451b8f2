"""A home of the embedded service, which is stopped when the tests that use it have ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def embedded_home(home: Path) -> Iterator[Path]:
    """Use this home in this process and its children while the context is open."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_QISKIT_RUNTIME_HOME", str(home))
        yield home
        stop_embedded(home)


def stop_embedded(home: Path) -> None:
    """Stop the service of a home, if one runs there."""
    subprocess.run(
        [sys.executable, "-m", "prefect_qiskit_runtime.cli", "service", "stop", "--force"],
        env={**os.environ, "PREFECT_QISKIT_RUNTIME_HOME": str(home)},
        check=True,
        capture_output=True,
        timeout=60,
    )
