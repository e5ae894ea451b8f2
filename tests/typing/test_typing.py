"""Type checkers know what each call takes and returns, and find planted mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
