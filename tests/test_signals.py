"""The tests do not depend on how they were started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPORT = (
    """
import subprocess, sys
import tests.conftest
child = """
    + repr("""
import signal
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
print([n.name for n in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD)
       if signal.getsignal(n) is not signal.SIG_DFL])
""")
    + """
subprocess.run([sys.executable, "-c", child], check=True, stdin=None)
"""
)


def report(command: str) -> str:
    reported = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, REPORT],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return reported.stdout


def test_processes_can_be_interrupted_when_the_tests_run_in_the_background() -> None:
    assert report('trap "" INT; exec "$0" -c "$1"') == "True\n[]\n"


def test_processes_ignore_no_signal_when_the_tests_do_and_have_no_input() -> None:
    command = 'trap "" HUP INT QUIT TERM CHLD; exec "$0" -c "$1" <&-'
    assert report(command) == "True\n[]\n"
