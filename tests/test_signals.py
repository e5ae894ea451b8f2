"""The tests do not depend on how they were started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPORT = """
import signal, subprocess, sys
import tests.conftest
child = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
subprocess.run([sys.executable, "-c", child], check=True)
"""


def test_processes_can_be_interrupted_when_the_tests_run_in_the_background() -> None:
    command = 'trap "" INT; exec "$0" -c "$1"'
    reported = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, REPORT],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert reported.stdout == "True\n"
