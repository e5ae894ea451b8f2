"""The look of tables in a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys


def test_ids_stay_whole_in_a_narrow_terminal() -> None:
    script = (
        "from prefect_qiskit_runtime.cli._output import show_table\n"
        "row = ('j' * 20, 'Completed', 'p' * 30, 'b' * 20, 't' * 40)\n"
        "show_table(('JOB', 'STATUS', 'PROGRAM', 'BACKEND', 'TAGS'), [row], empty='')\n"
    )
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "COLUMNS": "60", "TERM": "dumb"},
            stdout=theirs,
            check=True,
        )
        os.close(theirs)
        shown = terminal.read(4096).decode()
    assert "j" * 20 + "  Completed" in shown
    assert "t" * 40 not in shown
